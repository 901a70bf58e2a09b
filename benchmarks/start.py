"""From the start of a command to its first rows written, with a small model."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

from benchmarks import checkpoints, machine, photos, runs
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, ratios

_ROWS, _ROUNDS = 600, 3


def measure(settings: Settings) -> Measured:
    """Seconds to the first file and to the end, for `answer` and for the plain Ray Data script."""
    model = checkpoints.small_model(settings.quick)
    directory = str(checkpoints.small_directory(settings.quick))
    count, rounds = settings.pick(_ROWS, 32), settings.pick(_ROUNDS, 1)
    rendered = [photos.rendered(index) for index in range(count)]
    input = photos.write_parquet(settings.scratch / "input", rendered, max(1, count // 3))
    numbers = itertools.count()

    def run(*command: str) -> runs.Run:
        output = settings.scratch / f"output-{next(numbers)}"
        arguments = [sys.executable, "-m", *command, "--input", str(input), "--output", str(output)]
        return runs.observed(lambda: _quietly(arguments, settings.scratch), output)

    measured = by_turns(
        {
            "answer": lambda: run("vqa_ray.jobs.cli", "answer", "--model", model),
            "plain": lambda: run("benchmarks.plain_ray", "--model", directory),
        },
        rounds,
        warm_up=not settings.quick,
    )
    answer, plain = measured["answer"], measured["plain"]
    first = [[one.first_s for one in each] for each in (answer, plain)]
    whole = [[one.duration_s for one in each] for each in (answer, plain)]
    return Measured(
        [
            figure(f"small model, {count} rows: `vqa-ray answer`, start to first file written", first[0], "s"),
            figure("(c) the plain Ray Data script, start to first file written", first[1], "s"),
            figure("start to first file written, to that of (c)", ratios(*first), at_most=1.0),
            figure("`vqa-ray answer`, start to end of the process", whole[0], "s"),
            figure("(c), start to end of the process", whole[1], "s"),
        ],
        [
            f"{count} rendered products in 3 Parquet shards, a question each; model {_name(model)}; {rounds} rounds "
            "after one that warms the disk cache. Each is a process of its own that starts its own local Ray; both "
            "with their defaults. The time is that of the first Parquet file's last change.",
        ],
    )


def _quietly(command: list[str], directory: Path) -> None:
    log = directory / "log.txt"
    with log.open("w") as sink:
        done = subprocess.run(command, cwd=machine.ROOT, stdout=sink, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {log.read_text()[-2000:]}")


def _name(model: str) -> str:
    return model if model.startswith("bundled:") else "of the bundled one's shape, random weights"
