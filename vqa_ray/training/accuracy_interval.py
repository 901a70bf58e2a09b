"""How sure the accuracy of a validation is, in words."""

from __future__ import annotations

from vqa_ray.counted import counted
from vqa_ray.evaluation.clustered_mean import wilson_interval

# Two-sided, 95 %.
_Z = 1.959964
_FEW_ROWS = 100


def interval_note(metric: str, mean: float, rows: int) -> str:
    """Return a sentence with the mean of a metric and its interval.

    Args:
        metric: its name.
        mean: from 0 to 1.
        rows: that were judged, at least one.
    """
    low, high = wilson_interval(mean, rows, _Z)
    judged = counted(rows, "row")
    few = f"; {judged} {'says' if rows == 1 else 'say'} little" if rows < _FEW_ROWS else ""
    return f"{metric} {mean:.4f}: 95 % interval {low:.3f} to {high:.3f} over {judged}{few}"
