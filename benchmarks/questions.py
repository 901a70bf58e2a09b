"""Several questions per image: one run against a run for each question."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from benchmarks import checkpoints, photos, runs
from benchmarks.report import Figure, Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, ratios
from vqa_ray.jobs.runtime.cluster.connect import connect_ray

_IMAGES, _ROUNDS = 1_000, 2
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

    with connect_ray(None):
        measured = by_turns(
            {"together": lambda: [run(*asked)], "apart": lambda: [run(question) for question in asked]},
            rounds,
            warm_up=not settings.quick,
        )
    together, apart = ([sum(one.duration_s for one in each) for each in measured[name]] for name in _NAMES)
    under_way = [_under_way(runs_of_round) for name in _NAMES for runs_of_round in measured[name]]
    steady: list[Figure] = []
    if None not in under_way:
        known = [time_s for time_s in under_way if time_s is not None]
        steady = [
            figure(
                "the same without start-up, by the rates at which rows are written",
                ratios(known[rounds:], known[:rounds]),
                "×",
            )
        ]
    return Measured(
        [
            figure(f"small model, {count} images: {_QUESTIONS} questions in one run", together, "s"),
            figure(f"{_QUESTIONS} runs of one question each", apart, "s"),
            figure("runs apart, to the run together", ratios(apart, together), "×", at_least=2.5),
            *steady,
        ],
        [
            f"{count} rendered products in 4 Parquet shards; one local Ray that is up before; {rounds} rounds. A run "
            "starts its workers and loads its model.",
        ],
    )


_NAMES = ("together", "apart")


def _under_way(done: Sequence[runs.Run]) -> float | None:
    """Seconds that one image takes in all runs of a round together; None where a run was too short to tell."""
    rates = [run.steady_rows_per_s for run in done]
    return None if None in rates else sum(1 / rate for rate in rates if rate)
