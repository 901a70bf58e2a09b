"""Embeddings: the pipeline of `index` against the bare encoder and against the plain Ray Data script."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import checkpoints, encoders, photos, plain_ray_embed, runs
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, rates, ratios, seconds
from vqa_ray.images.decoder import ImageLimits, decode_for
from vqa_ray.jobs.runtime.cluster.connect import connect_ray
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions

_ROWS, _ROUNDS = 1_536, 2
_ROWS_PER_FILE = 64
_PARTS = "updates/*/part-*.parquet"


def measure(settings: Settings) -> Measured:
    """Embeddings per second with and without start-up, and ratios."""
    model = checkpoints.clip_b32(settings.quick)
    count, rounds = settings.pick(_ROWS, 256), settings.pick(_ROUNDS, 1)
    files = photos.encoded(count)
    input = photos.write_parquet(settings.scratch / "input", files, _ROWS_PER_FILE, ask=False)
    few = photos.write_parquet(settings.scratch / "few", files[:4], 1, ask=False)
    numbers = itertools.count()
    outputs: dict[str, Path] = {}

    def output(of: str) -> Path:
        outputs[of] = settings.scratch / f"output-{next(numbers)}"
        return outputs[of]

    def index(source: Path) -> runs.Run:
        target = output("pipeline")
        options = {"ann": "never", "rows_per_file": _ROWS_PER_FILE}
        return runs.observed(lambda: encoders.build_index(source, target, str(model), **options), target, _PARTS)

    def plain(source: Path) -> runs.Run:
        target = output("plain")
        return runs.observed(lambda: plain_ray_embed.embed(str(source), str(target), str(model)), target)

    bare = _bare(model, files)
    with connect_ray(None):
        contestants: dict[str, Callable[[], runs.Run]] = {
            "pipeline, few": lambda: index(few),
            "plain, few": lambda: plain(few),
            "pipeline": lambda: index(input),
            "bare": lambda: runs.Run(bare(), 0.0, count, None),
            "plain": lambda: plain(input),
        }
        contestants["pipeline, few"](), contestants["plain, few"]()
        measured = by_turns(contestants, rounds, warm_up=False)
    assert all(run.rows == count for name in ("pipeline", "plain") for run in measured[name])
    whole = {name: rates(count, [run.duration_s for run in measured[name]]) for name in ("pipeline", "bare", "plain")}
    further = {name: _further(measured[name], measured[f"{name}, few"]) for name in ("pipeline", "plain")}
    steady = [run.steady_rows_per_s for run in measured["pipeline"] if run.steady_rows_per_s is not None]
    figures = [
        figure(f"CLIP ViT-B/32, {count} images: the bare encoder on prepared images", whole["bare"], "images/s"),
        figure("`index`, whole run, loading the model included", whole["pipeline"], "images/s"),
        figure("the plain Ray Data script, whole run, loading the model included", whole["plain"], "images/s"),
        figure("`index`, whole run, to the script, whole run", ratios(whole["pipeline"], whole["plain"]), "×"),
        figure("`index`, without what a run over 4 images takes", further["pipeline"], "images/s"),
        figure("the script, without what a run over 4 images takes", further["plain"], "images/s"),
        figure("`index` to the script, both without", ratios(further["pipeline"], further["plain"]), "×", at_least=3),
    ]
    if len(steady) == rounds:
        figures += [
            figure("`index` under way, by the rate at which rows are written", steady, "images/s"),
            figure("`index` under way, to the bare encoder", ratios(steady, whole["bare"]), at_least=0.9),
        ]
    figures.append(figure("least cosine of a vector of `index` and the script's", [_least_cosine(outputs)]))
    return Measured(figures, _notes(count, rounds))


def _further(whole: list[runs.Run], few: list[runs.Run]) -> list[float]:
    """Images per second of what a run has more than one that does hardly anything."""
    return [
        (run.rows - start.rows) / max(run.duration_s - start.duration_s, 1e-3)
        for run, start in zip(whole, few, strict=True)
    ]


def _notes(count: int, rounds: int) -> list[str]:
    return [
        photos.source(),
        f"{count} encoded photos as they are in Parquet shards of {_ROWS_PER_FILE}; {rounds} rounds, after a run over "
        "4 of them. All run in one local Ray that is up before; `index` is called as the command calls it, default "
        f"dtype and batch size, thumbnails kept, {_ROWS_PER_FILE} rows per file, no approximate index.",
        "The bare encoder gets all images decoded and resized, in one call, its model loaded. The script is "
        "benchmarks/plain_ray_embed.py: read_parquet, one map_batches over an actor with transformers' processor and "
        "model on all cores, float32 as from_pretrained gives it, batches of "
        f"{plain_ray_embed.BATCH_SIZE}, write_parquet. It makes no hashes and no thumbnails.",
        "The weights are random, so cosines tell of rounding only.",
    ]


def _bare(model: Path, files: list[bytes]) -> Callable[[], float]:
    transform = Checkpoint.open(str(model)).transform
    images = [decode_for(data, ImageLimits(), transform) for data in files]
    encoder = ModelOptions(str(model)).load_encoder()
    return seconds(lambda: encoder.encode_images(images))


def _least_cosine(outputs: dict[str, Path]) -> float:
    """Of the vectors that both gave an image."""
    columns = ["image_id", "embedding"]
    ours = pa.concat_tables([pq.read_table(path, columns=columns) for path in outputs["pipeline"].glob(_PARTS)])
    theirs = pq.read_table(outputs["plain"], columns=columns)
    pairs = dict(zip(theirs["image_id"].to_pylist(), theirs["embedding"].to_pylist(), strict=True))
    return min(
        float(np.dot(vector, np.ravel(pairs[image])))
        for image, vector in zip(ours["image_id"].to_pylist(), ours["embedding"].to_pylist(), strict=True)
    )
