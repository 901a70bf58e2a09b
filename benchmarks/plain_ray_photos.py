"""A peer for whole runs: a Ray Data script over a folder of photos; see `plain_daft`."""

from __future__ import annotations

import argparse
import io
from typing import Any

import numpy as np
import ray
from PIL import Image

from benchmarks.settings import cores

BATCH_SIZE = 8


class Predictor:
    """Decodes, preprocesses and answers a batch; one of these per actor."""

    def __init__(self, model: str, question: str, threads: int) -> None:
        import torch

        from benchmarks.stock import StockVilt

        # Ray gives an actor one thread; the peer gets as many as our engine.
        torch.set_num_threads(threads)
        self.model, self.question = StockVilt(model), question

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns path and bytes → path, answer, score."""
        images = [Image.open(io.BytesIO(data)).convert("RGB") for data in batch["bytes"]]
        answered = self.model.answer(images, [self.question] * len(images), len(images), top_k=1)
        return {
            "path": batch["path"],
            "answer": np.array([best[0][0] for best in answered]),
            "score": np.array([best[0][1] for best in answered], np.float32),
        }


def main() -> None:
    """`python -m benchmarks.plain_ray_photos --input DIR --output DIR --model DIR --question TEXT`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--input", "--output", "--model", "--question"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    answered = ray.data.read_binary_files(given.input, include_paths=True).map_batches(
        Predictor,
        fn_constructor_args=(given.model, given.question, cores()),
        batch_size=BATCH_SIZE,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    answered.write_parquet(given.output)


if __name__ == "__main__":
    main()
