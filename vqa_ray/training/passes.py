"""The passes of a step: groups cut so that each fits the device, one for a rank that has no rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from vqa_ray.training.batch import Group

# On a CPU more tokens at once cost memory and gain no speed.
_CPU_TOKENS = 4_096
_LEAST_CUDA_TOKENS = 4_096
# Of the free memory, for what is kept between forward and backward; the rest is for gradients, optimiser and waste.
_ACTIVATION_SHARE = 0.4


def default_tokens(config: Any, device: torch.device) -> int:
    """How many tokens (text and image, summed over rows) one training pass may hold.

    Args:
        config: the `ViltConfig` of the network.
    """
    if device.type != "cuda":
        return _CPU_TOKENS
    free, _ = torch.cuda.mem_get_info(device)
    # Per token and layer under bfloat16 autocast, in bytes: float32 residuals, norms and their bfloat16 copies, the
    # four D × D products, dropout masks; twice the bfloat16 intermediate of the MLP.
    per_token = config.num_hidden_layers * (48 * config.hidden_size + 6 * config.intermediate_size)
    return max(_LEAST_CUDA_TOKENS, int(_ACTIVATION_SHARE * free / per_token))


def tokens(group: Group, patch_size: int) -> int:
    """Text, patches and the class token of the image, over all rows."""
    rows, height, width = group.pixels.shape[:3]
    return rows * (group.input_ids.shape[1] + 1 + (height // patch_size) * (width // patch_size))


def cut(group: Group, patch_size: int, tokens_per_pass: int) -> Iterator[Group]:
    """The rows of a group in even parts of at most so many tokens, and of at least one row."""
    rows = len(group.targets)
    largest = max(1, tokens_per_pass * rows // tokens(group, patch_size))
    parts = -(-rows // largest)
    bounds = [rows * part // parts for part in range(parts + 1)]
    for start, stop in itertools.pairwise(bounds):
        yield group if parts == 1 else _rows(group, start, stop)


def passes(groups: Iterable[Group], patch_size: int, tokens_per_pass: int) -> list[Group]:
    """All parts of all groups, the largest first: when memory does not suffice, it shows at once."""
    parts = [part for group in groups for part in cut(group, patch_size, tokens_per_pass)]
    return sorted(parts, key=lambda part: -tokens(part, patch_size))


def blank(num_answers: int, heads: int, patch_size: int) -> Group:
    """One black patch, one token, no right answer: for a rank that has no rows but must take part."""
    return Group(
        torch.zeros(1, patch_size, patch_size, 3, dtype=torch.uint8),
        torch.zeros(1, 1, dtype=torch.long),
        None,
        torch.zeros(1, num_answers),
        torch.full((1, heads), -1),
    )


def _rows(group: Group, start: int, stop: int) -> Group:
    """Some rows, without the padding that only longer questions needed."""
    ids, mask = group.input_ids[start:stop], group.text_mask
    if mask is not None:
        mask = mask[start:stop]
        lengths = mask.sum(dim=1)
        longest = int(lengths.max())
        ids, mask = ids[:, :longest], None if longest == int(lengths.min()) else mask[:, :longest]
    parts = (group.pixels, group.targets, group.attributes)
    pixels, targets, attributes = (tensor[start:stop] for tensor in parts)
    return Group(pixels, ids, mask, targets, attributes)
