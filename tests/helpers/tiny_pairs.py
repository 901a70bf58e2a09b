"""A dual encoder small enough for tests, and pairs to train it on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vqa_ray.training.contrastive.initialise import InitialClip, start_pairs_from_scratch
from vqa_ray.training.contrastive.network import PairNetwork
from vqa_ray.training.contrastive.shape import ClipShape
from vqa_ray.training.data.batch import Group, padded_tokens

SHAPE = ClipShape(
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    patch_size=8,
    image_size=32,
    text_hidden_size=32,
    text_layers=1,
    text_heads=2,
    max_text_tokens=16,
    projection_size=16,
)
AUXILIARY = (3, 2)
CAPTIONS = ("a red mug", "a blue hat with a dog on it", "striped shoes", "a plain white plate", "a mug with a cat")


def tiny_start(seed: int = 0) -> InitialClip:
    """A fresh network of `SHAPE` with a tokenizer of `CAPTIONS`."""
    return start_pairs_from_scratch(SHAPE, CAPTIONS * 2, vocab_size=300, seed=seed)


def tiny_network(seed: int = 0, *, auxiliary: Sequence[int] = ()) -> PairNetwork:
    """The network of `tiny_start`, on the CPU."""
    start = tiny_start(seed)
    transform = start.transform
    return PairNetwork(start.model.train(), transform.mean, transform.std, auxiliary=auxiliary, seed=seed)


def pairs(count: int, seed: int = 0, *, with_classes: bool = False) -> Group:
    """Noise of one size with captions that come again; every seventh image is that of the row before.

    Args:
        with_classes: of `AUXILIARY`, some of them unknown.
    """
    rng = np.random.default_rng(seed)
    tokenizer = tiny_start().tokenizer
    side = SHAPE.image_size
    places = rng.integers(len(CAPTIONS), size=count)
    ids, mask = padded_tokens([tuple(tokenizer(CAPTIONS[place])["input_ids"]) for place in places])
    images = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    shown = np.arange(count) - (np.arange(count) % 7 == 6)
    classes = np.stack([shown % 3, shown % 4 % 3 - 1], axis=1)[:, : len(AUXILIARY) if with_classes else 0]
    return Group(
        torch.from_numpy(images[shown]),
        torch.from_numpy(ids),
        None if mask is None else torch.from_numpy(mask),
        torch.zeros(count, 0),
        torch.from_numpy(np.concatenate([np.stack([shown, places], axis=1), classes], axis=1)),
    )


def rows_of(group: Group, rows: Sequence[int]) -> Group:
    """Some rows of a group."""
    chosen = list(rows)
    mask = None if group.text_mask is None else group.text_mask[chosen]
    return Group(group.pixels[chosen], group.input_ids[chosen], mask, group.targets[chosen], group.attributes[chosen])
