"""Running commands, in this process or in one of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vqa_ray.jobs.cli import main
from vqa_ray.runs.commits import committed_tasks
from vqa_ray.runs.directory import RunDirectory

ROOT = Path(__file__).parents[2]
# Far more than a run takes, for machines that have much else to do.
DEADLINE_S = 300


def arguments(command: str, source: Path | str, output: Path | str, *more: str) -> list[str]:
    """A command, on the fake model unless `more` names another."""
    model = () if "--model" in more else ("--model", "fake:")
    return [command, "--input", str(source), "--output", str(output), *model, "--quiet", *more]


def run_here(command: str, source: Path | str, output: Path | str, *more: str) -> int:
    """Run a command in this process, on the Ray that the tests share; gives its exit code."""
    return main(arguments(command, source, output, *more))


@contextmanager
def started(*argv: str, cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """A command as a process of its own, with a Ray of its own; whatever happens, it has ended after the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "vqa_ray.jobs.cli", *argv],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_after_first_commit(argv: Sequence[str], layout: RunDirectory) -> None:
    """Start a command and kill it, driver first, as soon as rows are committed."""
    with started(*argv) as process:
        deadline, pause = time.monotonic() + DEADLINE_S, time.sleep
        while not committed_tasks(layout):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            pause(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()


def finish(argv: Sequence[str]) -> tuple[int, str]:
    """Run a command as a process of its own; (exit code, standard error)."""
    with started(*argv) as process:
        _, told = process.communicate(timeout=DEADLINE_S)
        return process.returncode, told


def manifest(output: Path | str) -> dict[str, Any]:
    """The manifest of a run directory on the local disk."""
    return dict(json.loads(Path(output, "_vqa_ray", "manifest.json").read_text()))


def rows(output: Path | str) -> pa.Table:
    """All rows of a run directory on the local disk, as any reader finds them, sorted by source_key."""
    return pq.read_table(output).sort_by("source_key")
