from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.readers.inputs import asked, open_at, rows_of, tar_bytes, write_parquet
from vqa_ray.readers import Source
from vqa_ray.readers.formats import parquet as reader

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
KEPT = ("source_key", "row_id", "image_id", "question_id", "questions", "status", "error_message")


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in KEPT if name != "row_id"} for row in rows]


def leaves_read(source: Source, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The Parquet columns that reading a source asks for."""
    asked_for: set[str] = set()
    read = reader.batches_of

    def note(opened: Any, group: int, names: Any, size: int) -> Any:
        asked_for.update(names)
        return read(opened, group, names, size)

    monkeypatch.setattr(reader, "batches_of", note)
    rows_of(source)
    return asked_for


@pytest.mark.parametrize(
    ("columns", "leaf"),
    [
        ({"image": [b"one", b"two"], "image_id": ["a", "b"]}, "image.path"),
        ({"image": pa.array([{"bytes": b"one", "path": "a"}, {"bytes": b"two", "path": "b"}], IMAGE)}, "image.path"),
    ],
)
def test_named_images_stay_where_they_are(
    tmp_path: Path, columns: dict[str, Any], leaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_parquet(tmp_path / "a.parquet", {**columns, "question": ["q", None]})
    source = open_at(file)
    rows = rows_of(source.without_images())
    assert told(rows) == told(rows_of(source))
    assert [row["image"] for row in rows] == [None, None]
    assert [row["image_id"] for row in rows] == ["a", "b"]
    names = leaves_read(source.without_images(), monkeypatch)
    assert leaf in names
    assert "image" not in names


def test_images_without_names_are_read(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"image": [b"one", b"two", None], "question": ["q"] * 3})
    source = open_at(file)
    assert rows_of(source.without_images()) == rows_of(source)
    assert rows_of(source.without_images())[2]["error_code"] == "image_missing"


def test_images_are_read_from_the_first_table_on_that_needs_them(tmp_path: Path) -> None:
    names = [None if at == 700 else f"n{at}" for at in range(1_000)]
    images = pa.array([{"bytes": b"%d" % at, "path": name} for at, name in enumerate(names)], IMAGE)
    file = write_parquet(tmp_path / "a.parquet", {"image": images, "question": ["q"] * 1_000}, row_group_size=300)
    source = open_at(file)
    rows = rows_of(source.without_images())
    assert told(rows) == told(rows_of(source))
    read = [row["image"] is not None for row in rows]
    assert read == [False] * 512 + [True] * 488


def test_the_shards_do_not_depend_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SHARD_BYTES", 2**16)
    columns = {"image": [bytes(2**10)] * 200, "image_id": [str(at) for at in range(200)], "question": ["q"] * 200}
    file = write_parquet(tmp_path / "a.parquet", columns, row_group_size=20, compression="none", use_dictionary=False)
    source = open_at(file)
    assert len(source.shards) > 2
    assert open_at(file, reads_images=False).shards == source.shards
    assert told(rows_of(source.without_images())) == told(rows_of(source))


def test_a_saved_dataset_and_members_of_a_tar(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    images = pa.array([{"bytes": b"one", "path": "a"}, {"bytes": b"two", "path": "b"}], IMAGE)
    datasets.Dataset(pa.table({"image": images, "question": ["q", "r"]})).save_to_disk(str(tmp_path / "saved"))
    members = [("a.jpg", b"image"), ("a.json", asked("q")), ("b.jpg", b"other"), ("b.json", asked("r"))]
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))
    for uri in (tmp_path / "saved", tmp_path / "a.tar"):
        source = open_at(uri)
        rows = rows_of(source.without_images())
        assert told(rows) == told(rows_of(source))
        assert [row["image"] or None for row in rows] == [None, None]
        assert rows_of(replace(source, config=replace(source.config, reads_images=True))) == rows_of(source)
