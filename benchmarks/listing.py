"""The start of a run on a large input: a listing of many objects to the first row, a resume with many finished rows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import machine
from benchmarks.peak import MIB, own_peak
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray.keys import ranges_of
from vqa_ray.readers.open import open_source, read_shard
from vqa_ray.readers.source import InputConfig
from vqa_ray.runs import commits
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.schema import ROW_BITS
from vqa_ray.stages.read import read_tasks

_OBJECTS, _PER_FOLDER = 1_000_000, 1_000
_FINISHED, _PER_COMMIT, _PER_SHARD = 10_000_000, 10_000, 256


def measure(settings: Settings) -> Measured:
    """Seconds and memory of a process of its own for each."""
    objects, finished = settings.pick(_OBJECTS, 2_000), settings.pick(_FINISHED, 100_000)
    photos, run = settings.scratch / "photos", settings.scratch / "run"
    draw(photos, objects)
    draw(settings.scratch / "run-input", 1)
    commit(RunDirectory(str(run)), finished)
    listed, listed_bytes = _in_a_process("list", photos)
    resumed, resumed_bytes = _in_a_process("resume", run)
    return Measured(
        [
            figure(f"listing of {objects:,} objects to the first row", [listed], "s", at_most=60.0),
            figure("memory of that process", [listed_bytes / MIB], "MiB"),
            figure(f"resume with {finished:,} finished rows to the first read task", [resumed], "s", at_most=60.0),
            figure("memory of that process", [resumed_bytes / MIB], "MiB"),
        ],
        [
            f"Empty files, {_PER_FOLDER:,} to a folder, on the local disk; a store adds its answers, one for every "
            f"1,000 objects. Finished rows as Ray Data's checkpoint lists them, {_PER_COMMIT:,} to a file, of shards "
            f"of {_PER_SHARD} images of which the last quarter is missing in every fourth.",
        ],
    )


def draw(directory: Path, count: int) -> None:
    """Make a directory of empty files with the names of photos."""
    for number in range(count):
        folder = directory / f"{number // _PER_FOLDER:06}"
        if number % _PER_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:09}.jpg").touch()


def commit(layout: RunDirectory, count: int) -> None:
    """Make a run directory with `count` rows, or a few more, that are written."""
    per_four = 4 * _PER_SHARD - _PER_SHARD // 4
    number = np.arange(count)
    group, place = np.divmod(number, per_four)
    keys = ((group * 4 + place // _PER_SHARD) << ROW_BITS) + place % _PER_SHARD
    checkpoint = Path(layout.checkpoint) / "part-0000"
    checkpoint.mkdir(parents=True)
    for index, begin in enumerate(range(0, count, _PER_COMMIT)):
        rows = pa.table({"source_key": keys[begin : begin + _PER_COMMIT]})
        name = f"part-0000_{index:06}"
        pq.write_table(rows, checkpoint / f"{name}.pq")
        pq.write_table(rows, Path(layout.parts) / f"{name}-0.parquet")


def _in_a_process(what: str, directory: Path) -> tuple[float, int]:
    command = [sys.executable, "-m", "benchmarks.listing", what, str(directory)]
    printed = subprocess.run(command, cwd=machine.ROOT, check=True, capture_output=True, text=True).stdout
    seconds, most_bytes = json.loads(printed)
    return float(seconds), int(most_bytes)


def first_row(uri: str) -> None:
    """Open a directory of images and read its first row."""
    source = open_source(InputConfig(uri=uri, questions=("what is this?",)))
    tasks = read_tasks(source)
    assert next(iter(read_shard(source, tasks[0].shard))).num_rows


def first_task(uri: str) -> None:
    """Find the rows of a run that are written, as `jobs.runtime.commit` does, and plan the reading of the others."""
    layout, source = RunDirectory(uri), open_source(InputConfig(uri=f"{uri}-input", questions=("what is this?",)))
    commits.clean_uncommitted(layout)
    keys = commits.keys_by_task(layout)
    commits.remove_repeated_rows(layout, keys)
    done = ranges_of(np.concatenate(list(keys.values())))
    indices = range(int(done[-1, 1] >> ROW_BITS) + 1)
    shards = tuple(replace(source.shards[0], index=index, rows=_PER_SHARD) for index in indices)
    assert len(read_tasks(replace(source, shards=shards), done=done)) >= len(shards) // 4


if __name__ == "__main__":
    begun = time.perf_counter()
    {"list": first_row, "resume": first_task}[sys.argv[1]](sys.argv[2])
    duration_s = time.perf_counter() - begun
    print(json.dumps([duration_s, own_peak()]))
