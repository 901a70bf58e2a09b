"""Training rows, and batches of them: grouped by image size, so that nothing is padded but text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from vqa_ray.errors import RunError
from vqa_ray.images.arrow import pixel_views
from vqa_ray.types import Image


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
        attributes: int64 (N, auxiliary heads). Pairs of image and caption have no targets, and before the classes what
            tells which of them are the same: see `contrastive.KEYS`.
    """

    pixels: Tensor
    input_ids: Tensor
    text_mask: Tensor | None
    targets: Tensor
    attributes: Tensor

    def to(self, device: torch.device) -> Group:
        """Return the group on another device; copies do not wait when the source is pinned."""
        mask = None if self.text_mask is None else self.text_mask.to(device, non_blocking=True)
        moved = (self.pixels, self.input_ids, self.targets, self.attributes)
        pixels, ids, targets, attributes = (tensor.to(device, non_blocking=True) for tensor in moved)
        return Group(pixels, ids, mask, targets, attributes)


def collate(samples: Iterable[Sample], num_answers: int) -> list[Group]:
    """Group samples by image size, in order of first appearance.

    Args:
        samples: of any size.
        num_answers: the width A of the targets.
    """
    buckets: dict[tuple[int, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        buckets[sample.image.shape].append(sample)
    return [_group(members, num_answers) for members in buckets.values()]


def _group(samples: Sequence[Sample], num_answers: int) -> Group:
    targets = torch.zeros(len(samples), num_answers)
    for row, sample in enumerate(samples):
        for label, weight in sample.soft_targets.items():
            targets[row, label] = weight
    ids, mask = padded_tokens([sample.token_ids for sample in samples])
    attributes = torch.tensor([sample.attributes for sample in samples], dtype=torch.long)
    pixels = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return Group(pixels, torch.from_numpy(ids), None if mask is None else torch.from_numpy(mask), targets, attributes)


def collate_table(
    table: pa.Table, tokenize: Callable[[str], tuple[int, ...]], num_answers: int, *, pin: bool = False
) -> list[tuple[npt.NDArray[np.int64], Group]]:
    """Group the rows of a table by image size, and within a group by the length of the question.

    Args:
        table: DECODED rows with TRAINING_FIELDS, one question each, none in error.
        tokenize: question → token ids.
        num_answers: the width A of the targets.
        pin: put tensors in page-locked memory.

    Returns:
        (row numbers int64 (N,), group) by ascending size.

    Raises:
        RunError: a row has not exactly one question, or a label beyond the vocabulary.
    """
    tokens = [tokenize(question) for question in _questions(table)]
    return grouped(table, tokens, _targets(table, num_answers), auxiliary_classes_of(table), pin=pin)


def grouped(
    table: pa.Table,
    tokens: Sequence[tuple[int, ...]],
    targets: npt.NDArray[np.float32],
    attributes: npt.NDArray[np.int64],
    *,
    pin: bool = False,
) -> list[tuple[npt.NDArray[np.int64], Group]]:
    """Group rows by image size, and within a group by the length of their texts.

    Args:
        table: DECODED rows, none in error.
        tokens: token ids of each row's text.
        targets: (N, A). attributes: (N, K).
        attributes: int64 (N, columns), what goes with each row.
        pin: put tensors in page-locked memory.

    Returns:
        (row numbers int64 (N,), group) by ascending size.
    """
    views = pixel_views(table["pixels"])
    heights, widths = table["height"].to_numpy(), table["width"].to_numpy()
    order = np.lexsort(([len(ids) for ids in tokens], widths, heights))
    sizes = np.stack([heights, widths], axis=1)[order]
    changes = np.flatnonzero((sizes[1:] != sizes[:-1]).any(axis=1)) + 1
    groups = []
    for rows in np.split(order, changes) if len(order) else []:
        shape = (len(rows), int(heights[rows[0]]), int(widths[rows[0]]), 3)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pin)
        np.stack([views[row] for row in rows], out=pixels.numpy().reshape(len(rows), -1))
        ids, mask = padded_tokens([tokens[row] for row in rows])
        found = [_host(each, pin) for each in (ids, targets[rows], attributes[rows])]
        groups.append((rows, Group(pixels, found[0], None if mask is None else _host(mask, pin), *found[1:])))
    return groups


def _questions(table: pa.Table) -> list[str]:
    questions = table["questions"].combine_chunks()
    several = pc.not_equal(pc.fill_null(pc.list_value_length(questions), 0), 1)
    if pc.any(several).as_py():
        key = table["source_key"].filter(several)[0]
        raise RunError(f"row {key} (source_key) has not exactly one question; only such rows can be trained on")
    flat: list[str] = questions.flatten().to_pylist()
    return flat


def _targets(table: pa.Table, num_answers: int) -> npt.NDArray[np.float32]:
    """float32 (N, A)."""
    ids, weights = table["label_ids"].combine_chunks(), table["label_weights"].combine_chunks()
    rows = np.repeat(np.arange(table.num_rows), pc.list_value_length(ids).to_numpy())
    labels = ids.flatten().to_numpy()
    if labels.size and not 0 <= labels.min() <= labels.max() < num_answers:
        raise RunError(f"labels {labels.min()} to {labels.max()} are not of a vocabulary of {num_answers} answers")
    targets = np.zeros((table.num_rows, num_answers), np.float32)
    targets[rows, labels] = weights.flatten().to_numpy()
    return targets


def auxiliary_classes_of(table: pa.Table) -> npt.NDArray[np.int64]:
    """int64 (N, auxiliary heads) of rows with TRAINING_FIELDS."""
    flat: npt.NDArray[np.int64] = table["auxiliary"].combine_chunks().flatten().to_numpy().astype(np.int64)
    return flat.reshape(table.num_rows, len(flat) // max(1, table.num_rows))


def padded_tokens(tokens: Sequence[tuple[int, ...]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_] | None]:
    """Token ids (N, L), padded on the right, and which of them are real; None for all."""
    lengths = np.array([len(ids) for ids in tokens])
    real = np.arange(lengths.max()) < lengths[:, None]
    padded = np.zeros(real.shape, np.int64)
    padded[real] = np.concatenate(tokens)
    return padded, None if real.all() else real


def _host(array: npt.NDArray[Any], pin: bool) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if pin else tensor
