"""The peer for whole runs: the script that the documentation of Ray Data and of transformers leads to.

Read Parquet, one `map_batches` over actors that hold processor and model, write Parquet. No error rows, no resuming.
"""

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

    def __init__(self, model: str, threads: int) -> None:
        import torch

        from benchmarks.stock import StockVilt

        # Ray gives an actor one thread; the peer gets as many as our engine.
        torch.set_num_threads(threads)
        self.model = StockVilt(model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns image, image_id and question → image_id, question, answer, score."""
        images = [Image.open(io.BytesIO(data)).convert("RGB") for data in batch["image"]]
        answered = self.model.answer(images, list(batch["question"]), len(images), top_k=1)
        return {
            "image_id": batch["image_id"],
            "question": batch["question"],
            "answer": np.array([best[0][0] for best in answered]),
            "score": np.array([best[0][1] for best in answered], np.float32),
        }


def answer(input: str, output: str, model: str) -> None:
    """Answer a directory of Parquet files with `image`, `image_id` and `question`."""
    import torch

    gpus = 1 if torch.cuda.is_available() else 0
    rows = ray.data.read_parquet(input).map_batches(
        Predictor,
        fn_constructor_args=(model, cores()),
        batch_size=BATCH_SIZE,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_gpus=gpus or None,
    )
    rows.write_parquet(output)


def main() -> None:
    """`python -m benchmarks.plain_ray --input DIR --output DIR --model DIR`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--input", "--output", "--model"):
        parser.add_argument(name, required=True)
    answer(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
