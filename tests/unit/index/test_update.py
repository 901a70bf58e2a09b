"""Updates: whatever happens to an input, the index is what a full build of it would be."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import dataset

from tests.helpers.index_updates import BROKEN, DATE, DIMENSION, KIND, opened, update, vector_of
from tests.helpers.indexes import random_vectors, write_index
from vqa_ray.errors import RunError
from vqa_ray.index import version as versions
from vqa_ray.index.garbage import clean_up, expose
from vqa_ray.index.input_files import NONE
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.reader import Index, open_index
from vqa_ray.index.update import VersionDelta, apply, check_vectors, conflicting_ids, read_sources
from vqa_ray.index.version import Update
from vqa_ray.keys import ranges_of
from vqa_ray.report.dataset_card import data_files
from vqa_ray.runs.directory import FOR_DATASETS
from vqa_ray.storage.atomic import write_bytes_atomic

NAMES = [f"{number}.png" for number in range(6)]
# What one file holds: an image, another, or something broken; None for no file.
CONTENTS = st.sampled_from([None, b"one", b"two", b"three", BROKEN])
STATES = st.lists(
    st.fixed_dictionaries(dict.fromkeys(NAMES, CONTENTS)).filter(lambda state: any(state.values())),
    min_size=1,
    max_size=4,
)


def write_images(directory: Path, state: dict[str, bytes | None], time: int) -> None:
    """Make the directory hold these files; one that stays as it was keeps its time."""
    directory.mkdir(exist_ok=True)
    for name, content in state.items():
        path = directory / name
        if content is None:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
            os.utime(path, (time, time))


def write_tables(directory: Path, state: dict[str, bytes | None], time: int) -> None:
    """As `write_images`, with a table of two rows instead of a file: the image, and always the same one."""
    directory.mkdir(exist_ok=True)
    for name, content in state.items():
        path = directory / name.replace("png", "parquet")
        if content is None:
            path.unlink(missing_ok=True)
            continue
        ids = [f"{name}-{row}" for row in range(2)]
        table = pa.table({"image_id": ids, "image": [content, b"constant " + name.encode()]})
        if not path.exists() or pq.read_table(path) != table:
            pq.write_table(table, path)
            os.utime(path, (time, time))


def content(index: Index) -> list[tuple[object, ...]]:
    """What an index says of every image, in a fixed order: of each that has a vector, that vector."""
    vectors, positions = index.vectors()
    of = {position: row.tobytes() for position, row in zip(positions.tolist(), vectors, strict=True)}
    rows = index.rows().to_pylist()
    return sorted((r["image_id"], r["row_id"], r["status"], r["sha256"], of.get(i)) for i, r in enumerate(rows))


@pytest.mark.parametrize("write", [write_images, write_tables])
@settings(max_examples=12, deadline=None)
@given(states=STATES)
def test_updates_come_to_what_a_full_build_gives(write, states: list[dict[str, bytes | None]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place, layout = Path(scratch), IndexDirectory(f"{scratch}/index")
        for time, state in enumerate(states, start=1):
            write(place / "in", state, time)
            version = update(layout, opened(place / "in"))
        full = IndexDirectory(f"{scratch}/full")
        update(full, opened(place / "in"))
        index, whole = open_index(layout.uri), open_index(full.uri)
        assert content(index) == content(whole)
        # The vectors are those of the images that the rows name.
        vectors, positions = index.vectors()
        if write is write_images:
            for vector, position in zip(vectors, positions.tolist(), strict=True):
                data = Path(index.rows(["image_uri"])["image_uri"][position].as_py()).read_bytes()
                assert np.array_equal(vector, vector_of(data))
        # Every row has a place of its own, and its source says which.
        keys = [(file.update, key) for file in version.files for key in _keys(layout, file.path)]
        assert len(keys) == len(set(keys)) == version.rows
        known = read_sources(layout, version).to_pylist()
        for name, key in keys:
            assert sum(s["update"] == name and s["first_key"] <= key <= s["last_key"] for s in known) == 1


def _keys(layout: IndexDirectory, path: str) -> list[int]:
    return pq.read_table(layout.path(path), columns=["source_key"])["source_key"].to_pylist()


def test_what_has_not_changed_is_not_read(tmp_path: Path) -> None:
    layout, place = IndexDirectory(str(tmp_path / "index")), tmp_path / "in"
    write_images(place, dict.fromkeys(NAMES, b"one"), 1)
    first = update(layout, opened(place))
    assert update(layout, opened(place)) is not None
    assert layout.version_numbers() == [1]
    write_images(place, {NAMES[2]: b"other", "new.png": b"one"}, 2)
    (place / NAMES[3]).unlink()
    second = update(layout, opened(place))
    written = [path.name for path in sorted((tmp_path / "index" / "updates" / "000002-test0000").glob("*.parquet"))]
    assert written == ["part-000.parquet", "rewritten-000000.parquet", "rewritten-000001.parquet"]
    assert pq.read_metadata(layout.path(second.files[-1].path)).num_rows == 2
    assert (second.updates[-1].added, second.updates[-1].replaced, second.updates[-1].removed) == (1, 1, 1)
    # Readers of the first version find it as it was.
    assert content(open_index(layout.uri, 1)) == content(Index(layout, first))


def test_readers_of_all_parquet_find_the_current_rows(tmp_path: Path) -> None:
    layout, place = IndexDirectory(str(tmp_path / "index")), tmp_path / "in"
    write_images(place, dict.fromkeys(NAMES, b"one"), 1)
    first = update(layout, opened(place))
    before = content(open_index(layout.uri))
    write_images(place, {NAMES[2]: b"other", "new.png": b"one"}, 2)
    (place / NAMES[3]).unlink()
    second = update(layout, opened(place))
    held = Index(layout, first)
    for _ in range(2):
        expose(layout, second)
        clean_up(layout, second, first)
    # What only the first version has is read under its private name, by whoever had it open as well.
    assert [path.name for path in (tmp_path / "index").glob("updates/*1-*/_*.pq")] != []
    assert content(held) == content(open_index(layout.uri, 1)) == before
    assert held.take([0], ["row_id"]).num_rows == 1
    assert len(held.vectors()[0]) == first.ok
    wanted = sorted(open_index(layout.uri).rows(["row_id"])["row_id"].to_pylist())
    files = [str(path) for path in (tmp_path / "index").glob("**/*.parquet")]
    assert sorted(layout.path(file.path) for file in second.files) == sorted(files)
    # pandas and pyarrow read every file whose name does not begin with "_" or ".".
    assert sorted(dataset.dataset(layout.uri).to_table(["row_id"])["row_id"].to_pylist()) == wanted
    write_bytes_atomic(layout.path(FOR_DATASETS), data_files([file.path for file in second.files]).encode())
    loaded = datasets.load_dataset(layout.uri, split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(loaded["row_id"]) == wanted
    # The next update removes them.
    (place / NAMES[2]).unlink()
    third = update(layout, opened(place))
    clean_up(layout, third, second)
    assert layout.version_numbers() == [2, 3]
    assert versions.read(layout, 2) == second
    assert len(list((tmp_path / "index").glob("updates/*/*.p*q*"))) == len(
        {file.path for version in (second, third) for file in version.files}
    )


def test_rows_of_an_update_under_way_have_private_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, place = IndexDirectory(str(tmp_path / "index")), tmp_path / "in"
    write_images(place, dict.fromkeys(NAMES, b"one"), 1)
    first = update(layout, opened(place))
    assert found(tmp_path / "index") == {file.path for file in first.files}
    write_images(place, {NAMES[2]: b"other", "new.png": b"one"}, 2)

    def killed(*_: object) -> bool:
        assert found(tmp_path / "index") == {file.path for file in first.files}
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(versions, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            update(layout, opened(place))
    # The next command leaves the files of the interrupted update to it.
    (unfinished,) = set(layout.update_names()) - {update.name for update in first.updates}
    before = [entry.uri for entry in layout.update(unfinished).part_files()]
    expose(layout, first)
    assert before == [entry.uri for entry in layout.update(unfinished).part_files()] != []
    # Killed right after publishing: ours read the new version, and the next command names its files.
    with monkeypatch.context() as patch:
        patch.setattr("tests.helpers.index_updates.expose", lambda *_: None)
        second = update(layout, opened(place))
    assert found(tmp_path / "index") == {file.path for file in first.files}
    assert len(content(open_index(layout.uri))) == len(NAMES) + 1
    expose(layout, second)
    assert found(tmp_path / "index") == {file.path for file in second.files}
    assert len(content(Index(layout, first))) == len(NAMES)


def found(index: Path) -> set[str]:
    """What readers of `**/*.parquet` find."""
    return {path.relative_to(index).as_posix() for path in index.glob("**/*.parquet")}


def test_another_input_joins_and_a_missing_one_stays(tmp_path: Path) -> None:
    layout = IndexDirectory(str(tmp_path / "index"))
    write_images(tmp_path / "a", {"1.png": b"one"}, 1)
    write_images(tmp_path / "b", {"1.png": b"two", "2.png": b"three"}, 1)
    update(layout, opened(tmp_path / "a"))
    version = update(layout, opened(tmp_path / "b"))
    assert version.rows == 3
    # Both call an image 1.png: one identity, two images.
    assert conflicting_ids(layout, version.files) == 1
    (tmp_path / "b" / "1.png").unlink()
    assert update(layout, opened(tmp_path / "b")).rows == 2


def test_an_index_can_become_empty(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index", random_vectors(5, DIMENSION))
    name = index.version.files[0].update
    change = VersionDelta(
        update=Update("000002-empty000", DATE, "in", 0, 0, 5),
        drop={name: ranges_of(np.arange(5))},
        parts=[],
        read_as="000002-empty000",
        sources=NONE,
    )
    version = apply(index.layout, index.version, KIND, change, DATE)
    assert versions.publish(index.layout, version)
    empty = open_index(index.uri)
    assert (len(empty), empty.version.ok, empty.columns) == (0, 0, index.columns)
    assert empty.vectors()[0].shape == (0, DIMENSION)
    assert empty.rows().num_rows == 0


@pytest.mark.parametrize("fault", [np.nan, np.inf, 0.0, 2.0])
def test_vectors_that_are_no_vectors_never_enter(fault: float) -> None:
    vectors = random_vectors(4, 3, vectors=2)
    check_vectors(vectors, 3, "part")
    vectors[2, 3:] = fault
    with pytest.raises(RunError, match="part: 1 rows have a vector of a length other than 1"):
        check_vectors(vectors, 3, "part")


def test_a_part_with_nan_is_not_published(tmp_path: Path) -> None:
    vectors = random_vectors(4, DIMENSION)
    vectors[1, 0] = np.nan
    index = write_index(tmp_path / "broken", vectors)
    parts = [index.file_uri(file) for file in index.version.files]
    change = VersionDelta(Update("000001-nan00000", DATE, "in", 4, 0, 0), {}, parts, "000001-nan00000", NONE)
    with pytest.raises(RunError, match="length other than 1, such as nan"):
        apply(IndexDirectory(str(tmp_path / "index")), None, KIND, change, DATE)
    assert not (tmp_path / "index").exists()
