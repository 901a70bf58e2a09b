"""Bringing an index up to date: what adding 1 % of the images takes of what the whole took."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import machine
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray.index.reader import open_index
from vqa_ray.models.checkpoint.files import bundled_names

_IMAGES, _PERCENT, _SIDE, _GRID = 100_000, 1, 64, 4
_ENCODER = "catalog-clip"


def measure(settings: Settings) -> Measured:
    """Seconds of both commands, each a process with a Ray of its own, and their ratio."""
    count = settings.pick(_IMAGES, 200)
    more = max(1, count * _PERCENT // 100)
    model = f"bundled:{_ENCODER}" if _ENCODER in bundled_names() and not settings.quick else "fake:"
    photos, index = settings.scratch / "photos", settings.scratch / "index"
    draw(photos, 0, count)
    full_s = _index(photos, index, model)
    draw(photos, count, count + more)
    more_s = _index(photos, index, model)
    nothing_s = _index(photos, index, model)
    opened = open_index(str(index))
    assert (opened.version.ok, opened.version.updates[-1].added) == (count + more, more)
    manifest = Path(opened.column_map.update(opened.version.updates[-1].name).manifest)
    assert json.loads(manifest.read_text(encoding="utf-8"))["rows"] == more, "unchanged images were embedded again"
    return Measured(
        [
            figure(f"index of {count:,} images", [full_s], "s"),
            figure(f"{more:,} images added", [more_s], "s"),
            figure("the addition to the whole", [more_s / full_s], "×", at_most=0.05),
            figure("nothing to add", [nothing_s], "s"),
        ],
        [
            f"PNG files of {_SIDE} × {_SIDE} on the local disk, {model}, thumbnails kept, approximate index as "
            "`--ann auto` makes it; each command is a process that starts a Ray of its own.",
        ],
    )


def draw(directory: Path, start: int, stop: int) -> None:
    """Images of a few blurred patches of colour, each different. Their names sort among each other."""
    directory.mkdir(exist_ok=True)
    for number in range(start, stop):
        drawn = np.random.default_rng(number)
        patches = drawn.integers(0, 256, (_GRID, _GRID, 3), np.uint8)
        name = f"{int(drawn.integers(2**40)):011x}-{number}.png"
        Image.fromarray(patches).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR).save(directory / name)


def _index(photos: Path, index: Path, model: str) -> float:
    command = [sys.executable, "-m", "vqa_ray.jobs.cli", "index", "--input", str(photos), "--output", str(index)]
    begun = time.perf_counter()
    subprocess.run([*command, "--model", model, "--quiet"], cwd=machine.ROOT, check=True)
    return time.perf_counter() - begun
