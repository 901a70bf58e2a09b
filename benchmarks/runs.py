"""Whole runs of `answer` and of its peer, and when their rows were written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import plain_ray
from benchmarks.timing import steady_rate
from vqa_ray.errors import RunError
from vqa_ray.jobs.answer import command as answer_job
from vqa_ray.jobs.cli import exit_code
from vqa_ray.jobs.spec.images import AnswerSpec


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run.

    Attributes:
        duration_s: from the call, or the start of the process, to its end.
        first_s: to the end of the first file written.
        rows: in all files.
        steady_rows_per_s: see `steady_rate`.
    """

    duration_s: float
    first_s: float
    rows: int
    steady_rows_per_s: float | None


def observed(call: Callable[[], object], output: Path, pattern: str = "*.parquet") -> Run:
    """Call something that writes Parquet files below `output`: those that match `pattern`."""
    begun, clock = time.time(), time.perf_counter()
    call()
    duration_s = time.perf_counter() - clock
    files = sorted((path.stat().st_mtime, pq.read_metadata(path).num_rows) for path in output.glob(pattern))
    rows = sum(count for _, count in files)
    return Run(duration_s, files[0][0] - begun, rows, steady_rate(files))


def answer(input: Path, output: Path, model: str, **fields: object) -> Run:
    """Run `vqa-ray answer` as the command does, in this process and the Ray it has joined.

    Args:
        input: the images.
        output: the run directory.
        model: a model reference.
        fields: more of `AnswerSpec`.

    Raises:
        RunError: its rows are not sound, or too many of them failed.
    """
    request = {"input": str(input), "output": str(output), "model": model, "quiet": True, **fields}
    spec = AnswerSpec.model_validate(request)

    def call() -> None:
        result = answer_job.run(spec)
        if exit_code(result):
            raise RunError(f"answer: {result}")

    return observed(call, output)


def plain(input: Path, output: Path, model: str) -> Run:
    """Run the plain Ray Data script in this process and the Ray it has joined."""
    return observed(lambda: plain_ray.answer(str(input), str(output), model), output)
