"""Several questions per image: one run against a run for each question."""

from __future__ import annotations

import itertools
from pathlib import Path

from benchmarks import checkpoints, photos, runs
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, ratios
from jobs.session import session

_IMAGES, _ROUNDS = 2_000, 3
_QUESTIONS = 5


def measure(settings: Settings) -> Measured:
    """Seconds for all answers, whole runs and without their start-up."""
    model = checkpoints.small_model(settings.quick)
    count, rounds = settings.pick(_IMAGES, 48), settings.pick(_ROUNDS, 1)
    rendered = [photos.rendered(index) for index in range(count)]
    input = photos.write_parquet(settings.scratch / "input", rendered, max(1, count // 4), ask=False)
    asked = list(checkpoints.QUESTIONS[:_QUESTIONS])
    numbers = itertools.count()

    def run(*questions: str) -> runs.Run:
        output: Path = settings.scratch / f"output-{next(numbers)}"
        return runs.answer(input, output, model, question=list(questions), rows_per_file=max(16, count // 16))

    with session(None):
        measured = by_turns(
            {"together": lambda: [run(*asked)], "apart": lambda: [run(question) for question in asked]},
            rounds,
            warm_up=not settings.quick,
        )
    together, apart = ([sum(one.duration_s for one in each) for each in measured[name]] for name in _NAMES)
    steady = [[sum(_per_row(one) for one in each) for each in measured[name]] for name in _NAMES]
    return Measured(
        [
            figure(f"small model, {count} images: {_QUESTIONS} questions in one run", together, "s"),
            figure(f"{_QUESTIONS} runs of one question each", apart, "s"),
            figure("runs apart, to the run together", ratios(apart, together), "×", at_least=2.5),
            figure("the same from first file written to last: no start-up", ratios(steady[1], steady[0]), "×"),
        ],
        [
            f"{count} rendered products in 4 Parquet shards; one local Ray that is up before; {rounds} rounds. A run "
            "starts its workers and loads its model.",
        ],
    )


_NAMES = ("together", "apart")


def _per_row(run: runs.Run) -> float:
    """Seconds per image once a run is under way."""
    return 1 / run.steady_rows_per_s if run.steady_rows_per_s else 0.0
