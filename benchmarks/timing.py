"""Comparing by turns: A B A B …, so that whatever slows the machine down for a while slows them all."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, median and most of repeated measurements."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        if not values:
            raise ValueError("a spread of no values: 0 given, at least 1 needed")
        return cls(min(values), statistics.median(values), max(values))


def by_turns(contestants: Mapping[str, Callable[[], T]], rounds: int, *, warm_up: bool = True) -> dict[str, list[T]]:
    """Return what each contestant returns in each round; in every round all have one turn, in the order given.

    Args:
        contestants: name → what to call.
        rounds: how many turns each has.
        warm_up: let each have a turn before that does not count.
    """
    results: dict[str, list[T]] = {name: [] for name in contestants}
    for turn in range(-1 if warm_up else 0, rounds):
        for name, call in contestants.items():
            result = call()
            if turn >= 0:
                results[name].append(result)
    return results


def seconds(call: Callable[[], object]) -> Callable[[], float]:
    """`call`, made to return how long it took. CUDA work that it queued is waited for."""

    def timed() -> float:
        synchronise()
        begun = time.perf_counter()
        call()
        synchronise()
        return time.perf_counter() - begun

    return timed


def synchronise() -> None:
    """Wait for the CUDA device, where there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def rates(count: float, times_s: Sequence[float]) -> list[float]:
    """Things per second, of `count` things in each of `times_s`."""
    return [count / time_s for time_s in times_s]


def steady_rate(files: Sequence[tuple[float, int]]) -> float | None:
    """Rows per second while a run is under way: start-up and end are left out.

    It is the slope of rows written over time, by least squares over all files: the rate from the first file to the last
    would depend on whether batches that run side by side end together.

    Args:
        files: (time at which it was finished in seconds, rows), in order of time.

    Returns:
        None for fewer than three files, or if they were all finished at once.
    """
    if len(files) < 3 or files[-1][0] <= files[0][0]:
        return None
    times = [time_s - files[0][0] for time_s, _ in files]
    written = list(itertools.accumulate(rows for _, rows in files))
    return statistics.linear_regression(times, written).slope


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Quotients of what was measured in the same round; quotients of medians would mix rounds.

    Raises:
        ValueError: different numbers of rounds.
    """
    return [above / below for above, below in zip(numerators, denominators, strict=True)]
