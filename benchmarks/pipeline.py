"""Whole runs: `answer` against the bare engine and against the plain Ray Data script."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from benchmarks import checkpoints, photos, prepared, runs
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, rates, ratios, seconds
from jobs.session import session
from vqa_ray.images import ImageLimits, decode_resized
from vqa_ray.models.load import load_transform

_ROWS, _ROUNDS = 384, 3
_ROWS_PER_FILE = 32
_TOP_K = 5


def measure(settings: Settings) -> Measured:
    """Rows per second with and without start-up, and ratios."""
    model = checkpoints.vilt_b32(settings.quick)
    count, rounds = settings.pick(_ROWS, 64), settings.pick(_ROUNDS, 1)
    files = photos.encoded(count)
    input = photos.write_parquet(settings.scratch / "input", files, max(1, count // 4))
    bare = _bare(model, files)
    numbers = itertools.count()

    def output() -> Path:
        return settings.scratch / f"output-{next(numbers)}"

    with session(None):
        contestants: dict[str, Callable[[], runs.Run | float]] = {
            "pipeline": lambda: runs.answer(input, output(), str(model), rows_per_file=_ROWS_PER_FILE),
            "bare": bare,
            "plain": lambda: runs.plain(input, output(), str(model)),
        }
        measured = by_turns(contestants, rounds, warm_up=not settings.quick)
    pipeline, plain = ([run for run in measured[name] if isinstance(run, runs.Run)] for name in ("pipeline", "plain"))
    assert all(run.rows == count for run in (*pipeline, *plain))
    bare_rate = rates(count, [value for value in measured["bare"] if isinstance(value, float)])
    whole = rates(count, [run.duration_s for run in pipeline])
    steady = [run.steady_rows_per_s or 0.0 for run in pipeline]
    plain_rate = rates(count, [run.duration_s for run in plain])
    return Measured(
        [
            figure(f"ViLT-B/32, {count} rows: (d) the bare engine on prepared images", bare_rate, "rows/s"),
            figure("`answer`, whole run, loading the model included", whole, "rows/s"),
            figure("`answer`, from its first file written to its last", steady, "rows/s"),
            figure("(c) the plain Ray Data script, whole run", plain_rate, "rows/s"),
            figure(
                "`answer`, from its first file written to its last, to (d)",
                ratios(steady, bare_rate),
                at_least=0.9,
            ),
            figure("`answer`, whole run, to (d), which has its model loaded", ratios(whole, bare_rate)),
            figure("`answer`, whole run, to (c), whole run", ratios(whole, plain_rate), "×", at_least=2.5),
        ],
        [
            photos.source(),
            f"{count} rows in 4 Parquet shards of encoded photos as they are, a question each; {rounds} rounds. All "
            "run in one local Ray that is up before; `answer` is called as the command calls it, default dtype and batch "
            f"size, {_ROWS_PER_FILE} rows per file.",
            "(d) gets all images decoded and resized, all in one call, the model loaded. (c) is "
            "benchmarks/plain_ray.py: read_parquet, one map_batches over an actor with processor and model, float32 as "
            f"from_pretrained gives it, batches of {runs.plain_ray.BATCH_SIZE}, all cores, write_parquet.",
        ],
    )


def _bare(model: Path, files: list[bytes]) -> Callable[[], float]:
    transform = load_transform(str(model))
    images = [decode_resized(data, ImageLimits(), transform.target_size) for data in files]
    asked = prepared.asked(photos.questions(len(files)))
    vilt = prepared.engine(model)
    return seconds(lambda: vilt.answer(images, asked, _TOP_K))
