"""Micro-batches that fit into the device's memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

logger = logging.getLogger(__name__)

T = TypeVar("T")


def run_passes(parts: Iterable[Sequence[T]], call: Callable[[Sequence[T]], None]) -> int:
    """Call a function on each part in turn; a part that does not fit into memory is halved.

    Returns:
        How often a part was halved: the caller's next parts should be smaller.

    Raises:
        OutOfMemoryError: not even one item fits.
    """
    halved = 0
    waiting = list(reversed([part for part in parts if part]))
    while waiting:
        part = waiting.pop()
        if _fits(call, part):
            continue
        # Here, and not while the exception holds the frames and with them the memory of the failed attempt.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        halved += 1
        middle = len(part) // 2
        logger.warning("out of memory with %d at once; going on with %d", len(part), middle)
        waiting += [part[middle:], part[:middle]]
    return halved


def _fits(call: Callable[[Sequence[T]], None], part: Sequence[T]) -> bool:
    try:
        call(part)
    except torch.OutOfMemoryError:
        if len(part) == 1:
            raise
        return False
    return True


def by_length(items: Sequence[T], length: Callable[[T], int], tokens: int, *, padded: bool = True) -> list[Sequence[T]]:
    """Parts of items of similar lengths, each of at most `tokens` in all when padded to its longest, or of one item.

    Args:
        items: in any order.
        length: tokens of one.
        tokens: see above.
        padded: whether a part may hold different lengths.
    """
    ordered = sorted(items, key=length)
    parts: list[Sequence[T]] = []
    start = 0
    for end, item in enumerate(ordered):
        full = (end - start + 1) * length(item) > tokens
        if end > start and (full or not (padded or length(item) == length(ordered[start]))):
            parts.append(ordered[start:end])
            start = end
    return [*parts, ordered[start:]] if ordered else []


def cut_by_length(lengths: Sequence[int], overhead: int) -> list[list[int]]:
    """Places of `lengths` in groups, so that least is computed when each group is padded to its longest.

    Args:
        lengths: tokens of each, in any order.
        overhead: what a group costs by itself, in tokens.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    # best[end]: the least cost of the `end` shortest, and where their last group begins.
    best = [(0, 0)]
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        if end < len(order) and lengths[order[end]] == longest:
            # Equal lengths are never parted.
            best.append((0, -1))
            continue
        starts = [start for start in range(end) if best[start][1] >= 0]
        best.append(min((best[start][0] + (end - start) * longest + overhead, start) for start in starts))
    groups: list[list[int]] = []
    end = len(order)
    while end:
        start = best[end][1]
        groups.append(order[start:end])
        end = start
    return groups[::-1]


def group_by_image(flat: Iterable[T], questions: Sequence[Sequence[object]]) -> list[list[T]]:
    """One result per question, in order, as lists per image."""
    rest = iter(flat)
    return [[next(rest) for _ in asked] for asked in questions]
