"""The peer: transformers' own processor and model, used as its documentation says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

MAX_TEXT_TOKENS = 40


class StockVilt:
    """`ViltForQuestionAnswering` and its processor.

    Args:
        path: a checkpoint directory.
        dtype: None takes what `from_pretrained` gives, float32 for these checkpoints.
        device: None takes CUDA where there is one.
    """

    def __init__(self, path: str | Path, *, dtype: torch.dtype | None = None, device: str | None = None) -> None:
        from transformers import ViltForQuestionAnswering, ViltProcessor

        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.processor: Any = ViltProcessor.from_pretrained(path, local_files_only=True)
        options = {} if dtype is None else {"dtype": dtype}
        self.model: Any = ViltForQuestionAnswering.from_pretrained(path, local_files_only=True, **options)
        self.model.to(self.device).eval()

    def prepare(self, images: Sequence[Image.Image], questions: Sequence[str]) -> Any:
        """One padded batch on the device: pixel values, pixel mask, token ids."""
        inputs = self.processor(
            images=list(images),
            text=list(questions),
            padding=True,
            truncation=True,
            max_length=MAX_TEXT_TOKENS,
            return_tensors="pt",
        )
        return inputs.to(self.device, dtype=self.model.dtype)

    @torch.inference_mode()
    def forward(self, inputs: Any) -> torch.Tensor:
        """Logits (B, A)."""
        logits: torch.Tensor = self.model(**inputs).logits
        return logits

    def batches(self, images: Sequence[Image.Image], questions: Sequence[str], batch_size: int) -> list[Any]:
        """Return prepared batches, in the order given."""
        return [
            self.prepare(images[start : start + batch_size], questions[start : start + batch_size])
            for start in range(0, len(images), batch_size)
        ]

    def answer(
        self, images: Sequence[Image.Image], questions: Sequence[str], batch_size: int, top_k: int = 5
    ) -> list[list[tuple[str, float]]]:
        """Answers and scores, best first: what transformers' former pipeline gave."""
        answered: list[list[tuple[str, float]]] = []
        for start in range(0, len(images), batch_size):
            end = start + batch_size
            scores, places = self.forward(self.prepare(images[start:end], questions[start:end])).sigmoid().topk(top_k)
            for row_scores, row_places in zip(scores.tolist(), places.tolist(), strict=True):
                names = [self.model.config.id2label[place] for place in row_places]
                answered.append(list(zip(names, row_scores, strict=True)))
        return answered
