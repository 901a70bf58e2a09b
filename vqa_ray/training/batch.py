"""Training samples, and batches of them: grouped by image size, so that nothing is padded but text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vqa_ray.models.base import Image


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one image, with what is right.

    Attributes:
        image: uint8 (H, W, 3), at the model's own size.
        token_ids: of the question, special tokens included.
        soft_targets: label index → weight in 0–1.
        attributes: class index for each auxiliary head that is trained beside the answers; usually none.
    """

    image: Image
    token_ids: tuple[int, ...]
    soft_targets: Mapping[int, float]
    attributes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The samples of a batch whose images have one size.

    Attributes:
        pixels: uint8 (N, H, W, 3).
        input_ids: int64 (N, L), padded on the right.
        text_mask: bool (N, L), or None when nothing is padded.
        targets: float32 (N, A).
        attributes: int64 (N, auxiliary heads).
    """

    pixels: Tensor
    input_ids: Tensor
    text_mask: Tensor | None
    targets: Tensor
    attributes: Tensor

    def to(self, device: torch.device) -> Group:
        """The group on another device; copies do not wait when the source is pinned."""
        mask = None if self.text_mask is None else self.text_mask.to(device, non_blocking=True)
        moved = (self.pixels, self.input_ids, self.targets, self.attributes)
        pixels, ids, targets, attributes = (tensor.to(device, non_blocking=True) for tensor in moved)
        return Group(pixels, ids, mask, targets, attributes)


def collate(samples: Iterable[Sample], num_answers: int) -> list[Group]:
    """Group samples by image size, in order of first appearance.

    Args:
        num_answers: the width A of the targets.
    """
    buckets: dict[tuple[int, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        buckets[sample.image.shape].append(sample)
    return [_group(members, num_answers) for members in buckets.values()]


def _group(samples: Sequence[Sample], num_answers: int) -> Group:
    lengths = [len(sample.token_ids) for sample in samples]
    ids = np.zeros((len(samples), max(lengths)), dtype=np.int64)
    targets = torch.zeros(len(samples), num_answers)
    for row, sample in enumerate(samples):
        ids[row, : lengths[row]] = sample.token_ids
        for label, weight in sample.soft_targets.items():
            targets[row, label] = weight
    mask = None
    if min(lengths) < max(lengths):
        mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    attributes = torch.tensor([sample.attributes for sample in samples], dtype=torch.long)
    pixels = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return Group(pixels, torch.from_numpy(ids), mask, targets, attributes)
