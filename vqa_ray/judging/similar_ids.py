"""Ids that are not equal and yet meant to be: told, never merged."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_ray.judging.findings import Findings


def loose_form(key: str) -> str:
    """Return what ids have in common that differ in leading zeros, case, blanks or a final .0 only."""
    return key.strip().casefold().removesuffix(".0").lstrip("0")


def note_similar_ids(lonely: Sequence[str | None], untold: Sequence[str | None], found: Findings) -> None:
    """Count ids of truth without predictions that differ from one of predictions without truth in their form only.

    Args:
        lonely: ids of truth.
        untold: ids of predictions.
        found: takes the counts.
    """
    others = {loose_form(key): key for key in untold if key is not None}
    for key in lonely:
        if key is not None and (other := others.get(loose_form(key))) is not None:
            found.note("similar_ids", f"{key!r} in the truth, {other!r} in the run")
