"""What the bookkeeping of a healthy run costs: the commits of its rows, its reports and metrics."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import checkpoints, photos, runs
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, ratios
from vqa_ray.jobs.answer import command as answer_job
from vqa_ray.jobs.runtime.cluster.connect import connect_ray
from vqa_ray.jobs.spec.images import AnswerSpec

_ROWS, _ROUNDS, _SHARDS, _ROWS_PER_FILE = 3_200, 4, 4, 200
_COMMITS, _REPORTS = "checkpoint_config", "report_under"


def measure(settings: Settings) -> Measured:
    """Rows per second under way of `answer`, with all of it and without one part each."""
    count, rounds = settings.pick(_ROWS, 256), settings.pick(_ROUNDS, 1)
    per_file = settings.pick(_ROWS_PER_FILE, 16)
    files = photos.encoded(min(count, 256))
    repeated = [files[number % len(files)] for number in range(count)]
    source = photos.write_parquet(settings.scratch / "input", repeated, count // _SHARDS)
    numbers = itertools.count()

    def answer(without: str | None) -> Callable[[], runs.Run]:
        def turn() -> runs.Run:
            output = settings.scratch / f"output-{next(numbers)}"
            with _without(without):
                return runs.observed(lambda: answer_job.run(_spec(source, output, per_file)), output)

        return turn

    with connect_ray(None):
        contestants = {"all": answer(None), "no commits": answer(_COMMITS), "no reports": answer(_REPORTS)}
        measured = by_turns(contestants, rounds)
    assert all(run.rows == count for done in measured.values() for run in done)
    steady = {name: [run.steady_rows_per_s or 0.0 for run in done] for name, done in measured.items()}
    most = None if settings.quick else 0.03
    figures = [figure("`answer` under way, with all of it", steady["all"], "rows/s")]
    for name, what in (("no commits", "the commits of the rows"), ("no reports", "reports and metrics")):
        figures.append(figure(f"the same without {what}", steady[name], "rows/s"))
        lost = [1.0 - ratio for ratio in ratios(steady["all"], steady[name])]
        figures.append(figure(f"share of the rate that {what} take", lost, at_most=most))
    return Measured(
        figures,
        [
            photos.source(),
            f"{count:,} rows in {_SHARDS} Parquet shards, {checkpoints.BUNDLED}, {per_file} rows per file, "
            f"{rounds} rounds after one that does not count, in one local Ray that is up before. Without commits, Ray "
            "Data writes no checkpoint; without reports, actors send no counts to the driver, no image sizes and no "
            "metrics. A share below zero is the noise of the measurement.",
        ],
    )


def _spec(source: Path, output: Path, rows_per_file: int) -> AnswerSpec:
    return AnswerSpec.model_validate(
        {
            "input": str(source),
            "output": str(output),
            "model": checkpoints.BUNDLED,
            "rows_per_file": rows_per_file,
            "quiet": True,
        }
    )


@contextmanager
def _without(part: str | None) -> Iterator[None]:
    """Leave a part of the bookkeeping out of the runs within the block."""

    def nothing(*_: Any) -> None:
        return None

    if part is None:
        yield
        return
    with ExitStack() as patches:
        patches.enter_context(mock.patch(f"vqa_ray.jobs.runtime.execute.{part}", nothing))
        if part == _COMMITS:
            # They would remove the files that no commit lists, or miss them.
            for name in ("commit.commits.clean_uncommitted", "run.finish_run"):
                patches.enter_context(mock.patch(f"vqa_ray.jobs.runtime.{name}", nothing))
        yield
