"""Remarks about a run that a page shows above its rows."""

from __future__ import annotations

from vqa_ray.grouping.collect import GROUPS_FILE
from vqa_ray.runs.record import RunRecord


def run_notes(record: RunRecord, *, finished: bool) -> tuple[str, ...]:
    """Return the remarks about a run, one line each: rows that are missing yet, and groups in a file of their own."""
    if not finished:
        return ("This run has not finished: more rows may follow.",)
    column = record.command.get("group_by")
    if column is None or "together" in record.command:
        return ()
    return (f"Each row is a photo; the photos are combined by their {column} in {GROUPS_FILE} of the run.",)
