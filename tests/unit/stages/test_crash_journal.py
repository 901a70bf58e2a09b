from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vqa_ray.stages.crash_journal import CrashJournal


def test_a_batch_that_ends_leaves_nothing(tmp_path: Path) -> None:
    journal = CrashJournal("run", tmp_path / "notes")
    for _ in range(2):
        with journal.batch(7) as died_before:
            assert not died_before
            assert len(list((tmp_path / "notes").iterdir())) == 1
    assert not list((tmp_path / "notes").iterdir())


def test_an_exception_is_no_crash(tmp_path: Path) -> None:
    journal = CrashJournal("run", tmp_path)
    with pytest.raises(ValueError, match="mine"), journal.batch(7):
        raise ValueError("mine")
    with journal.batch(7) as died_before:
        assert not died_before


def test_the_death_of_the_process_is_told_once_and_for_its_batch_and_run_alone(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from vqa_ray.stages.crash_journal import CrashJournal\n"
        "with CrashJournal('run', Path(sys.argv[1])).batch(7): os._exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 3
    for run, key in (("run", 8), ("other", 7)):
        with CrashJournal(run, tmp_path).batch(key) as died_before:
            assert not died_before
    for expected in (True, False):
        with CrashJournal("run", tmp_path).batch(7) as died_before:
            assert died_before == expected


def test_run_ids_stay_within_the_directory(tmp_path: Path) -> None:
    with CrashJournal("../../a b/é", tmp_path / "notes").batch(1):
        (note,) = (tmp_path / "notes").iterdir()
    assert os.sep not in note.name
