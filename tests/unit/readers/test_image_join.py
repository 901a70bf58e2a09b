"""Rows find their images by a key: in folders, tables, archives; what is not found is an error row."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.coloured import picture, webdataset_input
from vqa_ray.errors import RequestError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.readers import InputConfig, open_source, read_shard
from vqa_ray.readers.image_join import locations as places
from vqa_ray.readers.image_join.image_table import locations, open_table
from vqa_ray.readers.image_join.locations import Keys, Location, find_locations, write_locations
from vqa_ray.readers.source import Shard
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.join_images import JoinImages

COUNT = 12
PICTURES = {f"{number:05}": picture(number, (40 + number, 30)) for number in range(COUNT)}


def _folder(directory: Path) -> tuple[Path, str | None]:
    for number, (sku, data) in enumerate(PICTURES.items()):
        file = directory / "photos" / str(number % 3) / f"{sku}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return directory / "photos", None


def _bytes(directory: Path) -> tuple[Path, str | None]:
    columns = {"code": [int(sku) for sku in PICTURES], "image": list(PICTURES.values())}
    pq.write_table(pa.table(columns), directory / "bytes.parquet", row_group_size=5)
    return directory / "bytes.parquet", "code"


def _references(directory: Path) -> tuple[Path, str | None]:
    _folder(directory)
    rows = [{"sku": sku, "image_uri": f"photos/{number % 3}/{sku}.jpg"} for number, sku in enumerate(PICTURES)]
    (directory / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return directory / "table.jsonl", None


def _archive(directory: Path) -> tuple[Path, str | None]:
    return webdataset_input(directory / "photos.tar", COUNT), None


Made = Callable[[Path], tuple[Path, str | None]]


def _rows(directory: Path, keys: list[object]) -> pa.Table:
    """READ rows of a table with a key and no image."""
    path = directory / "rows.parquet"
    pq.write_table(pa.table({"sku": keys, "title": [f"t{number}" for number in range(len(keys))]}), path)
    config = InputConfig(
        str(path),
        columns={"image_id": "sku"},
        keep=("title",),
        needs_question=False,
        needs_image=False,
        reads_images=False,
    )
    source = open_source(config)
    return pa.concat_tables(table for shard in source.shards for table in read_shard(source.for_workers(), shard))


def _joined(directory: Path, made: Made, keys: list[object]) -> pa.Table:
    table, column = made(directory)
    source = open_table(str(table), column, "sku")
    write_locations(str(directory / "keys"), locations(source))
    join = JoinImages(str(directory / "keys"), str(table), "sku", {"": source.for_workers()})
    return FetchImages(ImageFetcher(2**20, allow_http=False))(join(_rows(directory, keys)))


@pytest.mark.parametrize(
    ("made", "spell"),
    [
        pytest.param(_folder, str, id="folder"),
        pytest.param(_bytes, int, id="bytes"),
        pytest.param(_references, str, id="references"),
        pytest.param(_archive, str, id="archive"),
    ],
)
def test_a_row_gets_the_image_of_its_key(tmp_path: Path, made: Made, spell: Callable[[str], object]) -> None:
    order = [*reversed(PICTURES), "00003", "00003"]
    keys = [spell(sku) for sku in order]
    joined = _joined(tmp_path, made, keys)
    assert joined["status"].to_pylist() == ["ok"] * len(order)
    assert joined["title"].to_pylist() == [f"t{number}" for number in range(len(order))]
    wanted = {sku: picture(int(sku)) for sku in PICTURES} if made is _archive else PICTURES
    assert joined["image"].to_pylist() == [wanted[sku] for sku in order]
    assert joined["image_id"].to_pylist() == [str(key) for key in keys]
    has_uri = made in (_folder, _references)
    assert all((uri is not None) == has_uri for uri in joined["image_uri"].to_pylist())


def test_a_key_without_an_image_and_no_key_are_errors_of_their_rows(tmp_path: Path) -> None:
    joined = _joined(tmp_path, _folder, ["00001", "elsewhere", None])
    assert joined["status"].to_pylist() == ["ok", "error", "error"]
    assert joined["error_code"].to_pylist()[1:] == ["image_missing"] * 2
    missing, null = joined["error_message"].to_pylist()[1:]
    assert missing == f"no image 'elsewhere' in {tmp_path}/photos"
    assert null == "column 'sku' is null: it names the image"


def test_an_image_that_has_gone_is_an_error_of_its_row(tmp_path: Path) -> None:
    table, column = _bytes(tmp_path)
    source = open_table(str(table), column, "sku")
    write_locations(str(tmp_path / "keys"), locations(source))
    table.unlink()
    joined = JoinImages(str(tmp_path / "keys"), str(table), "sku", {"": source.for_workers()})(_rows(tmp_path, [1, 2]))
    assert joined["error_code"].to_pylist() == ["image_missing"] * 2


def test_the_first_image_of_a_repeated_key_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_KEYS_PER_FILE", 3)
    located = [(key, Location(f"/{number}.jpg")) for number, key in enumerate("aabacdeafa")]
    assert write_locations(str(tmp_path / "keys"), located) == Keys(6, 4, "a")
    found = dict(find_locations(str(tmp_path / "keys"), "abcdefg"))
    assert {key: place.uri for key, place in found.items()} == {
        key: f"/{'aabacdeafa'.index(key)}.jpg" for key in "abcdef"
    }


@given(st.text(), st.text(), st.integers(0, 2**40), st.lists(st.text(), max_size=2))
def test_a_location_survives(uri: str, source: str, number: int, names: list[str]) -> None:
    for place in (Location(uri), Location(None, source, Shard(0, uri, 1, 2, tuple(names), 7), number)):
        assert Location.from_json(place.to_json()) == place


def test_a_table_without_the_key_is_refused(tmp_path: Path) -> None:
    table, _ = _bytes(tmp_path)
    with pytest.raises(RequestError, match="no column 'sku'"):
        open_table(str(table), None, "sku")


def test_rows_in_error_of_the_image_table_have_no_image(tmp_path: Path) -> None:
    (tmp_path / "table.jsonl").write_text('{"sku": "a", "image_uri": "a.jpg"}\n{"sku": \n')
    source = open_table(str(tmp_path / "table.jsonl"), None, "sku")
    found: Mapping[str, Location] = dict(locations(source))
    assert list(found) == ["a"]


def test_a_store_that_fails_is_not_the_fault_of_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[pa.Table]:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        yield

    monkeypatch.setattr("vqa_ray.readers.reread.read_shard", broken)
    with pytest.raises(OSError, match=r"bytes\.parquet: the image cannot be read again: .*reset by peer"):
        _joined(tmp_path, _bytes, [1])
