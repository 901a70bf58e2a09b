"""Photos of one product, read as one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.coloured import picture
from tests.unit.readers.inputs import open_at, write_parquet
from vqa_ray import schema
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.models.fake.sizes import FakeTransform
from vqa_ray.readers import Source, read_shard
from vqa_ray.readers.together import MOST_PHOTOS
from vqa_ray.row_text.hidden_columns import TEXT_WARNING
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.read import limits_for, read_tasks

SKUS = ["a", "a", "b", None, None, "c", "c", "c", "a"]


def source_of(tmp_path: Path, **more: Any) -> Source:
    for place in range(len(SKUS)):
        (tmp_path / f"{place}.jpg").write_bytes(b"no image" if place == 6 else picture(place))
    (tmp_path / "7.jpg").unlink()
    uris = [None if place == 0 else f"{place}.jpg" for place in range(len(SKUS))]
    file = write_parquet(tmp_path / "in.parquet", {"image_uri": uris, "sku": SKUS}, row_group_size=2)
    return open_at(file, keep=("sku",), questions=("a dog?",), group_by="sku", together=True, **more)


def rows_of(source: Source, keys: list[int] | None = None) -> list[dict[str, Any]]:
    return [row for shard in source.shards for table in read_shard(source, shard, keys) for row in table.to_pylist()]


def test_neighbours_with_one_value_are_a_row_whatever_the_row_groups(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    assert len(source.shards) == 1
    assert source.total_rows is None
    rows = rows_of(source)
    assert [row["sku"] for row in rows] == ["a", "b", None, None, "c", "a"]
    assert [row["source_key"] for row in rows] == list(range(6))
    assert [len(row["extra_images"] or ()) for row in rows] == [0, 0, 0, 0, 2, 0]
    assert rows[4]["image_id"] == "5.jpg, 6.jpg, 7.jpg"
    assert rows[0]["status"] == "ok", "the photo without a reference is left out"
    assert rows[0][TEXT_WARNING.name].startswith("1 of 2 photos left out: image_missing")
    assert len({row["row_id"] for row in rows}) == 6
    assert rows_of(source, [4]) == rows[4:5]
    assert limits_for(source, 3) == {0: 3}
    (task,) = read_tasks(source, done=np.array([[0, 4]]))
    assert [row["source_key"] for table in task() for row in table.to_pylist()] == [5]


def test_photos_that_fail_are_left_out_while_others_are_there(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    (read,) = read_shard(source, source.shards[0])
    fetched = FetchImages(ImageFetcher(2**20), lenient=True)(read)
    decoded = DecodeImages(FakeTransform(), ImageLimits(), lenient=True)(fetched).to_pylist()
    product = decoded[4]
    assert (product["status"], product["extra_images"], product["image_uri"]) == ("ok", None, f"{tmp_path}/5.jpg")
    told = product[TEXT_WARNING.name]
    assert "1 of 3 photos left out: image_missing" in told
    assert "1 of 2 photos left out: image_undecodable" in told
    strict = DecodeImages(FakeTransform(), ImageLimits())(FetchImages(ImageFetcher(2**20))(read)).to_pylist()
    assert strict[4]["status"] == "error"


@pytest.mark.parametrize("there", [{"0.jpg": b"no image"}, {}])
def test_the_first_photo_may_be_the_one_that_fails(tmp_path: Path, there: dict[str, bytes]) -> None:
    for name, data in {**there, "2.jpg": picture(2)}.items():
        (tmp_path / name).write_bytes(data)
    columns = {"image_uri": ["0.jpg", "1.jpg", "2.jpg", "3.jpg"], "sku": ["a", "a", "a", "b"]}
    file = write_parquet(tmp_path / "in.parquet", columns)
    source = open_at(file, keep=("sku",), questions=("a dog?",), group_by="sku", together=True)
    (read,) = read_shard(source, source.shards[0])
    fetched = FetchImages(ImageFetcher(2**20), lenient=True)(read)
    first, second = DecodeImages(FakeTransform(), ImageLimits(), lenient=True)(fetched).to_pylist()
    assert (first["status"], first["image_uri"], first["extra_images"]) == ("ok", f"{tmp_path}/2.jpg", None)
    assert (second["status"], second["error_code"]) == ("error", "image_missing")


def test_more_photos_than_a_model_reads_are_left_out(tmp_path: Path) -> None:
    uris = [f"{place}.jpg" for place in range(MOST_PHOTOS + 3)]
    file = write_parquet(tmp_path / "in.parquet", {"image_uri": uris, "sku": ["a"] * len(uris)})
    (row,) = rows_of(open_at(file, keep=("sku",), questions=("a dog?",), group_by="sku", together=True))
    assert len(row["extra_images"]) == MOST_PHOTOS - 1
    assert row[TEXT_WARNING.name] == "only the first 16 of 19 photos were shown"
    assert schema.READ.names == [name for name in row if name in schema.READ.names]
