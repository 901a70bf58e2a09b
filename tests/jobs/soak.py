"""What the long trials over photos share: commands as processes, and what stands in a bucket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vqa_ray.storage.filesystem import exists, filesystem_for, list_files

DATA = Path(os.environ.get("VQA_RAY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
EXTENSIONS = {".jpg", ".jpeg", ".png"}


def photos(*folders: str) -> list[Path]:
    """All photos below these folders of the test data, sorted."""
    found = (path for name in folders for path in (DATA / name).rglob("*"))
    return sorted(path for path in found if path.suffix.lower() in EXTENSIONS)


def name_of(path: Path) -> str:
    """A photo's name below the test data."""
    return str(path.relative_to(DATA))


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `vqa-ray` with these arguments, with a Ray of its own."""
    return subprocess.run(
        [sys.executable, "-m", "vqa_ray.jobs.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=5000,
    )


def written(uri: str) -> list[str]:
    """The part files of an output, so far."""
    return [entry.uri for entry in list_files(uri) if entry.uri.endswith(".parquet")] if exists(uri) else []


def read_output(uri: str) -> pa.Table:
    """All rows of an output."""
    filesystem, _ = filesystem_for(uri)
    return pa.concat_tables([pq.read_table(filesystem_for(part)[1], filesystem=filesystem) for part in written(uri)])
