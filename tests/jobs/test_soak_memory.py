"""Memory stays where it is and nothing is spilled, whatever is slow, skewed or large.

`make soak` runs this. The peak is the sum of what the processes of a command hold: proportional shares (PSS), so that
the object store counts once. In the first 20 s or so it grows with the workers that Ray starts, so the smaller run of
two lasts that long.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.helpers.coloured import picture
from tests.helpers.faulty_store import faulty_s3
from tests.jobs.commands import arguments, started
from tests.jobs.kills import processes_below
from tests.jobs.test_s3 import manifest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
_MB = 10**6


def noise(side: int, form: str, seed: int) -> bytes:
    """An image that does not compress."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def shard(file: Path, images: list[bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    questions = ["what colour is it?"] * len(images)
    pq.write_table(pa.table({"image": images, "question": questions}), file, row_group_size=100)


def large(place: Path, times: int) -> None:
    """Photos of 1 MB: 100 in a shard."""
    photos = [noise(650, "PNG", seed) for seed in range(10)]
    for number in range(times):
        shard(place / f"{number}.parquet", photos * 10)


def skewed(place: Path, times: int) -> None:
    """One shard with a hundred times the rows of the others."""
    photos = [noise(180, "PNG", seed) for seed in range(10)]
    shard(place / "large.parquet", photos * 50 * times)
    for number in range(20):
        shard(place / f"small-{number}.parquet", photos[:5] * times)


def mixed(place: Path, times: int) -> None:
    """Images of 1 kB with one of 40 MB among every fifty."""
    huge = noise(3650, "PNG", 0)
    assert len(huge) > 39 * _MB
    for number in range(times):
        shard(place / f"{number}.parquet", [huge if each % 50 == 25 else picture(each) for each in range(200)])


def peak_of(argv: list[str]) -> float:
    """Run a command; gives the most that its processes held at a time, in MB."""
    peak = 0
    with started(*argv) as process:
        while process.poll() is None:
            held = 0
            for number in (process.pid, *processes_below(process.pid)):
                with suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
                    held += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
            peak = max(peak, held)
            time.sleep(0.3)
        _, told = process.communicate()
        assert process.returncode == 0, told
    return peak / _MB


@pytest.mark.parametrize(
    ("make", "model", "slow_writer", "times"),
    [
        (large, "fake:", False, 8),
        (large, "fake:", True, 8),
        (large, "bundled:catalog-vilt", False, 8),
        (skewed, "fake:", False, 32),
        (mixed, "fake:", False, 4),
    ],
)
def test_four_times_the_rows_take_the_same_memory(
    tmp_path: Path, make: Callable[[Path, int], None], model: str, slow_writer: bool, times: int
) -> None:
    peaks = []
    with faulty_s3(f"memory-{make.__name__}-{len(model)}-{slow_writer:d}") as (bucket, store):
        if slow_writer:
            store.delayed, store.delay_s = "PUT", 1.0
        for repeated in (times, 4 * times):
            make(tmp_path / f"in-{repeated}", repeated)
            output = f"{bucket}/out-{repeated}"
            argv = arguments("answer", tmp_path / f"in-{repeated}", output, "--model", model, "--rows-per-file", "50")
            peaks.append(peak_of(argv))
            timing = manifest(output)["timing"]
            assert timing["spilled_bytes"] == 0  # type: ignore[index]
            size = sum(file.stat().st_size for file in (tmp_path / f"in-{repeated}").iterdir()) / _MB
            print(f"{make.__name__} {model} slow={slow_writer}: {size:.0f} MB of input, peak {peaks[-1]:.0f} MB")  # noqa: T201
    assert peaks[1] < peaks[0] + 400
