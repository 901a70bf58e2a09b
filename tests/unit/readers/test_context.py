"""The `context` column: earlier questions and answers, from every format that can hold them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray.errors import RequestError
from vqa_ray.readers import InputConfig, open_source, read_shard

TURNS = [{"question": "what is it?", "answer": "a dog"}, {"question": "is it big?", "answer": "no"}]
CONTEXTS: list[Any] = [TURNS, [], None, TURNS[:1]]


def rows() -> list[dict[str, Any]]:
    return [{"image_uri": "a.jpg", "question": "why?", "context": context} for context in CONTEXTS]


def parquet(place: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(rows()), place / "in.parquet")
    return place / "in.parquet"


def jsonl(place: Path) -> Path:
    (place / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return place / "in.jsonl"


def delimited(place: Path) -> Path:
    with (place / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_uri", "question", "context"])
        for row in rows():
            said = "" if row["context"] is None else json.dumps(row["context"])
            writer.writerow([row["image_uri"], row["question"], said])
    return place / "in.csv"


def read(source: Path, **config: Any) -> list[dict[str, Any]]:
    opened = open_source(InputConfig(str(source), **config))
    return [row for shard in opened.shards for table in read_shard(opened, shard) for row in table.to_pylist()]


@pytest.mark.parametrize("write", [parquet, jsonl, delimited])
def test_turns_are_read_and_tell_rows_apart(tmp_path: Path, write: Any) -> None:
    found = read(write(tmp_path), reads_context=True)
    assert [row["turns"] for row in found] == [TURNS, None, None, TURNS[:1]]
    assert {row["status"] for row in found} == {"ok"}
    ids = [row["row_id"] for row in found]
    assert ids[1] == ids[2]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("write", [parquet, jsonl, delimited])
def test_a_context_that_nobody_asked_for_changes_nothing(tmp_path: Path, write: Any) -> None:
    found = read(write(tmp_path))
    assert [row["turns"] for row in found] == [None] * 4
    assert len({row["row_id"] for row in found}) == 1


def test_the_column_can_have_another_name(tmp_path: Path) -> None:
    pq.write_table(
        pa.Table.from_pylist(rows()).rename_columns(["image_uri", "question", "chat"]), tmp_path / "in.parquet"
    )
    found = read(tmp_path / "in.parquet", reads_context=True, columns={"context": "chat"}, keep=("chat",))
    assert found[0]["turns"] == found[0]["chat"] == TURNS


@pytest.mark.parametrize(
    "context", ["what is it? a dog", [TURNS[0], "no"], [{"question": "what?"}], [{"question": 1, "answer": "a"}], {}]
)
def test_what_is_no_context_is_told_in_its_row(tmp_path: Path, context: object) -> None:
    lines = [{"image_uri": "a.jpg", "question": "why?", "context": each} for each in (context, TURNS)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    bad, good = read(tmp_path / "in.jsonl", reads_context=True)
    assert bad["error_code"] == "row_malformed"
    assert "in.jsonl line 1: column 'context' holds " in bad["error_message"]
    assert good["turns"] == TURNS


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image_uri": ["a"], "question": ["b"], "context": ["c"]}), tmp_path / "in.parquet")
    with pytest.raises(RequestError, match=r"column 'context' is string; wanted for context is list<struct<question"):
        read(tmp_path / "in.parquet", reads_context=True)
