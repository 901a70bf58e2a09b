"""SIGTERM in the middle of a run: it ends within the grace of a cluster, leaves nothing behind, and goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.coloured import parquet_input
from tests.jobs.commands import DEADLINE_S, arguments, finish, manifest, rows, started
from vqa_ray.runs.commits import committed_tasks
from vqa_ray.runs.directory import RunDirectory

GRACE_S = 30


def children(pid: int) -> set[int]:
    """All processes below one, by the parents that /proc tells."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, waiting = set(), [pid]
    while waiting:
        below = [child for child, parent in parents.items() if parent == waiting[-1]]
        waiting.pop()
        found.update(below)
        waiting += below
    return found


@pytest.mark.timeout(700)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_run_that_is_stopped_leaves_no_process_and_goes_on(tmp_path: Path, number: int, code: int) -> None:
    source, output = parquet_input(tmp_path / "in", 1200), tmp_path / "out"
    argv = arguments("answer", source, output, "--rows-per-file", "40", "--batch-size", "16")
    layout, deadline = RunDirectory(str(output)), time.monotonic() + DEADLINE_S
    with started(*argv) as process:
        while not committed_tasks(layout):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        below = children(process.pid)
        assert below
        begun = time.monotonic()
        process.send_signal(number)
        _, told = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == code
        assert time.monotonic() - begun < GRACE_S
    if number == signal.SIGTERM:
        assert told == "vqa-ray answer: stopped by SIGTERM; the same command goes on from here\n"
    end = time.monotonic() + DEADLINE_S
    while left := {pid for pid in below if Path(f"/proc/{pid}/exe").exists()}:
        assert time.monotonic() < end, left
        time.sleep(0.2)
    if number == signal.SIGKILL:
        # How a killed run goes on is tested with resuming.
        return
    assert finish(argv) == (0, "")
    assert rows(output)["row_id"].to_pylist() == list(range(1200))
    assert manifest(output)["findings"] == []


def test_sigterm_after_ray_has_left_unwinds_the_command() -> None:
    program = """
import os, signal, time
from vqa_ray.jobs.runtime.cluster.connect import connect_ray
from vqa_ray.jobs.runtime.signals import STOP, leave
STOP.install()
with connect_ray(None):
    pass
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
except KeyboardInterrupt:
    leave(42)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=240, check=False).returncode == 42
