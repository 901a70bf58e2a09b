"""Whole runs: `answer` against the bare engine and against the plain Ray Data script."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from benchmarks import checkpoints, photos, plain_ray, prepared, runs
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, rates, ratios, seconds
from vqa_ray.images.decoder import ImageLimits, decode_resized
from vqa_ray.jobs.runtime.cluster.connect import connect_ray
from vqa_ray.models.checkpoint.opened import Checkpoint

_ROWS, _ROUNDS = 384, 2
_SHARDS = 4
_ROWS_PER_FILE = 32
_TOP_K = 5


def measure(settings: Settings) -> Measured:
    """Rows per second with and without start-up, and ratios."""
    model = checkpoints.vilt_b32(settings.quick)
    count, rounds = settings.pick(_ROWS, 128), settings.pick(_ROUNDS, 1)
    files = photos.encoded(count)
    input = photos.write_parquet(settings.scratch / "input", files, count // _SHARDS)
    few = photos.write_parquet(settings.scratch / "few", files[:_SHARDS], 1)
    numbers = itertools.count()

    def output() -> Path:
        return settings.scratch / f"output-{next(numbers)}"

    bare = _bare(model, files)
    with connect_ray(None):
        runs.answer(few, output(), str(model))
        runs.plain(few, output(), str(model))
        contestants: dict[str, Callable[[], runs.Run]] = {
            "pipeline": lambda: runs.answer(input, output(), str(model), rows_per_file=_ROWS_PER_FILE),
            "bare": lambda: runs.Run(bare(), 0.0, count, None),
            "plain": lambda: runs.plain(input, output(), str(model)),
        }
        measured = by_turns(contestants, rounds, warm_up=False)
    assert all(run.rows == count for done in measured.values() for run in done)
    whole = {name: rates(count, [run.duration_s for run in done]) for name, done in measured.items()}
    steady = [run.steady_rows_per_s for run in measured["pipeline"] if run.steady_rows_per_s is not None]
    figures = [
        figure(f"ViLT-B/32, {count} rows: (d) the bare engine on prepared images", whole["bare"], "rows/s"),
        figure("`answer`, whole run, loading the model included", whole["pipeline"], "rows/s"),
        figure("(c) the plain Ray Data script, whole run, loading the model included", whole["plain"], "rows/s"),
        figure("`answer`, whole run, to (c), whole run", ratios(whole["pipeline"], whole["plain"]), "×", at_least=2.5),
        figure("`answer`, whole run, to (d), which has its model loaded", ratios(whole["pipeline"], whole["bare"])),
    ]
    if len(steady) == rounds:
        figures += [
            figure("`answer` under way, by the rate at which rows are written", steady, "rows/s"),
            figure("`answer` under way, to (d)", ratios(steady, whole["bare"]), at_least=0.9),
        ]
    return Measured(figures, _notes(count, rounds))


def _notes(count: int, rounds: int) -> list[str]:
    return [
        photos.source(),
        f"{count} rows in {_SHARDS} Parquet shards of encoded photos as they are, a question each; {rounds} rounds, "
        "after a run over a few rows. All run in one local Ray that is up before; `answer` is called as the command "
        f"calls it, default dtype and batch size, {_ROWS_PER_FILE} rows per file.",
        "(d) gets all images decoded and resized, in one call, its model loaded. (c) is benchmarks/plain_ray.py: "
        "read_parquet, one map_batches over an actor with transformers' processor and model on all cores, float32 as "
        f"from_pretrained gives it, batches of {plain_ray.BATCH_SIZE}, write_parquet.",
        "Decoding runs ahead of the model, so the images that fit in the buffers are decoded while the model loads: "
        "that part of the work is in the figures of the whole run only.",
    ]


def _bare(model: Path, files: list[bytes]) -> Callable[[], float]:
    transform = Checkpoint.open(str(model)).transform
    images = [decode_resized(data, ImageLimits(), transform.target_size) for data in files]
    asked = prepared.asked(photos.questions(len(files)))
    vilt = prepared.engine(model)
    return seconds(lambda: vilt.answer(images, asked, _TOP_K))
