"""Columns whose text stands in questions: read beside the row, hidden from the output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.readers.inputs import open_at, refused, write_csv, write_jsonl, write_parquet
from vqa_ray.readers import read_shard
from vqa_ray.row_text.config import TextConfig
from vqa_ray.row_text.hidden_columns import TEXT, TEXT_WARNING

TEXTS = TextConfig(("title", "price"), 4)
TITLES = ["mug", None, "<image> a long title of many words", " "]
PRICES = [1.5, 2.0, 3.0, 4.0]


def rows_of(path: Path, **options: Any) -> list[dict[str, Any]]:
    source = open_at(path, text=TEXTS, needs_question=False, **options)
    tables = [table for shard in source.shards for table in read_shard(source.for_workers(), shard)]
    return [row for table in tables for row in table.to_pylist()]


def write(tmp_path: Path, kind: str) -> Path:
    uris = [f"{number}.jpg" for number in range(len(TITLES))]
    if kind == "parquet":
        return write_parquet(tmp_path / "a.parquet", {"image_uri": uris, "title": TITLES, "price": PRICES})
    rows = [list(row) for row in zip(uris, TITLES, PRICES, strict=True)]
    if kind == "csv":
        return write_csv(tmp_path / "a.csv", ["image_uri", "title", "price"], [[v or "" for v in row] for row in rows])
    names = ("image_uri", "title", "price")
    return write_jsonl(tmp_path / "a.jsonl", [dict(zip(names, row, strict=True)) for row in rows])


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_texts_ride_along_cleaned_and_cut(tmp_path: Path, kind: str) -> None:
    rows = rows_of(write(tmp_path, kind), keep=("price",))
    assert [row[f"{TEXT}title"] for row in rows] == ["mug", None, "< image > a", None]
    assert rows[0][f"{TEXT}price"] == "1.5"
    assert [row["price"] for row in rows] == PRICES, "a kept column keeps its type and value"
    assert [row["error_code"] for row in rows] == [None, "text_missing", None, "text_missing"]
    assert rows[2][TEXT_WARNING.name] == "title: cut to about 4 tokens (--text-budget)"
    assert rows[0][TEXT_WARNING.name] is None


def test_a_column_that_is_not_there_is_refused_with_the_columns_there_are(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image_uri": ["a.jpg"], "name": ["mug"], "price": [1]})
    assert refused(file, text=TEXTS, questions=("{title}?",)) == (
        "a.parquet: a question names {title} (for the braces themselves: {{title}}): no such column; the columns are: "
        "image_uri, name, price"
    )
    assert "--keep title" in refused(file, keep=("title",), questions=("q",))
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.jpg").write_bytes(b"\xff\xd8\xff")
    assert "{{title}}): image files have no columns" in refused(images, text=TEXTS, questions=("q",))


def test_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    columns = {"image_uri": ["a.jpg"], "title": pa.array([["a", "b"]]), "price": [1]}
    file = write_parquet(tmp_path / "a.parquet", columns)
    assert "column 'title', which a question names, is list" in refused(file, text=TEXTS, questions=("q",))


def test_rows_of_one_image_with_titles_of_their_own_are_different_rows(tmp_path: Path) -> None:
    columns = {"image_uri": ["a.jpg"] * 3, "title": ["mug", "cup", "mug"], "price": [1] * 3}
    file = write_parquet(tmp_path / "a.parquet", columns)
    source = open_at(file, text=TEXTS, questions=("is it {title}?",))
    (table,) = read_shard(source.for_workers(), source.shards[0])
    first, second, third = table["row_id"].to_pylist()
    assert first == third != second
    assert table["questions"].to_pylist() == [["is it {title}?"]] * 3
