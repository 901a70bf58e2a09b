"""A question of 1, 64, 128 and 512 photos, whole processes, against scripts for Daft and Ray; and a search."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import checkpoints, machine, photos
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, ratios
from vqa_ray.models.checkpoint.files import bundled_names

_COUNTS, _ROUNDS = (1, 64, 128, 512), 3
_SIDE = 348
_QUESTION = "is there a dog?"
_ENCODER = "catalog-clip"
_PEERS = {"daft": "benchmarks.plain_daft", "ray": "benchmarks.plain_ray_photos"}


def measure(settings: Settings) -> Measured:
    """Seconds from the start of each process to its end, by number of photos, in turn."""
    model = str(checkpoints.vilt_b32(settings.quick))
    rounds = settings.pick(_ROUNDS, 1)
    peers = {name: script for name, script in _PEERS.items() if name != "daft" or importlib.util.find_spec("daft")}
    numbers = itertools.count()
    figures = []
    for count in (1, 4) if settings.quick else _COUNTS:
        input = _folder(settings.scratch / f"photos-{count}", count)

        def run(*command: str, source: Path = input) -> float:
            output = settings.scratch / f"output-{next(numbers)}"
            places = ("--input", str(source), "--output", str(output), "--model", model, "--question", _QUESTION)
            return _seconds(settings.scratch, *command, *places)

        contestants = {"answer": lambda: run("vqa_ray.jobs.cli", "answer")}
        contestants |= {name: (lambda script=script: run(script)) for name, script in peers.items()}
        # The rounds of large inputs last minutes, and start-up matters little there.
        measured = by_turns(contestants, 1 if count > 128 else rounds, warm_up=count == 1)
        figures.append(figure(f"{count} photos: `vqa-ray answer`, whole process", measured["answer"], "s"))
        for name in peers:
            figures.append(figure(f"{count} photos: the {name.title()} script", measured[name], "s"))
            figures.append(
                figure(f"{count} photos: ours to {name.title()}'s", ratios(measured["answer"], measured[name]), "×")
            )
    figures.append(figure("`vqa-ray search` by text, whole process", _searches(settings, rounds), "s", at_most=5.0))
    missing = "" if "daft" in peers else " Daft is not installed, so its script was left out."
    return Measured(
        figures,
        [
            f"Photos of {_SIDE} × {_SIDE} pixels, JPEG, in a folder; ViLT-B/32 with random weights; each turn is a "
            f"process with its defaults, caches warm.{missing}",
            f"Peers: {', '.join(script.replace('.', '/') + '.py' for script in peers.values())}, in batches of 8, "
            "without error rows or resuming. The search is of an index of 64 such photos.",
        ],
    )


def _folder(directory: Path, count: int) -> Path:
    directory.mkdir()
    for index, data in enumerate(photos.jpegs(count, _SIDE, _SIDE)):
        (directory / f"{index:04}.jpg").write_bytes(data)
    return directory


def _searches(settings: Settings, rounds: int) -> list[float]:
    model = f"bundled:{_ENCODER}" if _ENCODER in bundled_names() else "fake:"
    source, index = _folder(settings.scratch / "indexed", 64), settings.scratch / "index"
    _seconds(
        settings.scratch, "vqa_ray.jobs.cli", "index", "--input", str(source), "--output", str(index), "--model", model
    )
    command = ("vqa_ray.jobs.cli", "search", str(index), "--text", "a red mug")
    return [_seconds(settings.scratch, *command) for _ in range(rounds + 1)][1:]


def _seconds(directory: Path, *command: str) -> float:
    log = directory / "log.txt"
    begun = time.perf_counter()
    with log.open("w") as sink:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=machine.ROOT, stdout=sink, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {log.read_text()[-2000:]}")
    return time.perf_counter() - begun
