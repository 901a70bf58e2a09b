"""A million mutated image files through the decoder: no crash, no hang, no file without an outcome.

`VQA_RAY_FUZZED_IMAGES` sets their number, `VQA_RAY_FUZZ_PROCESSES` the processes, `VQA_RAY_FUZZ_FIRST` the first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

IMAGES = int(os.environ.get("VQA_RAY_FUZZED_IMAGES", "1000000"))
PROCESSES = int(os.environ.get("VQA_RAY_FUZZ_PROCESSES", "2"))
FIRST = int(os.environ.get("VQA_RAY_FUZZ_FIRST", "0"))
# A process decodes so many and ends: its peak of memory is that of its share.
SHARE = 20_000
# Of a process that decodes images of up to 4 million pixels.
MOST_MIB = 1024

pytestmark = [pytest.mark.soak, pytest.mark.timeout(6 * 3600)]


def decode_share(directory: Path, first: int, count: int) -> dict[str, Any]:
    progress = directory / f"{first}.number"
    progress.write_bytes(bytes(8))
    command = [sys.executable, "-m", "tests.helpers.mutated_images", str(first), str(count), str(progress)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        number = int.from_bytes(progress.read_bytes(), "little")
        return {"counts": {}, "ended_by": number, "status": done.returncode, "stderr": done.stderr[-2000:]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def summary(shares: list[dict[str, Any]]) -> Mapping[str, Any]:
    sound = [share for share in shares if "ended_by" not in share]
    return {
        "files": sum(sum(share["counts"].values()) for share in sound),
        "counts": sum((Counter(share["counts"]) for share in sound), Counter()),
        "slowest_s": max((share["slowest_s"] for share in sound), default=None),
        "peak_mib": max((share["peak_mib"] for share in sound), default=None),
        "ended": [share for share in shares if "ended_by" in share],
    }


def test_mutated_images(tmp_path: Path) -> None:
    firsts = range(FIRST, FIRST + IMAGES, SHARE)
    with ThreadPoolExecutor(PROCESSES) as pool:
        shares = pool.map(lambda first: decode_share(tmp_path, first, min(SHARE, FIRST + IMAGES - first)), firsts)
        found = summary(list(shares))
    print(json.dumps(found, indent=1))  # noqa: T201
    assert found["ended"] == []
    assert found["files"] == IMAGES
    assert found["peak_mib"] < MOST_MIB
