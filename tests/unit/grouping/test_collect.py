"""Groups of a run, collected from its part files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.grouping import collect
from vqa_ray.grouping.answers import AnswerCombiner
from vqa_ray.grouping.rule import Rule

SKU = pa.field("sku", pa.string())


def write_part(path: Path, rows: list[dict[str, Any]]) -> str:
    full = [{"row_id": row["source_key"], "status": "ok", "attempt": 1, "question_index": 0, **row} for row in rows]
    pq.write_table(pa.Table.from_pylist(full, schema.with_kept(schema.ANSWER, [SKU])), path)
    return str(path)


def answered(key: int, sku: str | None, answer: str, score: float = 0.5, **more: Any) -> dict[str, Any]:
    scored = {"answer": answer, "answer_score": score, "answers": [{"answer": answer, "score": score}]}
    return {"source_key": key, "image_id": f"i{key}", "sku": sku, "question": "a dog?", **scored, **more}


def failed(key: int, sku: str) -> dict[str, Any]:
    error = {"status": "error", "error_code": "image_missing", "error_message": "it is gone"}
    return {"source_key": key, "image_id": f"i{key}", "sku": sku, "question": "a dog?", **error}


def groups(tmp_path: Path, parts: list[str], rule: Rule) -> tuple[list[dict[str, Any]], collect.GroupCounts]:
    uri = str(tmp_path / "_groups.pq")
    counts = collect.write_groups(uri, parts, SKU, AnswerCombiner(rule))
    return sorted(pq.read_table(uri).to_pylist(), key=lambda row: (row["sku"], row["question_index"])), counts


@pytest.mark.parametrize("rows_at_a_time", [1, 200_000])
def test_photos_of_all_parts_meet_in_one_row(
    tmp_path: Path, rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "_ROWS", rows_at_a_time)
    first = write_part(tmp_path / "1.parquet", [answered(5, "a", "yes"), answered(1, "b", "no"), failed(2, "a")])
    second = write_part(tmp_path / "2.parquet", [answered(3, "a", "no", 0.9), answered(4, None, "yes"), failed(6, "c")])
    found, counts = groups(tmp_path, [first, second], "any")
    assert [(row["sku"], row["answer"], row["photos"], row["answered"], row["status"]) for row in found] == [
        ("a", "yes", 3, 2, "ok"),
        ("b", "no", 1, 1, "ok"),
        ("c", None, 1, 0, "error"),
    ]
    assert [(each["image_id"], each["answer"], each["error_code"]) for each in found[0]["evidence"]] == [
        ("i2", None, "image_missing"),
        ("i3", "no", None),
        ("i5", "yes", None),
    ]
    assert (found[2]["error_code"], found[2]["error_message"]) == ("image_missing", "1 of 1 photos failed: it is gone")
    assert found[2]["question"] == "a dog?"
    assert counts == collect.GroupCounts(groups=3, failed=1, photos=5, ungrouped=1)


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("ms"),
        pa.timestamp("us", "Mars/Olympus"),
        pa.date32(),
        pa.time32("ms"),
        pa.duration("s"),
    ],
)
def test_dates_and_times_that_python_does_not_hold_are_grouped_by(tmp_path: Path, kind: pa.DataType) -> None:
    rows = [
        {"row_id": key, "status": "ok", "attempt": 1, "question_index": 0} | answered(key, None, "yes")
        for key in range(3)
    ]
    far = 2**31 - 1 if kind.bit_width == 32 else 10**15
    numbers = pa.array([86_400_000, far, 86_400_000], pa.int32() if kind.bit_width == 32 else pa.int64())
    table = pa.Table.from_pylist(rows, schema.ANSWER).append_column("sku", numbers.cast(kind))
    pq.write_table(table, tmp_path / "1.parquet")
    column, uri = pa.field("sku", kind), str(tmp_path / "_groups.pq")
    counts = collect.write_groups(uri, [str(tmp_path / "1.parquet")], column, AnswerCombiner("vote"))
    assert (counts.groups, counts.photos) == (2, 3)
    found = pq.read_table(uri)
    assert sorted(found["photos"].to_pylist()) == [1, 2]
    assert found.sort_by("photos")["sku"].combine_chunks() == table["sku"].combine_chunks().take(pa.array([1, 0]))


def test_a_failed_photo_spoils_the_rule_all_alone(tmp_path: Path) -> None:
    part = write_part(tmp_path / "1.parquet", [answered(1, "a", "yes"), failed(2, "a")])
    (row,), _ = groups(tmp_path, [part], "all")
    assert (row["answer"], row["error_code"]) == (None, "image_missing")
    assert row["error_message"] == "1 of 2 photos failed: it is gone"
    (row,), _ = groups(tmp_path, [part], "vote")
    assert (row["answer"], row["answer_score"], row["photos"], row["answered"]) == ("yes", 1.0, 2, 1)


def test_each_question_has_a_row_and_photos_that_are_gone_have_no_say(tmp_path: Path) -> None:
    second = {"question": "a cat?", "question_index": 1}
    rows = [answered(1, "a", "yes"), answered(1, "a", "no", **second), answered(2, "a", "no", status="gone")]
    found, _ = groups(tmp_path, [write_part(tmp_path / "1.parquet", rows)], "vote")
    assert [(row["question"], row["answer"], row["photos"]) for row in found] == [
        ("a dog?", "yes", 1),
        ("a cat?", "no", 1),
    ]


def test_a_column_that_cannot_be_grouped_by_is_refused() -> None:
    with pytest.raises(RequestError, match="--group-by photos: a product has a column of that name"):
        collect.group_schema(pa.field("photos", pa.string()), AnswerCombiner("any"))
    with pytest.raises(RequestError, match="--group-by sku: is list<item: string>; wanted is text"):
        collect.group_schema(pa.field("sku", pa.list_(pa.string())), AnswerCombiner("any"))
