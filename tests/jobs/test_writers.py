"""One writer per output: several processes of one command, at any moment, lose and double no row."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import parquet_input, picture
from tests.jobs.commands import DEADLINE_S, ROOT, arguments, manifest, rows, run_here
from vqa_ray.runs.claims import claim_uri
from vqa_ray.runs.lock import OutputLock

DATE = "2026-01-01T00:00:00Z"
ROWS = 2000


def snapshot(output: Path) -> dict[str, tuple[int, int]]:
    """Every file of an output with its size and time."""
    files = (path for path in output.rglob("*") if path.is_file() and "writers" not in path.parts)
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("more", [(), ("--retry-failed",)])
def test_a_second_process_is_refused_and_touches_nothing(tmp_path: Path, capsys, monkeypatch, more) -> None:
    source, output = parquet_input(tmp_path / "in", 8), tmp_path / "out"
    assert run_here("answer", source, output) == 0
    if not more:
        Path(output, "_vqa_ray", "manifest.json").unlink()
    before = snapshot(output)
    monkeypatch.setattr("vqa_ray.runs.lock.BEAT_S", 0.05)
    capsys.readouterr()
    with OutputLock(str(output), DATE, beat_s=0.05):
        assert run_here("answer", source, output, *more) == 2
    assert "is being written by process" in capsys.readouterr().err.splitlines()[-1]
    assert snapshot(output) == before
    assert run_here("answer", source, output, *more) == 0
    assert rows(output)["row_id"].to_pylist() == list(range(8))


@pytest.mark.usefixtures("local_ray")
def test_a_process_that_was_taken_over_from_writes_and_deletes_nothing(tmp_path: Path, capsys, monkeypatch) -> None:
    """Another one takes over while the rows are written: the first one stops, what it finished stays."""
    source, output = parquet_input(tmp_path / "in", 64), tmp_path / "out"
    from vqa_ray.jobs.runtime import execute

    real = execute.write

    def write(dataset, layout, *rest, **options):
        # As when this process had stood still: its claim is not the highest any more.
        Path(claim_uri(str(output), 2)).write_text(json.dumps({"token": "x", "host": "h", "pid": 1, "started": DATE}))
        return real(dataset, layout, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(execute, "write", write)
        assert run_here("answer", source, output, "--rows-per-file", "8", "--batch-size", "8") == 1
    assert "another one has taken over" in capsys.readouterr().err
    assert not list(output.glob("part-*"))
    assert not Path(output, "_vqa_ray", "manifest.json").exists()


def start(log: Path, argv: list[str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "vqa_ray.jobs.cli", *argv],
            cwd=ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def jsonl_input(place: Path, count: int = ROWS) -> Path:
    place.mkdir()
    (place / "a.jpg").write_bytes(picture(0))
    lines = [{"row_id": i, "image_uri": "a.jpg", "image_id": f"id{i}", "question": f"is it {i}?"} for i in range(count)]
    (place / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return place / "q.jsonl"


class Witness:
    """Looks at an output again and again: of the rows that were committed, none may go."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.seen: set[int] = set()
        self.lost: set[int] = set()

    def look(self) -> None:
        keys: set[int] = set()
        for path in Path(self._output, "_vqa_ray", "checkpoint").rglob("*.pq"):
            if path.name.endswith(".pending.pq"):
                continue
            part = self._output / f"{path.stem}-0.parquet"
            # A commit without its rows would be a loss, too.
            keys |= set(pq.read_table(part, columns=["source_key"])["source_key"].to_pylist())
        self.lost |= self.seen - keys
        self.seen |= keys


def wait_for(processes: list[subprocess.Popen[bytes]], witness: Callable[[], None]) -> list[int]:
    deadline = time.monotonic() + DEADLINE_S * 3
    while any(process.poll() is None for process in processes):
        assert time.monotonic() < deadline
        witness()
        time.sleep(0.3)
    witness()
    return [process.returncode for process in processes]


