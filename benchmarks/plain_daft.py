"""A peer for whole runs: a Daft script over a folder of photos, as Daft's documentation leads to.

Find the files, download them, one class UDF that holds processor and model, write Parquet. No error rows, no resuming.
Daft is not installed with this project: `pip install daft` where the peer is to be measured.
"""

from __future__ import annotations

import argparse
import io
from typing import Any

from PIL import Image

BATCH_SIZE = 8


class Predictor:
    """Decodes, preprocesses and answers a batch."""

    def __init__(self, model: str, question: str) -> None:
        from benchmarks.stock import StockVilt

        self.model, self.question = StockVilt(model), question

    def answers(self, encoded: list[bytes]) -> list[dict[str, Any]]:
        """Answer the question about each encoded image; return answers and scores."""
        images = [Image.open(io.BytesIO(data)).convert("RGB") for data in encoded]
        answered = self.model.answer(images, [self.question] * len(images), len(images), top_k=1)
        return [{"answer": best[0][0], "score": best[0][1]} for best in answered]


def answer(input: str, output: str, model: str, question: str) -> None:
    """Ask one question of every `*.jpg` of a folder."""
    import daft
    from daft import DataType

    returned = DataType.struct({"answer": DataType.string(), "score": DataType.float64()})

    @daft.cls(max_concurrency=1)
    class Answer:
        def __init__(self) -> None:
            self.predictor = Predictor(model, question)

        @daft.method.batch(return_dtype=returned, batch_size=BATCH_SIZE)
        def __call__(self, images: Any) -> list[dict[str, Any]]:
            return self.predictor.answers(images.to_pylist())

    photos = daft.from_glob_path(f"{input}/*.jpg")
    answered = photos.with_column("result", Answer()(daft.col("path").download()))
    columns = [daft.col("path"), daft.col("result")["answer"], daft.col("result")["score"]]
    answered.select(*columns).write_parquet(output)


def main() -> None:
    """`python -m benchmarks.plain_daft --input DIR --output DIR --model DIR --question TEXT`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--input", "--output", "--model", "--question"):
        parser.add_argument(name, required=True)
    answer(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
