"""The `images` column: rows that each bring a list of images, from every format that can hold one."""

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

LISTS: list[Any] = [["a.jpg", "s3://b/c.jpg"], ["a.jpg"], ["s3://b/c.jpg", "a.jpg"], ["a.jpg", "s3://b/c.jpg"]]


def rows(lists: list[Any]) -> list[dict[str, Any]]:
    return [{"images": images, "question": "which one?"} for images in lists]


def parquet(place: Path, lists: list[Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows(lists)), place / "in.parquet")
    return place / "in.parquet"


def jsonl(place: Path, lists: list[Any]) -> Path:
    (place / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(lists)))
    return place / "in.jsonl"


def delimited(place: Path, lists: list[Any]) -> Path:
    with (place / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["images", "question"])
        writer.writerows([json.dumps(row["images"]), row["question"]] for row in rows(lists))
    return place / "in.csv"


def read(source: Path, **config: Any) -> list[dict[str, Any]]:
    opened = open_source(InputConfig(str(source), **{"reads_several": True, **config}))
    return [row for shard in opened.shards for table in read_shard(opened, shard) for row in table.to_pylist()]


@pytest.mark.parametrize("write", [parquet, jsonl, delimited])
def test_lists_of_references_are_read_in_order_and_tell_rows_apart(tmp_path: Path, write: Any) -> None:
    found = read(write(tmp_path, LISTS))
    here, there = f"{tmp_path}/a.jpg", "s3://b/c.jpg"
    assert [row["image_uri"] for row in found] == [here, here, there, here]
    further = [row["extra_images"] and [other["image_uri"] for other in row["extra_images"]] for row in found]
    assert further == [[there], None, [here], [there]]
    assert [row["image_id"] for row in found] == [
        "a.jpg, s3://b/c.jpg",
        "a.jpg",
        "s3://b/c.jpg, a.jpg",
        "a.jpg, s3://b/c.jpg",
    ]
    ids = [row["row_id"] for row in found]
    assert ids[0] == ids[3]
    assert len(set(ids)) == 3


def test_bytes_and_structs_are_read(tmp_path: Path) -> None:
    pair = [{"bytes": b"one", "path": None}, {"bytes": None, "path": "two.jpg"}]
    (mixed,) = read(parquet(tmp_path, [pair]))
    assert (mixed["image"], mixed["extra_images"][0]["image"]) == (b"one", None)
    assert mixed["extra_images"][0]["image_uri"] == f"{tmp_path}/two.jpg"
    (tmp_path / "b").mkdir()
    plain, turned = read(parquet(tmp_path / "b", [[b"one", b"two"], [b"two", b"one"]]))
    assert (plain["image"], plain["extra_images"]) == (b"one", [{"image_uri": None, "image": b"two"}])
    assert plain["row_id"] != turned["row_id"]
    assert plain["image_id"] != turned["image_id"]


@pytest.mark.parametrize(
    ("images", "code"),
    [([], "image_missing"), (None, "image_missing"), ("a.jpg", "row_malformed"), ([1], "row_malformed")],
)
def test_what_is_no_list_of_images_costs_its_own_row(tmp_path: Path, images: Any, code: str) -> None:
    bad, good = read(jsonl(tmp_path, [images, LISTS[0]]))
    assert (bad["status"], bad["error_code"]) == ("error", code)
    assert "images" in bad["error_message"]
    assert bad["extra_images"] is None
    assert good["status"] == "ok"


def test_single_images_win_unless_the_lists_are_named(tmp_path: Path) -> None:
    line = {"image_uri": "single.jpg", "images": LISTS[0], "question": "which one?"}
    (tmp_path / "in.jsonl").write_text(json.dumps(line) + "\n")
    (row,) = read(tmp_path / "in.jsonl")
    assert (row["image_id"], row["extra_images"]) == ("single.jpg", None)
    (row,) = read(tmp_path / "in.jsonl", columns={"images": "images"})
    assert row["image_id"] == "a.jpg, s3://b/c.jpg"


def test_lists_are_refused_where_one_image_is_taken(tmp_path: Path) -> None:
    source = jsonl(tmp_path, LISTS)
    with pytest.raises(RequestError, match=r"in\.jsonl: column 'images' holds several images a row; only `answer`"):
        read(source, reads_several=False)


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"column 'images' is list<.*int64>; wanted for images is list<binary>"):
        read(parquet(tmp_path, [[1, 2]]))
