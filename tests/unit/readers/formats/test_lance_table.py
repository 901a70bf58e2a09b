"""Lance datasets: their shards, the images of every kind of column, and what cannot be read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray.errors import RequestError, RunError
from vqa_ray.readers import InputConfig, Source, lance_fragments, open_source, read_shard
from vqa_ray.readers.lance_fragments import fragment_of


def written(where: Path, rows: pa.Table, **options: Any) -> str:
    lance.write_dataset(rows, str(where), **options)
    return f"lance:{where}"


def rows_of(source: Source) -> list[dict[str, Any]]:
    tables = [table for shard in source.shards for table in read_shard(source.for_workers(), shard)]
    return [row for table in tables for row in table.to_pylist()]


def photos(count: int) -> pa.Table:
    return pa.table(
        {"image_uri": [f"{i}.jpg" for i in range(count)], "question": ["red?"] * count, "price": range(count)}
    )


def test_versions_are_read_as_they_were(tmp_path: Path) -> None:
    where = tmp_path / "shop.lance"
    name = written(where, photos(5), max_rows_per_file=2)
    lance.dataset(str(where)).delete("price = 1")
    lance.dataset(str(where)).add_columns({"double": "price * 2"})

    def uris(uri: str, **options: Any) -> list[str]:
        return [Path(row["image_uri"]).name for row in rows_of(open_source(InputConfig(uri, **options)))]

    assert uris(name) == ["0.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert uris(f"{name}@1") == [f"{i}.jpg" for i in range(5)]
    source = open_source(InputConfig(name, keep=("double",)))
    assert [row[source.passthrough[0].name] for row in rows_of(source)] == [0, 4, 6, 8]
    assert rows_of(source)[0]["image_uri"] == f"{where}/0.jpg", "relative to the dataset"
    with pytest.raises(RequestError, match="--keep double: no such column"):
        open_source(InputConfig(f"{name}@1", keep=("double",)))
    names = [file.uri.rpartition("-")[0] for file in source.files]
    assert names == [f"{where}/fragment-{number:06}" for number in range(3)]


def test_long_fragments_are_several_shards(tmp_path: Path) -> None:
    where = tmp_path / "shop.lance"
    name = written(where, photos(4_500))
    lance.dataset(str(where)).delete("price in (0, 2500)")
    source = open_source(InputConfig(name, keep=("price",)))
    assert [(shard.start, shard.stop) for shard in source.shards] == [(0, 2000), (2000, 4000), (4000, 4498)]
    assert source.total_rows == 4_498
    expected = [i for i in range(4_500) if i not in (0, 2500)]
    assert [row[source.passthrough[0].name] for row in rows_of(source)] == expected
    (last,) = source.shards[2:]
    chosen = [last.index << 32 | number for number in (3, 400)]
    tables = list(read_shard(source.for_workers(), last, chosen))
    assert [row[source.passthrough[0].name] for table in tables for row in table.to_pylist()] == [4005, 4402]
    assert [row["source_key"] for table in tables for row in table.to_pylist()] == chosen


def blobs(images: list[bytes]) -> tuple[pa.Array, pa.Field]:
    return lance.blob_array(images), lance.blob_field("image")


def structs(images: list[bytes]) -> tuple[pa.Array, pa.Field]:
    cells = [{"bytes": image, "path": f"p{i}.jpg"} for i, image in enumerate(images)]
    array = pa.array(cells)
    return array, pa.field("image", array.type)


def plain_array(array: pa.Array) -> pa.Array:
    return pa.array([b"first" * 20_000, b"second"]) if isinstance(array, pa.ExtensionArray) else array


def plainly(images: list[bytes]) -> tuple[pa.Array, pa.Field]:
    return pa.array(images, pa.large_binary()), pa.field("image", pa.large_binary())


@pytest.mark.parametrize("kind", [blobs, structs, plainly])
def test_images_of_every_kind(tmp_path: Path, kind: Any) -> None:
    images = [b"first" * 20_000, b"second"]
    array, field = kind(images)
    table = pa.table([array, pa.array(["a", "b"])], schema=pa.schema([field, pa.field("image_id", pa.string())]))
    source = open_source(InputConfig(written(tmp_path / "x", table, data_storage_version="2.2"), needs_question=False))
    assert [row["image"] for row in rows_of(source)] == images
    bare = rows_of(source.without_images())
    assert [(row["image"], row["image_id"], row["status"]) for row in bare] == [(None, "a", "ok"), (None, "b", "ok")]
    pq.write_table(pa.table({"image": plain_array(array), "image_id": ["a", "b"]}), tmp_path / "x.parquet")
    same = open_source(InputConfig(str(tmp_path / "x.parquet"), needs_question=False))
    assert (rows_of(source), bare) == (rows_of(same), rows_of(same.without_images()))


def test_damage_is_a_row_and_a_lost_file_is_not(tmp_path: Path) -> None:
    where = tmp_path / "x"
    source = open_source(InputConfig(written(where, photos(4), max_rows_per_file=2)))
    first = where / "data" / lance.dataset(str(where)).get_fragments()[0].metadata.files[0].path
    first.write_bytes(first.read_bytes()[:-20])
    rows = rows_of(source)
    assert [(row["status"], row["error_code"]) for row in rows] == [
        ("error", "row_malformed"),
        ("ok", None),
        ("ok", None),
    ]
    assert "fragment-000000-" in rows[0]["error_message"]
    first.unlink()
    with pytest.raises(FileNotFoundError, match=r"fragment-000000-\w+: .*Not found"):
        rows_of(source)


def test_a_fragment_that_changes_has_another_name(tmp_path: Path) -> None:
    where = tmp_path / "x"
    name = written(where, photos(4), max_rows_per_file=2)

    def names() -> list[str]:
        return [file.uri for file in open_source(InputConfig(name)).files]

    first = names()
    lance.dataset(str(where)).create_scalar_index("price", "BTREE")
    assert names() == first, "an index changes no row"
    assert open_source(InputConfig(f"{name}@1")).fingerprint == open_source(InputConfig(name)).fingerprint
    lance.dataset(str(where)).delete("price = 0")
    second = names()
    assert second[0] != first[0]
    assert second[1] == first[1]
    fragment_of(first[1], 999)
    with pytest.raises(RunError, match="version 999 of the dataset was cleaned up, and the fragment has changed since"):
        fragment_of(first[0], 999)
    lance.dataset(str(where)).alter_columns({"path": "price", "name": "cost"})
    assert names()[1] != first[1]


def test_a_version_that_is_cleaned_up_meanwhile_ends_the_run(tmp_path: Path) -> None:
    where = tmp_path / "x"
    source = open_source(InputConfig(written(where, photos(4), max_rows_per_file=2), keep=("price",)))
    lance.dataset(str(where)).delete("price = 0")
    lance.dataset(str(where)).cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
    lance_fragments._known.cache_clear()
    changed, same = source.shards
    with pytest.raises(RunError, match="version 1 of the dataset was cleaned up, and the fragment has changed since"):
        list(read_shard(source.for_workers(), changed))
    (table,) = read_shard(source.for_workers(), same)
    assert table[source.passthrough[0].name].to_pylist() == [2, 3]


def test_what_is_no_lance_input_is_told(tmp_path: Path) -> None:
    where = tmp_path / "x"
    name = written(where, photos(2))
    with pytest.raises(RequestError, match=rf"{where}: is a Lance dataset; its rows are read as lance:{where}"):
        open_source(InputConfig(str(where)))
    with pytest.raises(RequestError, match="--input-format parquet: a Lance dataset is read as lance"):
        open_source(InputConfig(name, "parquet"))
    (tmp_path / "a.csv").write_text("image_uri\na.jpg\n")
    with pytest.raises(RequestError, match="--input-format lance: name a Lance dataset as --input lance:URI"):
        open_source(InputConfig(str(tmp_path / "a.csv"), "lance"))
    with pytest.raises(RequestError, match=r"nosuch: cannot be opened: .*not found"):
        open_source(InputConfig(f"lance:{tmp_path}/nosuch"))
    lance.dataset(str(where)).delete("true")
    with pytest.raises(RequestError, match="the table has no data files"):
        open_source(InputConfig(name))
