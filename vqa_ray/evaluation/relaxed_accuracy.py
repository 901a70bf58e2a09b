"""Relaxed accuracy: numbers may be off by 5 %, other answers have to be the same but for case.

Source: Masry et al., "ChartQA" (2022), section 5.1, and `relaxed_correctness` of google-research/pix2struct. A number
is what Python's `float` reads, without thousands separators or units; a percentage is a hundredth. Years are numbers.
Infinity and NaN are words here: there, neither is within 5 % of itself.
"""

from __future__ import annotations

import math

TOLERANCE = 0.05


def relaxed_match(answer: str, truth: str, tolerance: float = TOLERANCE) -> bool:
    """Check whether an answer is right. A true 0 is compared as text, since nothing is within 5 % of it."""
    given, wanted = as_number(answer), as_number(truth)
    if given is None or not wanted:
        return answer.lower() == truth.lower()
    return abs(given - wanted) / abs(wanted) <= tolerance


def as_number(text: str) -> float | None:
    """Read a finite number or a percentage; None where the text is neither."""
    try:
        number = float(text.rstrip("%")) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
