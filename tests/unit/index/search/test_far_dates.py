"""Kept dates that Python does not hold, in what is made of hits."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from vqa_ray.api.index import Hits
from vqa_ray.index.search.gallery_cards import hit_cards
from vqa_ray.jobs.search.output import lines, to_json
from vqa_ray.runs.row_match import RowReading

FAR = pa.array([2_932_897], pa.date32())
HITS = pa.table(
    {
        **{"rank": [1], "score": pa.array([0.5], pa.float32()), "row_id": [7], "image_id": ["a"]},
        **{"image_uri": ["/a.jpg"], "sha256": ["0"], "status": ["ok"]},
        **{name: pa.nulls(1, pa.string()) for name in ("error_code", "error_message", "warning")},
        **{"source_key": [0], "height": [1], "width": [1], "until": FAR},
    }
)


def test_hits_are_shown() -> None:
    outcome: Any = SimpleNamespace(header={}, hits=HITS)
    (hit,) = json.loads(to_json(outcome))["hits"]
    assert hit["until"] == "10000-01-01"
    assert lines(HITS)[1][0][:3] == ["1", "0.5000", "a"]
    (card,) = hit_cards(HITS, [None])
    assert card.title == "1. a"
    method: Any = "exact"
    assert Hits(HITS, 1, method)[0].row["until"] == "10000-01-01"


def test_rows_are_compared() -> None:
    reading = RowReading(("image_id",), (("until", "until"),))
    table = HITS.append_column("questions", pa.array([["q"]]))
    (row,) = reading.of_input(table)
    (written,) = reading.of_output(HITS.append_column("question", pa.array(["q"])))
    assert row.contents == written.contents == ("a", "'10000-01-01'")
