"""Whether part files and checkpoint are made to agree after a death anywhere between them."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray.runs import commits
from vqa_ray.runs.commits import CleanedOutput, clean_uncommitted, keys_by_task, remove_repeated_rows
from vqa_ray.runs.directory import RunDirectory


@pytest.fixture
def layout(tmp_path) -> RunDirectory:
    run = RunDirectory(str(tmp_path / "out"))
    Path(run.checkpoint).mkdir(parents=True)
    return run


def part(layout: RunDirectory, task: str) -> Path:
    path = Path(layout.parts, f"{task}-0.parquet")
    path.touch()
    return path


def commit(layout: RunDirectory, name: str) -> Path:
    path = Path(layout.checkpoint, f"{name}.parquet")
    path.touch()
    return path


def test_what_is_whole_stays(layout) -> None:
    kept = [part(layout, "part-a_0"), commit(layout, "part-a_0"), part(layout, "part-a_1"), commit(layout, "part-a_1")]
    assert clean_uncommitted(layout) == CleanedOutput(0, 0, 0)
    assert all(path.exists() for path in kept)


def test_rows_written_but_not_committed_go(layout) -> None:
    gone = [part(layout, "part-a_0"), commit(layout, "part-a_0.pending")]
    assert clean_uncommitted(layout) == CleanedOutput(1, 1, 0)
    assert not any(path.exists() for path in gone)


def test_pending_commit_whose_rows_were_never_written_goes(layout) -> None:
    gone = commit(layout, "part-a_0.pending")
    assert clean_uncommitted(layout) == CleanedOutput(0, 1, 0)
    assert not gone.exists()


def test_commit_whose_part_somebody_deleted_goes(layout) -> None:
    gone = commit(layout, "part-a_0")
    assert clean_uncommitted(layout) == CleanedOutput(0, 0, 1)
    assert not gone.exists()


def test_a_task_number_that_begins_another_is_told_apart(layout) -> None:
    kept = [part(layout, "part-a_10"), commit(layout, "part-a_10")]
    part(layout, "part-a_1")
    assert clean_uncommitted(layout) == CleanedOutput(1, 0, 0)
    assert all(path.exists() for path in kept)


def rows(path: Path, *keys: int) -> Path:
    pq.write_table(pa.table({"source_key": pa.array(keys, pa.int64()), "answer": [str(key) for key in keys]}), path)
    return path


def written(layout: RunDirectory, task: str, *keys: int) -> None:
    rows(part(layout, task), *keys)
    rows(commit(layout, task), *keys)


def test_rows_that_two_processes_wrote_stand_once(layout) -> None:
    written(layout, "part-a_0", 1, 2, 3)
    written(layout, "part-b_0", 2, 3)
    written(layout, "part-b_1", 3, 4, 5)
    written(layout, "part-c_0", 6)
    untouched = Path(layout.parts, "part-c_0-0.parquet").stat().st_mtime_ns
    assert remove_repeated_rows(layout, keys_by_task(layout)) == 3
    assert {task: keys.tolist() for task, keys in keys_by_task(layout).items()} == {
        "part-a_0": [1, 2, 3],
        "part-b_1": [4, 5],
        "part-c_0": [6],
    }
    found = [pq.read_table(entry.uri)["answer"].to_pylist() for entry in layout.part_files()]
    assert found == [["1", "2", "3"], ["4", "5"], ["6"]]
    assert clean_uncommitted(layout) == CleanedOutput(0, 0, 0)
    assert remove_repeated_rows(layout, keys_by_task(layout)) == 0
    assert Path(layout.parts, "part-c_0-0.parquet").stat().st_mtime_ns == untouched


@pytest.mark.parametrize("deaths", range(6))
def test_a_death_while_copies_are_removed_loses_nothing(layout, monkeypatch, deaths) -> None:
    written(layout, "part-a_0", 1, 2)
    written(layout, "part-b_0", 1, 2)
    written(layout, "part-b_1", 2, 3)
    steps = iter(range(deaths))

    def stepping(real):
        def step(*arguments):
            if next(steps, None) is None:
                raise KeyboardInterrupt
            return real(*arguments)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(commits, "delete", stepping(commits.delete))
        patch.setattr(commits, "write_table_atomic", stepping(commits.write_table_atomic))
        with suppress(KeyboardInterrupt):
            remove_repeated_rows(layout, keys_by_task(layout))
    clean_uncommitted(layout)
    remove_repeated_rows(layout, keys_by_task(layout))
    found = [pq.read_table(entry.uri)["source_key"].to_pylist() for entry in layout.part_files()]
    assert sorted(chain.from_iterable(found)) == [1, 2, 3]
    assert np.array_equal(commits.committed_keys(layout), [[1, 3]])


def test_empty_output_has_nothing(tmp_path) -> None:
    layout = RunDirectory(str(tmp_path / "nothing"))
    assert clean_uncommitted(layout) == CleanedOutput(0, 0, 0)
    assert layout.part_files() == []
