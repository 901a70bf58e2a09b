"""Batches of images with their captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.errors import RunError
from vqa_ray.readers.row_builder import identity
from vqa_ray.training.data.batch import Group, auxiliary_classes_of, grouped
from vqa_ray.training.data.captions import caption_for_epoch


def collate_pairs(
    table: pa.Table,
    tokenize: Callable[[str], tuple[int, ...]],
    *,
    steps_per_epoch: int,
    seed: int,
    pin: bool = False,
) -> list[tuple[npt.NDArray[np.int64], Group]]:
    """Group the rows of a table by image size, each with the caption of its turn; see `captions.caption_for_epoch`.

    Args:
        table: DECODED rows with TRAINING_FIELDS, whose captions stand where questions do; none in error.
        tokenize: caption → token ids.
        steps_per_epoch: tells the epoch of a row from its step.
        seed: of the turns.
        pin: put tensors in page-locked memory.

    Returns:
        (row numbers int64 (N,), group) by ascending size.

    Raises:
        RunError: a row has no caption any more.
    """
    keys, steps = table["source_key"].to_pylist(), table["step"].to_pylist()
    chosen = []
    for key, step, captions in zip(keys, steps, table["questions"].to_pylist(), strict=True):
        if not captions:
            raise RunError(f"row {key} (source_key) had a caption when the rows were listed, and has none now")
        chosen.append(captions[caption_for_epoch(key, len(captions), step // steps_per_epoch, seed)])
    tokens = [tokenize(caption) for caption in chosen]
    keys = np.stack([table["image_key"].to_numpy(), text_keys(tokens)], axis=1)
    attributes = np.concatenate([keys, auxiliary_classes_of(table)], axis=1)
    return grouped(table, tokens, np.empty((len(tokens), 0), np.float32), attributes, pin=pin)


def text_keys(tokens: Sequence[tuple[int, ...]]) -> npt.NDArray[np.int64]:
    """int64 (N,): equal where the tokens are, and thus all that a network can tell texts apart by."""
    return np.array([identity(np.array(ids, np.int64).tobytes()) for ids in tokens], np.int64)
