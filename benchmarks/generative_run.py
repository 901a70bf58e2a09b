"""A whole run of `answer` by BLIP-2 with ten questions per image, against the bare engine on prepared images."""

from __future__ import annotations

import io
import itertools

from benchmarks import checkpoints, generative, photos, prepared, runs
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, rates, ratios, seconds
from vqa_ray.jobs.runtime.cluster.connect import connect_ray
from vqa_ray.models.blip.blip2 import Blip2
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.transforms.square import SquareTransform

_IMAGES, _ROUNDS = 64, 1
_BATCH, _TOKENS = 8, 10


def measure(settings: Settings) -> Measured:
    """Images per second of both, float32, batches of the same size."""
    directory = generative.checkpoint(settings)
    count, rounds = settings.pick(_IMAGES, 16), settings.pick(_ROUNDS, 1)
    questions = list(checkpoints.QUESTIONS)
    images = photos.decoded(count, [(640, 480)])
    files = []
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    input = photos.write_parquet(settings.scratch / "input", files, max(1, count // 4), ask=False)
    engine = Blip2.from_checkpoint(
        Checkpoint.open(str(directory)), dtype="float32", generation=GenerationConfig(max_new_tokens=_TOKENS)
    )
    sized = prepared.sized(prepared.arrays(images), SquareTransform(224))
    numbers = itertools.count()

    def bare() -> None:
        for start in range(0, count, _BATCH):
            part = sized[start : start + _BATCH]
            engine.answer(part, [questions] * len(part), 1)

    def pipeline() -> runs.Run:
        output = settings.scratch / f"output-{next(numbers)}"
        options = {"question": questions, "dtype": "float32", "max_new_tokens": _TOKENS}
        sizes = {"batch_size": _BATCH, "rows_per_file": _BATCH}
        return runs.answer(input, output, str(directory), **options, **sizes)

    measured_bare = rates(count, by_turns({"bare": seconds(bare)}, rounds, warm_up=False)["bare"])
    with connect_ray(None):
        done = [pipeline() for _ in range(rounds)]
    assert all(run.rows == count for run in done)
    steady = [run.steady_rows_per_s for run in done if run.steady_rows_per_s is not None]
    figures = [figure(f"BLIP-2, {count} images, 10 questions each: the bare engine", measured_bare, "images/s")]
    if len(steady) == rounds:
        figures += [
            figure("`answer` under way, by the rate at which rows are written", steady, "images/s"),
            figure("`answer` under way, to the bare engine", ratios(steady, measured_bare), at_least=0.9),
        ]
    return Measured(
        figures,
        [
            photos.source(),
            f"The reduced BLIP-2 of the benchmark `generative`, float32, {_TOKENS} tokens, batches of {_BATCH}; "
            f"{count} JPEG photos of 640×480 in 4 Parquet shards. The bare engine has them decoded and resized.",
        ],
    )
