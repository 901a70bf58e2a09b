"""Bringing a tagged catalogue up to date: what 1 % of new images takes of what the whole took."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.incremental import draw
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings

_IMAGES, _PERCENT, _SIDE = 100_000, 1, 64
_COPIES = 50
_MODEL = "bundled:catalog-vilt"


def measure(settings: Settings) -> Measured:
    """Seconds of an update with 1 % of new images against a full run at the model's own rate; each is a process.

    The run of all images has an answer cache and each picture several times, so that it takes minutes and not hours;
    what it would take without is counted from runs over four and over all of the pictures alone. The update has none.
    """
    count = settings.pick(_IMAGES, 400)
    pictures, more = count // _COPIES, max(1, count * _PERCENT // 100)
    model = "fake:" if settings.quick else _MODEL
    photos, output, scratch = settings.scratch / "photos", settings.scratch / "run", settings.scratch
    draw(scratch / "few", 0, 4)
    draw(scratch / "pictures", 0, pictures)
    draw(photos, 0, 0)
    for picture in sorted((scratch / "pictures").iterdir()):
        for copy in range(_COPIES):
            (photos / f"{copy:02}-{picture.name}").hardlink_to(picture)
    start_s = _tag(scratch / "few", scratch / "start", model)
    sample_s = _tag(scratch / "pictures", scratch / "sample", model)
    _tag(photos, output, model, "--cache", str(scratch / "cache"))
    draw(photos, count, count + more)
    update_s = _tag(photos, output, model, "--update")
    history = _manifest(output)["updates"]
    nothing_s = _tag(photos, output, model, "--update")
    expected = {"new": more, "changed": 0, "gone": 0, "kept": count, "asked": more}
    assert {name: history[0][name] for name in expected} == expected, history
    full_s = start_s + (sample_s - start_s) / (pictures - 4) * count
    return Measured(
        [
            figure("tag of 4 images", [start_s], "s"),
            figure(f"tag of {pictures:,} images", [sample_s], "s"),
            figure(f"of {count:,} at that rate", [full_s], "s"),
            figure(f"{more:,} images added to {count:,}, --update", [update_s], "s"),
            figure("the update to the whole", [update_s / full_s], "×", at_most=None if settings.quick else 0.03),
            figure("images read again", [float(history[0]["asked"] - more)], at_most=0),
            figure("nothing to update", [nothing_s], "s"),
        ],
        [
            f"PNG files of {_SIDE} × {_SIDE} on the local disk, {model}, the built-in taxonomy; each command is a "
            "process that starts a Ray of its own, where there is something to ask.",
        ],
    )


def _tag(photos: Path, output: Path, model: str, *more: str) -> float:
    command = [sys.executable, "-m", "vqa_ray.jobs.cli", "tag", "--input", str(photos), "--output", str(output)]
    begun = time.perf_counter()
    subprocess.run([*command, "--model", model, "--quiet", *more], cwd=machine.ROOT, check=True)
    return time.perf_counter() - begun


def _manifest(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "_vqa_ray" / "manifest.json").read_text(encoding="utf-8")))
