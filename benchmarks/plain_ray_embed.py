"""The peer for making embeddings: the script that the documentation of Ray Data and of transformers leads to.

Read Parquet, one `map_batches` over an actor that holds CLIP's processor and model, write Parquet. No error rows, no
resuming, no thumbnails.
"""

from __future__ import annotations

import argparse
import io
from typing import Any

import ray
from PIL import Image

from benchmarks.settings import cores

BATCH_SIZE = 32


class Embedder:
    """Decodes, preprocesses and embeds a batch; one of these per actor."""

    def __init__(self, model: str, threads: int) -> None:
        import torch
        from transformers import AutoProcessor, CLIPModel

        # Ray gives an actor one thread; the peer gets as many as our engine.
        torch.set_num_threads(threads)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.processor = AutoProcessor.from_pretrained(model)
        self.model = CLIPModel.from_pretrained(model).eval().to(self.device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns image and image_id → image_id, embedding."""
        import torch

        images = [Image.open(io.BytesIO(data)).convert("RGB") for data in batch["image"]]
        inputs = self.processor(images=images, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            features = self.model.get_image_features(**inputs).pooler_output
            features = features / features.norm(dim=-1, keepdim=True)
        return {"image_id": batch["image_id"], "embedding": features.cpu().numpy()}


def embed(input: str, output: str, model: str) -> None:
    """Embed a directory of Parquet files with `image` and `image_id`."""
    import torch

    gpus = 1 if torch.cuda.is_available() else 0
    rows = ray.data.read_parquet(input, columns=["image", "image_id"]).map_batches(
        Embedder,
        fn_constructor_args=(model, cores()),
        batch_size=BATCH_SIZE,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_gpus=gpus or None,
    )
    rows.write_parquet(output)


def main() -> None:
    """`python -m benchmarks.plain_ray_embed --input DIR --output DIR --model DIR`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--input", "--output", "--model"):
        parser.add_argument(name, required=True)
    embed(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