def trial(place: Path, seed: int, processes: int, kills: int) -> list[int]:
    """Several processes of one command, started at random moments, some of them killed; then the command to its end.

    Returns:
        The exit codes.
    """
    moments = random.Random(seed)
    source, output = jsonl_input(place / "in"), place / "out"
    argv = arguments("answer", source, output, "--rows-per-file", "50", "--batch-size", "25", "--wait")
    refusing = argv[:-1]
    witness, running = Witness(output), []
    try:
        for number in range(processes):
            running.append(start(place / f"log{number}", argv if number % 2 else refusing))
            pause = time.monotonic() + moments.uniform(0, 14)
            while time.monotonic() < pause:
                witness.look()
                time.sleep(0.2)
            if number < kills:
                running[-1].send_signal(signal.SIGKILL)
        codes = wait_for(running, witness.look)
        running.append(start(place / "last", refusing))
        codes += wait_for(running[-1:], witness.look)
    finally:
        for process in running:
            process.kill()
            process.wait()
    told = {path.name: path.read_text() for path in place.iterdir() if path.is_file()}
    assert codes[-1] == 0, told
    assert set(codes) <= {0, 2, -9}, told
    assert not witness.lost
    assert rows(output)["row_id"].to_pylist() == list(range(ROWS))
    assert manifest(output)["findings"] == []
    return codes


@pytest.mark.soak
@pytest.mark.timeout(3500)
@pytest.mark.parametrize(
    ("seed", "processes", "kills"),
    [*((seed, 2, seed % 2) for seed in range(30)), *((seed, 5, 2) for seed in range(20))],
)
def test_processes_at_random_moments(tmp_path: Path, seed: int, processes: int, kills: int) -> None:
    trial(tmp_path, seed, processes, kills)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("whole_session", [False, True])
def test_a_process_that_stood_still_stops_when_it_wakes(tmp_path: Path, whole_session: bool) -> None:
    """The driver alone is stopped, or with all of its Ray; another one takes over, and the first one wakes up."""
    source, output = jsonl_input(tmp_path / "in", 20_000), tmp_path / "out"
    argv = arguments("answer", source, output, "--rows-per-file", "50", "--batch-size", "25")
    witness, running = Witness(output), []
    try:
        running.append(start(tmp_path / "first", argv))
        while len(witness.seen) < 500:
            assert running[0].poll() is None, (tmp_path / "first").read_text()
            witness.look()
            time.sleep(0.2)
        stopped = _session(running[0].pid) if whole_session else [running[0].pid]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        running.append(start(tmp_path / "second", argv))
        held = len(witness.seen)
        while running[1].poll() is None and len(witness.seen) < held + 1000:
            witness.look()
            time.sleep(0.3)
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        codes = wait_for(running, witness.look)
    finally:
        for process in running:
            process.kill()
            process.wait()
    told = [(tmp_path / name).read_text() for name in ("first", "second")]
    assert codes == [1, 0], told
    assert "has taken over" in told[0]
    assert "is dead; taking over" in told[1]
    assert not witness.lost
    assert rows(output)["row_id"].to_pylist() == list(range(20_000))
    assert manifest(output)["findings"] == []


def _session(leader: int) -> list[int]:
    """A process that leads a session, and all the others of it."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(entry.name))
    return found


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_retries_at_once(tmp_path: Path, seed: int) -> None:
    """Three retries of the same failed rows; one of them is killed."""
    moments = random.Random(seed)
    source, output = jsonl_input(tmp_path / "in"), tmp_path / "out"
    (tmp_path / "in" / "a.jpg").rename(tmp_path / "in" / "b.jpg")
    argv = arguments(
        "answer", source, output, "--rows-per-file", "50", "--batch-size", "25", "--max-error-fraction", "1"
    )
    running = []
    try:
        running.append(start(tmp_path / "run", argv))
        assert wait_for(running, lambda: None) == [0]
        assert manifest(output)["failed"] == ROWS
        (tmp_path / "in" / "b.jpg").rename(tmp_path / "in" / "a.jpg")
        for number in range(3):
            running.append(start(tmp_path / f"retry{number}", [*argv, "--retry-failed", "all"]))
            time.sleep(moments.uniform(0, 12))
            if number == 0:
                running[-1].kill()
        running.append(start(tmp_path / "last", [*argv, "--wait", "--retry-failed", "all"]))
        codes = wait_for(running, lambda: None)
    finally:
        for process in running:
            process.kill()
            process.wait()
    told = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert codes[-1] == 0, told
    assert set(codes) <= {0, 2, -9}, told
    assert manifest(output)["findings"] == []
    assert manifest(output)["failed"] == 0
    assert rows(output)["row_id"].to_pylist() == list(range(ROWS))
