"""The common part of the encoders: batches of pixels and texts to the device, unit vectors back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.layers.device import send
from vqa_ray.models.layers.microbatch import run_passes
from vqa_ray.models.score_meanings import similarity_meaning
from vqa_ray.types import EmbeddingShape, Image

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Tokens (patches of images, or words) in one forward pass: enough to fill the device, little enough to fit.
_TOKENS_PER_PASS = {"cpu": 2_048, "cuda": 131_072}
# Hardly a text is as long as it may be.
_LEAST_TEXTS = 16


class EncoderBackbone(Protocol):
    """The tensors' side of a family."""

    device: torch.device
    shape: EmbeddingShape
    crop: int
    """Pixels of both sides of what the encoder sees: the middle of an image."""
    image_tokens: int
    """Tokens that an image becomes."""
    text_tokens: int
    """The most that a text may have."""
    tokenizer: Any
    padding: bool | str
    """The padding of texts, as transformers' tokenizers take it."""

    def images(self, pixels: Tensor) -> Tensor:
        """uint8 (B, crop, crop, 3) on the device → (B, vectors, dimension), of any length."""
        ...

    def texts(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Encode the tokenizer's output, on the device, as vectors (T, dimension) of any length."""
        ...


class DualEncoder:
    """A loaded encoder; implements `Encoder`.

    Args:
        backbone: its networks.
    """

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, device: str | None = None, dtype: str | None = None) -> Self:
        """Load the weights of a checkpoint.

        Raises:
            ModelLoadError: weights are missing or do not fit, or the parts of the checkpoint do not agree.
        """
        return cls(cls.load_backbone(checkpoint, device, dtype))

    @classmethod
    def load_backbone(cls, checkpoint: Checkpoint, device: str | None, dtype: str | None) -> EncoderBackbone:
        """Load the networks of a checkpoint onto their device."""
        raise NotImplementedError

    def __init__(self, backbone: EncoderBackbone) -> None:
        self.backbone = backbone
        self.device = backbone.device
        self.dimension = backbone.shape.dimension
        self.vectors = backbone.shape.vectors
        self.score_meaning = similarity_meaning(self.vectors)
        room = _TOKENS_PER_PASS.get(self.device.type, _TOKENS_PER_PASS["cpu"])
        self._images_per_pass = max(1, room // backbone.image_tokens)
        self._texts_per_pass = max(_LEAST_TEXTS, room // backbone.text_tokens)

    def encode_images(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """See `Encoder.encode_images`; of an image larger than the encoder sees, the middle.

        Raises:
            ValueError: an image is smaller than that.
        """

        def encode(part: Sequence[Image]) -> Tensor:
            # Straight into memory that the device reads by itself, where there is such.
            size, pinned = (len(part), self.backbone.crop, self.backbone.crop, 3), self.device.type == "cuda"
            pixels = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
            np.stack([self._middle(image) for image in part], out=pixels.numpy())
            return self.backbone.images(pixels.to(self.device, non_blocking=True))

        vectors, halved = self._run(images, self._images_per_pass, encode)
        self._images_per_pass = max(1, self._images_per_pass >> min(halved, 1))
        return vectors.reshape(len(images), self.vectors * self.dimension)

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See `Encoder.encode_texts`; its closing token stays where a text is cut, and the log tells of it."""
        self._tell_cuts(texts)

        def encode(part: Sequence[str]) -> Tensor:
            tokens = self.backbone.tokenizer(
                list(part),
                padding=self.backbone.padding,
                truncation=True,
                max_length=self.backbone.text_tokens,
                return_tensors="pt",
            )
            return self.backbone.texts({name: send(values, self.device) for name, values in tokens.items()})

        vectors, halved = self._run(texts, self._texts_per_pass, encode)
        self._texts_per_pass = max(1, self._texts_per_pass >> min(halved, 1))
        return vectors.reshape(len(texts), self.dimension)

    @torch.inference_mode()
    def _run(
        self, items: Sequence[T], size: int, encode: Callable[[Sequence[T]], Tensor]
    ) -> tuple[npt.NDArray[np.float32], int]:
        """Return unit vectors of all items in order, and the number of passes that did not fit into memory.

        Nothing waits for the device until all passes are queued.
        """
        done: list[Tensor] = []

        def one_pass(part: Sequence[T]) -> None:
            done.append(F.normalize(encode(part).float(), dim=-1))

        halved = run_passes(_parts(items, size), one_pass)
        if not done:
            return np.empty(0, np.float32), halved
        vectors: npt.NDArray[np.float32] = torch.cat(done).cpu().numpy()
        return vectors, halved

    def _middle(self, image: Image) -> Image:
        """Cut the middle out of an image, as transformers' `center_crop` does."""
        height, width, _ = image.shape
        side = self.backbone.crop
        if height < side or width < side:
            raise ValueError(f"an image of {width}x{height} pixels for an encoder that sees {side}x{side}")
        top, left = (height - side) // 2, (width - side) // 2
        return image[top : top + side, left : left + side]

    def _tell_cuts(self, texts: Sequence[str]) -> None:
        if not texts:
            return
        limit = self.backbone.text_tokens
        counts = [
            len(ids) for ids in self.backbone.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        ]
        cut = [count for count in counts if count > limit]
        if cut:
            logger.warning("%d of %d texts are cut to the model's %d tokens", len(cut), len(texts), limit)


def _parts(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
