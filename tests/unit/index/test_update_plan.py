"""What an update replaces in an index, without any file of it."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray.index.input_files import SOURCES, Difference
from vqa_ray.index.update_plan import UpdatePlan
from vqa_ray.index.version import Update

DATE = "2026-01-01T00:00:00Z"


def sources(update: str, **keys: int) -> pa.Table:
    """SOURCES, each of one row with that key."""
    rows = [
        {"uri": uri, "input": "in", "update": update, "size_bytes": 1, "first_key": key, "last_key": key}
        for uri, key in keys.items()
    ]
    return pa.Table.from_pylist(rows, SOURCES)


KNOWN = sources("1", a=0, b=1, c=2)
PLAN = UpdatePlan("2", "in", DATE, Difference(("d",), ("b",), ("c",)), sources("2", b=5, d=4))


def test_changed_and_gone_sources_leave_and_the_planned_ones_come() -> None:
    delta = PLAN.delta(KNOWN, ["part"])
    assert delta.update == Update("2", DATE, "in", added=1, replaced=1, removed=1)
    assert {update: ranges.tolist() for update, ranges in delta.drop.items()} == {"1": [[1, 1], [2, 2]]}
    assert delta.sources.select(["uri", "update"]).to_pydict() == {"uri": ["a", "b", "d"], "update": ["1", "2", "2"]}
    assert (delta.read_as, list(delta.parts), delta.only) == ("2", ["part"], None)


def test_an_update_that_was_cut_short_brings_its_sources_alone_and_takes_nothing_away() -> None:
    delta = PLAN.salvage(KNOWN, ["part"])
    assert delta.update == Update("2", DATE, "in", added=1, replaced=1, removed=0)
    assert delta.sources["uri"].to_pylist() == ["a", "c", "b", "d"]
    assert delta.only is not None
    assert delta.only.tolist() == [[4, 4], [5, 5]]
