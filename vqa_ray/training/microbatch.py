"""The passes of a step: groups cut so that each fits the device, one for a rank that has no rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from vqa_ray.training.data.batch import Group

# On a CPU more tokens at once cost memory and gain no speed.
_CPU_TOKENS = 4_096
_CPU_PAIR_BYTES = 2**30
_LEAST_CUDA_TOKENS = 4_096
# Of the free memory, for what is kept between forward and backward; the rest is for gradients, optimiser and waste.
_ACTIVATION_SHARE = 0.4


def default_tokens(config: Any, device: torch.device) -> int:
    """How many tokens (text and image, summed over rows) one training pass may hold."""
    if device.type != "cuda":
        return _CPU_TOKENS
    return _fitting(_bytes_per_token(config), device)


def default_pair_tokens(vision: Any, text: Any, device: torch.device) -> int:
    """Choose as `default_tokens`, for a network of two towers.

    On a CPU it is as many as the memory probably holds, because a batch in several passes costs another forward.
    """
    per_token = max(_bytes_per_token(vision), _bytes_per_token(text))
    if device.type != "cuda":
        return max(_CPU_TOKENS, _CPU_PAIR_BYTES // per_token)
    return _fitting(per_token, device)


def _bytes_per_token(config: Any) -> int:
    # Per layer under bfloat16 autocast: float32 residuals, norms and their bfloat16 copies, the four D × D products,
    # dropout masks; twice the bfloat16 intermediate of the MLP.
    return int(config.num_hidden_layers * (48 * config.hidden_size + 6 * config.intermediate_size))


def _fitting(per_token: int, device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    return max(_LEAST_CUDA_TOKENS, int(_ACTIVATION_SHARE * free / per_token))


def tokens(group: Group, patch_size: int) -> int:
    """Text, patches and the class token of the image, over all rows."""
    rows, height, width = group.pixels.shape[:3]
    return rows * (group.input_ids.shape[1] + 1 + (height // patch_size) * (width // patch_size))


def rows(part: Sequence[Group]) -> int:
    """Return the rows of a pass."""
    return sum(len(group.targets) for group in part)


def passes(groups: Iterable[Group], patch_size: int, tokens_per_pass: int) -> list[list[Group]]:
    """Return the rows of all groups in their order, in passes of at most so many tokens, each of at least one row.

    All but the last are as full as they can be: when memory does not suffice, the first shows it.
    """
    parts: list[list[Group]] = [[]]
    room = tokens_per_pass
    for group in groups:
        count = len(group.targets)
        each = tokens(group, patch_size) // count
        start = 0
        while start < count:
            fitting = min(room // each, count - start)
            if fitting < 1 and parts[-1]:
                parts.append([])
                room = tokens_per_pass
                continue
            stop = start + max(1, fitting)
            part = group if stop - start == count else _rows(group, start, stop)
            parts[-1].append(part)
            room -= each * (stop - start)
            start = stop
    return [part for part in parts if part]


def placeholder_batch(num_answers: int, heads: int, patch_size: int) -> Group:
    """One black patch, one token, no right answer: for a rank that has no rows but must take part."""
    return Group(
        torch.zeros(1, patch_size, patch_size, 3, dtype=torch.uint8),
        torch.zeros(1, 1, dtype=torch.long),
        None,
        torch.zeros(1, num_answers),
        torch.full((1, heads), -1),
    )


def _rows(group: Group, start: int, stop: int) -> Group:
    """Return some rows, without the padding that only longer questions needed."""
    ids, mask = group.input_ids[start:stop], group.text_mask
    if mask is not None:
        mask = mask[start:stop]
        lengths = mask.sum(dim=1)
        longest = int(lengths.max())
        ids, mask = ids[:, :longest], None if longest == int(lengths.min()) else mask[:, :longest]
    parts = (group.pixels, group.targets, group.attributes)
    pixels, targets, attributes = (tensor[start:stop] for tensor in parts)
    return Group(pixels, ids, mask, targets, attributes)
