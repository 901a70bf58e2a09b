"""Prompts about images, in passes that fit into the memory of the device: each image is encoded once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vqa_ray.models.generation.backbone import GenerationBackbone
from vqa_ray.models.generation.prompt_budget import Prompt
from vqa_ray.models.layers.device import send, send_indices
from vqa_ray.models.layers.microbatch import by_length, run_passes
from vqa_ray.types import Image

T = TypeVar("T")

# Images that are encoded together, whose shared state is held while their questions are answered.
_IMAGES_PER_GROUP = {"cpu": 32, "cuda": 128}
# Tokens (image, prompt and answer, summed over rows) that are read and continued together.
_TOKENS_PER_PASS = {"cpu": 8_192, "cuda": 32_768}


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt about one image; `index` is its place among all of the call."""

    index: int
    image: int
    prompt: Prompt
    choices: tuple[tuple[int, ...], ...] = ()


class Passes:
    """Runs the rows of a call; its passes get smaller when the memory does not suffice.

    Args:
        backbone: encodes the images.
    """

    def __init__(self, backbone: GenerationBackbone) -> None:
        kind = backbone.device.type if backbone.device.type in _TOKENS_PER_PASS else "cpu"
        self.images_per_group = _IMAGES_PER_GROUP[kind]
        self.tokens_per_pass = _TOKENS_PER_PASS[kind]
        self._backbone = backbone

    @torch.inference_mode()
    def run(
        self,
        images: Sequence[Image],
        rows: Sequence[Row],
        extra_tokens: int,
        work: Callable[[Any, Tensor, Sequence[Row]], Sequence[T]],
    ) -> dict[int, T]:
        """`work(encoded, images, rows)` of all rows, as {row index: result}."""
        results: dict[int, T] = {}
        device, pads = self._backbone.device, self._backbone.pads
        of_image: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            of_image[row.image].append(row)
        shown = sorted(of_image)
        most = self._backbone.image_tokens + extra_tokens

        def group(members: Sequence[int]) -> None:
            pixels = torch.from_numpy(np.stack([images[image] for image in members]))
            encoded = self._backbone.encode(send(pixels, device))
            place = {image: position for position, image in enumerate(members)}

            def one_pass(part: Sequence[Row]) -> None:
                order = send_indices([place[row.image] for row in part], device)
                found = work(encoded, order, part)
                results.update(zip([row.index for row in part], found, strict=True))

            waiting = [row for image in members for row in of_image[image]]
            parts = by_length(waiting, lambda row: most + len(row.prompt.ids), self.tokens_per_pass, padded=pads)
            halved = run_passes(parts, one_pass)
            self.tokens_per_pass = max(self.tokens_per_pass >> min(halved, 1), 256)

        size = self.images_per_group
        halved = run_passes([shown[start : start + size] for start in range(0, len(shown), size)], group)
        self.images_per_group = max(size >> min(halved, 1), 1)
        return results
