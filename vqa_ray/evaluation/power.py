"""How many labelled rows a wanted precision takes."""

from __future__ import annotations

from math import ceil
from statistics import NormalDist

from vqa_ray.evaluation.clustered_mean import LEVEL

POWER = 0.8


def rows_for_interval(half_width: float, variance: float, design_effect: float, level: float = LEVEL) -> int:
    """Return how many rows make the interval of a mean reach no further than `half_width` to either side.

    Args:
        half_width: 0..1.
        variance: of a single row's score; p (1 - p) for a proportion p.
        design_effect: of rows that come in clusters; 1 for independent rows.
        level: of the interval.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    return ceil(design_effect * variance * (z / half_width) ** 2)


def rows_for_difference(
    difference: float, variance: float, design_effect: float, level: float = LEVEL, power: float = POWER
) -> int:
    """Return how many rows show a difference of two means, where there is one, with a probability of `power`.

    Args:
        difference: of the two means, 0..1.
        variance: of the difference of the two scores of a row; where it is not known, twice that of a score, as if
            the two models erred independently of each other.
        design_effect: of rows that come in clusters; 1 for independent rows.
        level: 1 - the probability that a difference is shown where there is none.
        power: the probability of showing it.
    """
    normal = NormalDist()
    z = normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)
    return ceil(design_effect * variance * (z / difference) ** 2)
