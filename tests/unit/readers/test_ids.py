"""Ids are text as they were given, in every format."""

from __future__ import annotations

import datetime
import decimal
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.readers.inputs import read, write_csv, write_jsonl, write_parquet, write_tar
from vqa_ray.readers.records import read_records

UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


def ids(path: Path) -> list[Any]:
    rows = read(path, needs_question=False)
    assert all(row["status"] == "ok" for row in rows)
    return [row["image_id"] for row in rows]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([uuid.UUID(UUID).bytes], pa.uuid()), [UUID]),
        (pa.array([uuid.UUID(UUID).bytes], pa.uuid()).storage, ["a0eebc999c0b4ef8bb6d6bb9bd380a11"]),
        (pa.array([b"caf\xc3\xa9"]), ["café"]),
        (pa.array(["007", "NA", "1e5", "true", "null"]), ["007", "NA", "1e5", "true", "null"]),
        (pa.array([9, 25]), ["9", "25"]),
        # pandas makes floats of integers beside a missing one.
        (pa.array([9.0, 100000000030.0, 0.5]), ["9", "100000000030", "0.5"]),
        (pa.array([decimal.Decimal("1.50")]), ["1.50"]),
        (pa.array([datetime.date(2026, 1, 2)]), ["2026-01-02"]),
        (pa.array(["007"]).dictionary_encode(), ["007"]),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
def test_ids_of_parquet(tmp_path: Path, values: pa.Array, texts: list[str], stored: bool) -> None:
    images = [b"%d" % i for i in range(len(values))]
    write_parquet(tmp_path / "a.parquet", {"image": images, "image_id": values}, store_schema=stored)
    assert ids(tmp_path / "a.parquet") == texts


def test_integers_beside_strings_in_json_lines(tmp_path: Path) -> None:
    values = [7, "007", 7.0, 2**70, "1e5", True]
    write_jsonl(tmp_path / "a.jsonl", [{"image_uri": f"{i}.jpg", "image_id": id} for i, id in enumerate(values)])
    assert ids(tmp_path / "a.jsonl") == ["7", "007", "7", str(2**70), "1e5", "true"]


NUMBERS = ["1.10", "1e3", "1E+3", "0.1000", "12345678901234567890.5", "7.0", "123456789012345678901234567890"]
TEXTS = ["1.10", "1e3", "1E+3", "0.1000", "12345678901234567890.5", "7", "123456789012345678901234567890"]


@pytest.mark.parametrize("document", ["{}", "[{}]", '{{"data": [{}]}}', '{{"n": 1.50, "rows":\n[{}]\n}}'])
def test_numbers_of_json_are_ids_as_they_are_written(tmp_path: Path, document: str) -> None:
    rows = [f'{{"image_uri": "{i}.jpg", "image_id": {id}, "price": {id}}}' for i, id in enumerate(NUMBERS[:-1])]
    separator = "\n" if document == "{}" else ",\n"
    (tmp_path / "a.json").write_text(document.format(separator.join(rows)))
    assert ids(tmp_path / "a.json") == TEXTS[:-1]
    assert [row["price"] for row in read(tmp_path / "a.json", needs_question=False, keep=("price",))] == [
        float(number) for number in NUMBERS[:-1]
    ]
    assert [values["image_id"] for _, values in read_records(str(tmp_path / "a.json"), "image_id")] == TEXTS[:-1]


def test_numbers_in_the_json_of_a_tar_are_ids_as_they_are_written(tmp_path: Path) -> None:
    members = [
        part
        for i, id in enumerate(NUMBERS)
        for part in ((f"{i}.jpg", b"i"), (f"{i}.json", f'{{"image_id": {id}}}'.encode()))
    ]
    assert ids(write_tar(tmp_path / "a.tar", members)) == TEXTS


def test_a_key_that_stands_twice_in_an_element_of_a_document_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"image_uri": "a.jpg"}, {"image_uri": "b.jpg", "image_id": 1, "image_id": 2}]')
    rows = read(tmp_path / "a.json", needs_question=False)
    assert [row["error_message"] for row in rows] == [None, "a.json line 2: not JSON: key 'image_id' occurs twice"]


def test_cells_of_csv_are_what_they_are(tmp_path: Path) -> None:
    values = ["007", "NA", "null", "1e5", "true", "0x1F", "1_000", "-0", "1.0", "nan", " 7"]
    write_csv(tmp_path / "a.csv", ["image_uri", "image_id"], [[f"{i}.jpg", value] for i, value in enumerate(values)])
    assert ids(tmp_path / "a.csv") == values


@given(st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()) and "\0" not in text))
@settings(deadline=None, max_examples=40)
def test_any_text_survives_as_an_id(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    place = tmp_path_factory.mktemp("ids")
    write_jsonl(place / "a.jsonl", [{"image_uri": "a.jpg", "image_id": text}])
    write_csv(place / "a.csv", ["image_uri", "image_id"], [["a.jpg", text]])
    write_parquet(place / "a.parquet", {"image": [b"x"], "image_id": [text]})
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert ids(place / name) == [text]
