"""The matches of a run: sorted, whole or the best, whatever the files they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray import schema
from vqa_ray.runs.counts import count_rows
from vqa_ray.runs.matches import collect


def row(number: int, score: float | None, *, asked: int = 2, failed: bool = False) -> dict[str, Any]:
    values: dict[str, Any] = {
        "row_id": number,
        "image_id": f"i{number}",
        "attempt": 1,
        "source_key": number,
        "status": "error" if failed else "ok",
    }
    if failed:
        return values | {"error_code": "image_missing", "error_message": "gone"}
    scores = [{"question": f"{i}?", "answer": None, "score": 0.5 if i < asked else None} for i in range(2)]
    return values | {"match": score is not None and score >= 0.5, "score": score, "scores": scores}


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    """Eight files of random scores with many ties, one of failed rows and one without rows."""
    rng = np.random.default_rng(3)
    files = [[row(int(n), float(rng.integers(0, 9)) / 8) for n in chunk] for chunk in np.split(rng.permutation(400), 8)]
    files.append([row(1000, None, failed=True), row(1001, None, asked=1)])
    files.append([])
    uris = []
    for number, rows in enumerate(files):
        uris.append(str(tmp_path / f"part-{number}.parquet"))
        pq.write_table(pa.Table.from_pylist(rows, schema.RETRIEVE), uris[-1])
    return uris


def test_matches_are_sorted_by_score_then_id(parts: list[str]) -> None:
    rows = [row for uri in parts for row in pq.read_table(uri).to_pylist()]
    wanted = sorted((row for row in rows if row["match"]), key=lambda row: (-row["score"], row["row_id"]))
    found = collect(parts, None)
    assert found.table.to_pylist() == wanted
    assert (found.matches, found.images) == (len(wanted), 401)
    assert (found.asked, found.questions) == (801, 802)
    assert count_rows(parts).questions == 801


@pytest.mark.parametrize("top_k", [1, 7, 100, 10_000])
def test_the_best_of_each_file_give_the_best_of_all(parts: list[str], top_k: int) -> None:
    everything = collect(parts, None)
    found = collect(parts, top_k)
    assert found.table.equals(everything.table.slice(0, top_k))
    assert found.matches == everything.matches


def test_no_matches_are_a_table_without_rows(tmp_path: Path) -> None:
    uri = str(tmp_path / "part-0.parquet")
    pq.write_table(pa.Table.from_pylist([row(1, None, failed=True)], schema.RETRIEVE), uri)
    found = collect([uri], 5)
    assert (found.table.num_rows, found.matches, found.images) == (0, 0, 0)
    assert found.table.schema.names == schema.RETRIEVE.names
