"""Tests of no difference: McNemar's of paired rows, and Holm's correction for several of them."""

from __future__ import annotations

from collections.abc import Sequence


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the p-value of McNemar's exact test (McNemar 1947): both kinds of discordant rows are equally many.

    Args:
        first_only: rows that only the first has right.
        second_only: rows that only the second has right.
    """
    from scipy.stats import binomtest

    discordant = first_only + second_only
    return float(binomtest(first_only, discordant).pvalue) if discordant else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that all of them hold at once (Holm 1979)."""
    adjusted, least = [0.0] * len(p_values), 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[number]))
        adjusted[number] = least
    return adjusted
