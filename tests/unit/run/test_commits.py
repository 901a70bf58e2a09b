"""Whether part files and checkpoint are made to agree after a death anywhere between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.run.commits import Swept, committed_tasks, expel, sweep
from vqa_ray.run.layout import RunLayout


@pytest.fixture
def layout(tmp_path) -> RunLayout:
    run = RunLayout(str(tmp_path / "out"))
    Path(run.checkpoint).mkdir(parents=True)
    return run


def part(layout: RunLayout, task: str) -> Path:
    path = Path(layout.parts, f"{task}-0.parquet")
    path.touch()
    return path


def commit(layout: RunLayout, name: str) -> Path:
    path = Path(layout.checkpoint, f"{name}.parquet")
    path.touch()
    return path


def test_what_is_whole_stays(layout) -> None:
    kept = [part(layout, "part-a_0"), commit(layout, "part-a_0"), part(layout, "part-a_1"), commit(layout, "part-a_1")]
    assert sweep(layout) == Swept(0, 0, 0)
    assert all(path.exists() for path in kept)


def test_rows_written_but_not_committed_go(layout) -> None:
    gone = [part(layout, "part-a_0"), commit(layout, "part-a_0.pending")]
    assert sweep(layout) == Swept(1, 1, 0)
    assert not any(path.exists() for path in gone)


def test_pending_commit_whose_rows_were_never_written_goes(layout) -> None:
    gone = commit(layout, "part-a_0.pending")
    assert sweep(layout) == Swept(0, 1, 0)
    assert not gone.exists()


def test_commit_whose_part_somebody_deleted_goes(layout) -> None:
    gone = commit(layout, "part-a_0")
    assert sweep(layout) == Swept(0, 0, 1)
    assert not gone.exists()


def test_a_task_number_that_begins_another_is_told_apart(layout) -> None:
    kept = [part(layout, "part-a_10"), commit(layout, "part-a_10")]
    part(layout, "part-a_1")
    assert sweep(layout) == Swept(1, 0, 0)
    assert all(path.exists() for path in kept)


def test_commits_of_a_dead_process_after_our_start_go(layout) -> None:
    for task in ("part-old_0", "part-dead_0", "part-mine_0"):
        part(layout, task)
        commit(layout, task)
    assert expel(layout, {"part-old_0"}, "part-mine") == ["part-dead_0"]
    assert sorted(committed_tasks(layout)) == ["part-mine_0", "part-old_0"]
    assert len(layout.part_files()) == 2


def test_empty_output_has_nothing(tmp_path) -> None:
    layout = RunLayout(str(tmp_path / "nothing"))
    assert sweep(layout) == Swept(0, 0, 0)
    assert layout.part_files() == []
