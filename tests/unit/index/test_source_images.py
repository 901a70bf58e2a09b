"""Images of an index read again from where they came from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.helpers.index_updates import opened, update
from tests.helpers.indexes import random_vectors, write_index
from vqa_ray import schema
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.reader import open_index
from vqa_ray.index.source_images import SourceImages


def write(directory: Path, name: str, images: list[bytes]) -> None:
    directory.mkdir(exist_ok=True)
    pq.write_table(
        pa.table({"image_id": [f"{name}{row}" for row in range(len(images))], "image": images}), directory / name
    )


def test_images_that_stood_in_tables_come_from_there(tmp_path: Path) -> None:
    layout, place = IndexDirectory(str(tmp_path / "index")), tmp_path / "in"
    write(place, "a.parquet", [b"a0", b"a1", b"a2"])
    update(layout, opened(place))
    write(place, "b.parquet", [b"b0", b"b1"])
    update(layout, opened(place))
    index = open_index(layout.uri)
    ids = index.rows(["image_id"])["image_id"].to_pylist()
    order = [ids.index(name) for name in ("b.parquet1", "a.parquet2", "a.parquet0", "b.parquet1")]
    rows = SourceImages(index).read(order)
    assert rows.schema == schema.READ
    assert rows["image"].to_pylist() == [b"b1", b"a2", b"a0", b"b1"]
    assert set(rows["status"].to_pylist()) == {"ok"}
    # What is gone or is another image now says so; the rest is still there.
    write(place, "a.parquet", [b"a0", b"a1", b"other"])
    (place / "b.parquet").unlink()
    told = SourceImages(index).read(order).to_pylist()
    assert [row["image"] for row in told] == [None, None, b"a0", None]
    assert [row["error_code"] for row in told] == ["image_missing", "image_missing", None, "image_missing"]
    assert told[1]["error_message"] == "another image is where this one was embedded from"


def test_images_with_a_uri_keep_it_and_error_rows_stay(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index", random_vectors(4, 4), failed=[2])
    rows = SourceImages(index).read([3, 2]).to_pylist()
    assert [row["image_uri"] for row in rows] == ["/nowhere/images/3.jpg", "/nowhere/images/2.jpg"]
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert SourceImages(index).read([]).num_rows == 0
