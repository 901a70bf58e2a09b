"""The share of a second model in the rows of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow.compute as pc

from vqa_ray.runs.part_files import read_columns


@dataclass(slots=True)
class OpinionCounts:
    """Counts over the rows of a run with two models.

    Attributes:
        rows: all rows.
        asked: rows that the second model was asked about.
        decided: rows that hold its outcome, be it an error.
        compared: rows that both models answered.
        agreed: rows that both answered alike.
    """

    rows: int = 0
    asked: int = 0
    decided: int = 0
    compared: int = 0
    agreed: int = 0


def count_opinions(part_uris: Iterable[str]) -> OpinionCounts:
    """Count the rows of these part files, a file at a time."""
    total = OpinionCounts()
    for uri in part_uris:
        table = read_columns(uri, ("decided_by", "agrees"))
        decided = pc.fill_null(pc.equal(table["decided_by"], "second"), False)
        compared = pc.is_valid(table["agrees"])
        total.rows += table.num_rows
        total.asked += pc.sum(pc.or_(decided, compared)).as_py() or 0
        total.decided += pc.sum(decided).as_py() or 0
        total.compared += pc.sum(compared).as_py() or 0
        total.agreed += pc.sum(table["agrees"]).as_py() or 0
    return total
