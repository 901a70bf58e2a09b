"""What of an input is new to an index."""

from __future__ import annotations

import os
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray.index import input_files as sources
from vqa_ray.index.input_files import (
    Difference,
    completely_written,
    difference,
    planned_files,
    restrict,
    unchanged_since,
)
from vqa_ray.keys import NOTHING, ranges_of
from vqa_ray.readers import InputConfig, Source, open_source
from vqa_ray.stages.read import limits_for


def images(directory: Path, *names: str) -> Source:
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_bytes(name.encode())
    return open_source(InputConfig(str(directory), needs_question=False))


def tables(directory: Path, sizes: dict[str, int], group_rows: int = 1_500) -> Source:
    """Parquet files of so many rows, with row groups that make a shard each."""
    directory.mkdir(exist_ok=True)
    for name, rows in sizes.items():
        table = pa.table({"image_uri": [f"{name}-{row}.jpg" for row in range(rows)]})
        pq.write_table(table, directory / name, row_group_size=group_rows)
    return open_source(InputConfig(str(directory), needs_question=False))


def test_a_difference_names_what_is_new_changed_and_gone(tmp_path: Path) -> None:
    known = planned_files(images(tmp_path, "a.png", "b.png", "c.png", "d.png"), "u1")
    assert not difference(known, open_source(InputConfig(str(tmp_path), needs_question=False)))
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").write_bytes(b"longer than it was")
    os.utime(tmp_path / "c.png", (1, 1))
    found = difference(known, images(tmp_path, "e.png"))
    assert found == Difference(
        added=(f"{tmp_path}/e.png",), changed=(f"{tmp_path}/b.png", f"{tmp_path}/c.png"), gone=(f"{tmp_path}/a.png",)
    )


def test_an_input_is_the_same_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = planned_files(images(tmp_path / "in", "a.png", "b.png"), "u1")
    (tmp_path / "in" / "a.png").unlink()
    monkeypatch.chdir(tmp_path)
    for uri in ("in", "./in/", f"file://{tmp_path}/in"):
        assert difference(known, open_source(InputConfig(uri, needs_question=False))).gone == (f"{tmp_path}/in/a.png",)
    # Of another input nothing is gone.
    assert difference(known, images(tmp_path / "other", "x.png")).gone == ()


def test_restricted_to_some_files_they_are_numbered_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SHARD_FILES", 2)
    source = images(tmp_path, *(f"{letter}.png" for letter in "abcdefg"))
    wanted = [f"{tmp_path}/{letter}.png" for letter in "bcfg"]
    some = restrict(source, wanted)
    assert [shard.names for shard in some.shards] == [("b.png", "c.png"), ("f.png", "g.png")]
    assert ([shard.index for shard in some.shards], some.total_rows, some.shards[0].size_bytes) == ([0, 1], 4, 10)
    assert some.fingerprint == source.fingerprint
    planned = planned_files(some, "u2")
    assert planned["uri"].to_pylist() == wanted
    assert planned["first_key"].to_pylist() == planned["last_key"].to_pylist() == [0, 1, 1 << 32, (1 << 32) + 1]


def test_a_file_of_several_shards_is_one_source(tmp_path: Path) -> None:
    source = restrict(tables(tmp_path, {"a.parquet": 3_000, "b.parquet": 10}), {f"{tmp_path}/a.parquet"})
    planned = planned_files(source, "u1")
    assert planned["uri"].to_pylist() == [f"{tmp_path}/a.parquet"] * 2
    keys = sources.keys_by_update(planned, planned["uri"].to_pylist())
    assert keys["u1"].tolist() == [[0, 1_499], [1 << 32, (1 << 32) + 1_499]]


def test_finished_is_what_is_written_whole(tmp_path: Path) -> None:
    planned = planned_files(tables(tmp_path, {"a.parquet": 3_000, "b.parquet": 10}), "u1")
    first = np.arange(1_500)
    assert completely_written(planned, NOTHING).num_rows == 0
    assert completely_written(planned, ranges_of(first)).num_rows == 0, "its second shard is missing"
    both = np.concatenate([first, (1 << 32) + first])
    assert set(completely_written(planned, ranges_of(both))["uri"].to_pylist()) == {f"{tmp_path}/a.parquet"}
    assert completely_written(planned, ranges_of(both[:-1])).num_rows == 0
    # Of lines, nobody knows how many there should be.
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "a.jsonl").write_text('{"image_uri": "x.jpg"}\n')
    lines = planned_files(open_source(InputConfig(str(tmp_path / "lines"), needs_question=False)), "u1")
    assert completely_written(lines, ranges_of(np.arange(5))).num_rows == 0


def test_what_has_changed_since_it_was_planned_is_not_current(tmp_path: Path) -> None:
    source = images(tmp_path, "a.png", "b.png", "c.png")
    planned = planned_files(source, "u1")
    (tmp_path / "b.png").write_bytes(b"longer than it was")
    now = open_source(InputConfig(str(tmp_path), needs_question=False))
    uris = {f"{tmp_path}/{name}" for name in ("a.png", "b.png")}
    assert unchanged_since(planned, now, uris)["uri"].to_pylist() == [f"{tmp_path}/a.png"]


def test_what_a_limit_cuts_is_read_again(tmp_path: Path) -> None:
    source = images(tmp_path / "images", "a.png", "b.png", "c.png")
    assert planned_files(source, "u1", limits_for(source, 2))["uri"].to_pylist() == [
        f"{tmp_path}/images/{name}" for name in ("a.png", "b.png")
    ]
    rows = tables(tmp_path / "tables", {"a.parquet": 10, "b.parquet": 10, "c.parquet": 10})
    known = planned_files(rows, "u1", limits_for(rows, 15))
    assert known["size_bytes"].to_pylist()[1] == sources.IN_PART
    found = difference(known, rows)
    assert found.changed == (f"{tmp_path}/tables/b.parquet",)
    assert found.added == (f"{tmp_path}/tables/c.parquet",)


def test_a_table_is_one_input_from_anywhere_and_in_all_its_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    for directory in (tmp_path, Path("/")):
        monkeypatch.chdir(directory)
        names |= {
            sources.input_name(f"{kind}:/data/t{version}") for kind in ("delta", "lance") for version in ("", "@3")
        }
    assert names == {"delta:/data/t", "lance:/data/t"}
    assert sources.input_name("iceberg:shop.photos.tags@5") == "iceberg:shop.photos.tags"


def test_a_fragment_of_lance_that_changes_is_another_file(tmp_path: Path) -> None:
    where = str(tmp_path / "x.lance")
    lance.write_dataset(pa.table({"image": [b"a", b"b", b"c", b"d"]}), where, max_rows_per_file=2)
    before = open_source(InputConfig(f"lance:{where}", needs_question=False))
    known = planned_files(before, "u1")
    assert not difference(known, before)
    lance.dataset(where).delete("image = X'61'")
    now = open_source(InputConfig(f"lance:{where}", needs_question=False))
    found = difference(known, now)
    (first, _), (second, same) = ([file.uri for file in each.files] for each in (before, now))
    assert found == Difference(added=(second,), gone=(first,))
    assert same in known["uri"].to_pylist()
