"""Versions: published once, whole or not used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.indexes import random_vectors, write_index
from vqa_ray.errors import RequestError
from vqa_ray.index import version as versions
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.reader import Index, open_index
from vqa_ray.index.version import AnnState, Version
from vqa_ray.storage.atomic import create


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return write_index(tmp_path / "index", random_vectors(10, 4), failed=[2])


def publish_next(index: Index, number: int) -> Version:
    version = replace(index.version, number=number)
    assert versions.publish(index.layout, version)
    return version


def test_it_is_read_as_it_was_written(index: Index) -> None:
    version = replace(index.version, ann=AnnState("ann-x.lance", 3, 9, 9, 4, 2, 1))
    assert Version.from_bytes(version.to_bytes()) == version


def test_the_highest_one_counts_and_is_published_once(index: Index) -> None:
    second = publish_next(index, 2)
    assert versions.latest(index.layout) == second
    assert not versions.publish(index.layout, replace(second, rows=1))
    assert open_index(index.uri).version == second
    assert open_index(index.uri, 1).version == index.version


def test_a_half_written_one_is_told_and_the_one_before_it_used(index: Index, caplog: pytest.LogCaptureFixture) -> None:
    whole = publish_next(index, 2).to_bytes()
    Path(index.layout.version(3)).write_bytes(whole[: len(whole) // 2])
    Path(index.layout.version(4)).write_text("{}")
    assert open_index(index.uri).version.number == 2
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "version 4 cannot be read (not a version of an index); version 2 is used" in told[0]
    assert "version 3 cannot be read (" in told[1]
    with pytest.raises(RequestError, match="version 3 cannot be read"):
        open_index(index.uri, 3)


@pytest.mark.parametrize(("harm", "told"), [("delete", "is missing"), ("cut", "has another size")])
def test_one_whose_files_are_not_whole_is_not_used(
    index: Index, harm: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    extra = write_index(Path(index.uri).parent / "other", random_vectors(3, 4), files=1).version.files[0]
    source, target = (
        Path(index.uri).parent / "other" / extra.path,
        Path(index.layout.path("updates/000002-x/part-a.parquet")),
    )
    target.parent.mkdir(parents=True)
    target.write_bytes(source.read_bytes())
    file = replace(extra, path="updates/000002-x/part-a.parquet", update="000002-x")
    version = replace(index.version, number=2, files=(*index.version.files, file), rows=13, ok=12)
    assert versions.publish(index.layout, version)
    assert len(open_index(index.uri)) == 13
    if harm == "delete":
        target.unlink()
    else:
        target.write_bytes(target.read_bytes()[:-10])
    assert open_index(index.uri).version.number == 1
    assert f"version 2 is broken: updates/000002-x/part-a.parquet {told}; version 1 is used" in caplog.text


def test_no_index_no_version_no_whole_version(index: Index, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nowhere: no such directory or prefix; expected an index"):
        open_index(str(tmp_path / "nowhere"))
    with pytest.raises(RequestError, match="no version 7; the versions are: 1"):
        open_index(index.uri, 7)
    Path(index.file_uri(index.version.files[0])).unlink()
    with pytest.raises(RequestError, match="no version of this index is whole: version 1 is broken"):
        open_index(index.uri)


def test_another_format_is_refused(index: Index) -> None:
    content = json.loads(index.version.to_bytes()) | {"format": 99}
    assert create(index.layout.version(2), json.dumps(content).encode())
    with pytest.raises(RequestError, match="reads format 1"):
        open_index(index.uri)


def test_of_two_that_create_a_file_one_does(tmp_path: Path) -> None:
    uri = str(tmp_path / "deep" / "file.json")
    assert create(uri, b"first")
    assert not create(uri, b"second")
    assert Path(uri).read_bytes() == b"first"
    assert [path.name for path in Path(uri).parent.iterdir()] == ["file.json"]


def test_a_name_above_the_index_may_be_called_updates(tmp_path: Path) -> None:
    index = write_index(tmp_path / "updates" / "updates", random_vectors(4, 4))
    assert IndexDirectory(index.uri).update_names() == ["000001-arrays00"]
    assert len(open_index(f"file://{index.uri}")) == 4
