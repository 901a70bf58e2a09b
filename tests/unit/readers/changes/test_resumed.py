"""A run goes on with the files that it began with, whatever has come, changed or gone since."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import picture, table
from vqa_ray.errors import RequestError
from vqa_ray.keys import NOTHING, ranges_of
from vqa_ray.readers import EarlierRun, InputConfig, Shard, Source, open_source, read_shard
from vqa_ray.readers.changes.reconcile import check_retried, check_unchanged, read_anew, reconcile
from vqa_ray.readers.changes.snapshot import read_snapshot, refreshed, snapshot_of, write_snapshot
from vqa_ray.readers.changes.succession import source_of, succeed
from vqa_ray.readers.source import ColumnMap, OpenedInput
from vqa_ray.schema import ROW_BITS
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import FileEntry


class Run:
    """An input, and what a run that began with it knows of it."""

    def __init__(self, place: Path) -> None:
        self.place, self.output = place, place.parent / "out"
        self.listing = str(self.output / "listing.arrow.zst")

    def begin(self) -> Source:
        source = self.open()
        write_snapshot(self.listing, snapshot_of(source))
        return source

    def open(self, uri: str = "", **earlier) -> Source:
        config = InputConfig(uri or str(self.place), needs_question=False)
        return open_source(config, EarlierRun(str(self.output), **earlier))

    def resume(self, uri: str = "", *, update: bool = False) -> Source:
        return self.open(uri, snapshot=read_snapshot(self.listing), update=update)


@pytest.fixture
def photos(tmp_path: Path) -> Run:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.jpg", "sub/c.jpg")):
        (tmp_path / "in" / name).write_bytes(picture(number))
    return Run(tmp_path / "in")


@pytest.fixture
def lines(tmp_path: Path) -> Run:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        write_lines(tmp_path / "in" / f"{name}.jsonl", name, 3)
    return Run(tmp_path / "in")


def write_lines(path: Path, name: str, count: int) -> None:
    rows = [
        json.dumps({"image_uri": f"{name}{i}.jpg", "question": "is it?", "image_id": f"{name}{i}"})
        for i in range(count)
    ]
    path.write_text("\n".join(rows) + "\n")


def names(source: Source) -> list[str]:
    return [name for shard in source.shards for name in shard.names]


def references(source: Source) -> list[str]:
    tables = [table for shard in source.shards if shard.rows != 0 for table in read_shard(source.for_workers(), shard)]
    return pa.concat_tables(tables)["image_id"].to_pylist()


def touch(path: Path) -> None:
    later = time.time() + 100
    os.utime(path, (later, later))


def done(*shards: int, rows: int = 3) -> np.ndarray:
    return ranges_of(np.concatenate([(shard << ROW_BITS) + np.arange(rows) for shard in shards]))


def test_what_is_unchanged_goes_on_without_a_word(tmp_path: Path, photos: Run) -> None:
    (tmp_path / "tables" / "in").mkdir(parents=True)
    tables = Run(tmp_path / "tables" / "in")
    write_lines(tables.place / "a.jsonl", "a", 3)
    for run in (photos, tables):
        first = run.begin()
        again = run.resume()
        assert again.drift is not None
        assert not again.drift
        assert (again.shards, again.fingerprint, again.total_rows) == (
            first.shards,
            first.fingerprint,
            first.total_rows,
        )


def test_spellings_of_the_place_are_one(photos: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = photos.begin()
    (photos.place.parent / "link").symlink_to(photos.place.parent)
    monkeypatch.chdir(photos.place.parent / "link")
    through_link = str(photos.place.parent / "link" / "in")
    for spelling in (
        through_link,
        "in",
        "./in/",
        ".//in",
        f"file://{photos.place}",
        f"../{photos.place.parent.name}/in",
    ):
        again = photos.resume(spelling)
        assert again.drift is not None, spelling
        assert not again.drift
        assert names(again) == names(first)


def test_added_photos_are_left_out_and_named(photos: Run) -> None:
    first = photos.begin()
    for number in range(5):
        (photos.place / f"a{number}.jpg").write_bytes(picture(number))
    (photos.place / "notes.txt").write_text("no input")
    again = photos.resume()
    assert again.shards == first.shards
    assert str(again.drift) == (
        "since the run began, 5 files were added (a0.jpg, a1.jpg, a2.jpg and 2 more), 0 changed, 0 gone"
    )


def test_added_photos_are_taken_in_behind_the_others(photos: Run) -> None:
    first = photos.begin()
    (photos.place / "0.jpg").write_bytes(picture(7))
    update = photos.resume(update=True)
    assert update.shards == first.shards
    after = succeed(read_snapshot(photos.listing), update, forget=False)
    again = source_of(update, after)
    assert again.shards[: len(first.shards)] == first.shards
    assert names(again) == [*names(first), "0.jpg"]
    assert [shard.index for shard in again.shards] == [0, 1]
    assert again.total_rows == 4
    assert update.drift.taken_in == ("0.jpg",)
    write_snapshot(photos.listing, after)
    assert names(photos.resume()) == names(again)
    assert not photos.resume().drift


def test_changed_and_gone_photos_are_named_and_read_as_they_are(photos: Run) -> None:
    first = photos.begin()
    (photos.place / "a.jpg").write_bytes(b"more than before" * 99)
    (photos.place / "sub" / "c.jpg").unlink()
    touch(photos.place / "b.jpg")
    again = reconcile(photos.resume(), NOTHING)
    assert names(again) == names(first)
    said = str(again.drift)
    assert "0 files were added, 1 changed (a.jpg: " in said
    assert "→ 1,584 bytes), 1 gone (sub/c.jpg), 1 has a new time but the same size (b.jpg)" in said
    assert len(references(again)) == 3


def test_a_photo_that_is_gone_is_not_one_that_was_left_out(photos: Run) -> None:
    (photos.place / "noext4").write_bytes(picture(9))
    first = photos.begin()
    assert "noext4" in names(first)
    (photos.place / "noext4").unlink()
    (photos.place / "d.jpg").write_bytes(picture(4))
    for again in (photos.resume(), photos.resume(update=True)):
        assert again.drift is not None
        assert again.drift.gone == ("noext4",)
        assert not [note for note in again.notes if "left out" in note]
        assert names(again)[: len(names(first))] == names(first)


def test_touched_tables_go_on(lines: Run) -> None:
    first = lines.begin()
    touch(lines.place / "b.jsonl")
    again = reconcile(lines.resume(), done(0, 1))
    check_unchanged(again)
    assert again.drift.touched == ("b.jsonl",)
    assert again.shards == first.shards


def test_a_table_of_the_same_size_and_other_contents_has_changed(lines: Run) -> None:
    lines.begin()
    path = lines.place / "b.jsonl"
    path.write_text(path.read_text().replace("b1", "x1"))
    touch(path)
    with pytest.raises(RequestError, match=r"b\.jsonl: written 20.*put it back as it was, or use another --output"):
        reconcile(lines.resume(), done(1, rows=1))


@pytest.mark.parametrize("end", ["", "\n"])
def test_lines_that_were_added_at_the_end_are_read(lines: Run, end: str) -> None:
    path = lines.place / "b.jsonl"
    path.write_text(path.read_text().rstrip("\n") + end)
    lines.begin()
    more = json.dumps({"image_uri": "x.jpg", "question": "is it?", "image_id": "x"})
    path.write_text(path.read_text().rstrip("\n") + "\n" + more)
    resumed = lines.resume()
    again = reconcile(resumed, done(1, rows=2))
    check_unchanged(again)
    check_retried(again, np.array([1 << ROW_BITS]))
    assert str(again.drift).startswith(
        "since the run began, 0 files were added, 0 changed, 0 gone, 1 grown at the end (b."
    )
    assert references(again) == ["a0", "a1", "a2", "b0", "b1", "b2", "x", "c0", "c1", "c2"]
    write_snapshot(lines.listing, refreshed(read_snapshot(lines.listing), again, read_anew(again, resumed, NOTHING)))
    assert not lines.resume().drift


@pytest.mark.parametrize("how", ["a line that went on", "a line before"])
def test_growth_elsewhere_is_a_change(lines: Run, how: str) -> None:
    path = lines.place / "b.jsonl"
    path.write_text(path.read_text().rstrip("\n"))
    lines.begin()
    path.write_text(path.read_text() + " \n" if how == "a line that went on" else "{}\n" + path.read_text())
    assert [each.name for each in lines.resume().drift.changed] == ["b.jsonl"]


def test_a_changed_table_with_written_rows_is_refused_by_name(lines: Run) -> None:
    lines.begin()
    before = (lines.place / "b.jsonl").read_text()
    write_lines(lines.place / "b.jsonl", "n", 5)
    with pytest.raises(RequestError, match=r"b\.jsonl: \d+ → \d+ bytes\), and 2 of its rows are written already"):
        reconcile(lines.resume(), done(1, rows=2))
    # The way out that it names.
    (lines.place / "b.jsonl").write_text(before)
    assert references(reconcile(lines.resume(), done(1, rows=2)))


def test_a_changed_table_without_written_rows_is_read_as_it_is(lines: Run) -> None:
    first = lines.begin()
    write_lines(lines.place / "b.jsonl", "n", 5)
    resumed = lines.resume()
    again = reconcile(resumed, done(0))
    assert references(again) == [f"{name}{i}" for name, count in (("a", 3), ("n", 5), ("c", 3)) for i in range(count)]
    assert [shard.index for shard in again.shards] == [shard.index for shard in first.shards]
    # From then on it belongs to the run as it is now: with rows of it written, the run still goes on.
    write_snapshot(lines.listing, refreshed(read_snapshot(lines.listing), again, read_anew(again, resumed, NOTHING)))
    assert not lines.resume().drift
    assert references(reconcile(lines.resume(), done(0, 1))) == references(again)


def test_a_table_that_is_gone_is_refused_by_name_while_rows_of_it_are_missing(lines: Run) -> None:
    lines.begin()
    (lines.place / "c.jsonl").unlink()
    with pytest.raises(RequestError, match=r"a file is gone since the run began \(c\.jsonl\), of which rows are not"):
        reconcile(lines.resume(), done(0, 1))
    write_lines(lines.place / "c.jsonl", "c", 3)
    assert len(references(reconcile(lines.resume(), done(0)))) == 9


def test_all_tables_gone(lines: Run) -> None:
    lines.begin()
    for path in lines.place.iterdir():
        path.unlink()
    (lines.place / "other.txt").write_text("x")
    with pytest.raises(RequestError, match=r"are gone \(a\.jsonl, b\.jsonl, c\.jsonl\); put them back"):
        lines.resume()


def test_parquet_tables_that_are_written_whole_may_change(tmp_path: Path) -> None:
    run = Run(tmp_path / "in")
    run.place.mkdir()
    pq.write_table(table(4), run.place / "a.parquet")
    pq.write_table(table(4, first=4), run.place / "b.parquet", row_group_size=1)
    run.begin()
    pq.write_table(table(6), run.place / "a.parquet")
    (run.place / "b.parquet").unlink()
    again = reconcile(run.resume(), done(0, 1, rows=4))
    assert len(again.drift.changed) == len(again.drift.gone) == 1
    with pytest.raises(RequestError, match=r"failed rows has changed since the run began \(a\.parquet: "):
        check_retried(again, np.array([2]))
    with pytest.raises(RequestError, match=r"gone since the run began \(b\.parquet\)"):
        check_retried(again, np.array([1 << ROW_BITS]))


def test_a_parquet_table_with_more_parts_keeps_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqa_ray.readers.formats.parquet.SHARD_ROWS", 2)
    run = Run(tmp_path / "in")
    run.place.mkdir()
    pq.write_table(table(4), run.place / "a.parquet", row_group_size=2)
    pq.write_table(table(2), run.place / "b.parquet")
    run.begin()
    pq.write_table(table(10), run.place / "a.parquet", row_group_size=2)
    again = reconcile(run.resume(), NOTHING)
    assert [(shard.index, shard.rows) for shard in again.shards] == [(0, 2), (1, 8), (2, 2)]
    assert len(references(again)) == 12
    pq.write_table(table(1), run.place / "a.parquet")
    fewer = reconcile(run.resume(), NOTHING)
    assert [(shard.index, shard.rows) for shard in fewer.shards] == [(0, 1), (1, 0), (2, 2)]
    assert len(references(fewer)) == 3


@pytest.mark.parametrize("kind", ["photos", "lines"])
def test_a_run_of_d8ecede_finds_its_files_among_those_that_came_later(kind: str, request) -> None:
    run: Run = request.getfixturevalue(kind)
    for path in run.place.rglob("*.*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    first = run.open()
    # A hidden name that stood there, and was left out, from the beginning.
    (run.place / "_DSC1.jpg").write_bytes(picture(5))
    os.utime(run.place / "_DSC1.jpg", (1_700_000_000, 1_700_000_000))
    shutil.copy(Path(first.files[0].uri), run.place / f"0.new.{first.files[0].uri.rpartition('.')[2]}")
    known = {"uri": str(run.place), "fingerprint": first.fingerprint, "started": "2024-01-01T00:00:00Z"}
    config = InputConfig(str(run.place), format=first.format, needs_question=False)
    again = open_source(config, EarlierRun(str(run.output), **known))
    assert again.shards == first.shards
    assert "0.new." in str(again.drift)
    taken = open_source(config, EarlierRun(str(run.output), **known, update=True))
    assert taken.shards == first.shards
    assert len(taken.added) == 1


def test_output_below_the_input_is_never_input(photos: Run) -> None:
    first = names(photos.open())
    photos.output = photos.place / "sub" / "answers"
    photos.output.mkdir()
    (photos.output / "part-1-0.parquet").write_bytes(b"")
    (photos.output / "x.jpg").write_bytes(picture(1))
    (photos.place / "sub" / "answers2.jpg").write_bytes(picture(1))
    wanted = [*first[:2], "sub/answers2.jpg", "sub/c.jpg"]
    assert names(photos.open()) == wanted
    assert names(photos.open(f"{photos.place}/**/*.jpg")) == wanted


def test_output_that_is_the_input_is_refused(photos: Run) -> None:
    photos.output = photos.place / "sub" / ".."
    with pytest.raises(RequestError, match="is the input itself; wanted another directory"):
        photos.open(f"{photos.place}/")


def test_very_many_photos_take_little(tmp_path: Path) -> None:
    root, count = "s3://bucket/photos", 200_000
    all_names = [f"{number % 97:02}/{number:08}.jpg" for number in range(count)]
    at = datetime(2026, 1, 1, tzinfo=UTC)
    files = tuple(FileEntry(f"{root}/{name}", 1000 + i, at, f'"{i:032x}"') for i, name in enumerate(all_names))
    shards = tuple(
        Shard(i, root, names=tuple(all_names[start : start + 256]), rows=256)
        for i, start in enumerate(range(0, count, 256))
    )
    source = Source(InputConfig(root), "images", root, shards, (), ColumnMap(), None, "f", False, files=files)
    write_snapshot(str(tmp_path / "listing"), snapshot_of(source))
    read = read_snapshot(str(tmp_path / "listing"))
    assert (tmp_path / "listing").stat().st_size < 30 * count
    assert read.shards_below(root) == shards
    assert [file.name for file in read.files] == all_names


def test_a_dataset_on_disk_goes_on(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    run = Run(tmp_path / "in")
    rows = datasets.Dataset.from_dict({"image_uri": ["a.jpg", "b.jpg"], "question": ["x?", "y?"]})
    datasets.DatasetDict({"train": rows, "test": rows.select([0])}).save_to_disk(str(run.place))
    run.place = f"{run.place}#train"
    first = run.begin()
    again = run.resume()
    assert again.shards == first.shards
    assert not again.drift


def test_a_split_grows_by_its_own_files_only(tmp_path: Path) -> None:
    run = Run(tmp_path / "in")
    run.place.mkdir()
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        pq.write_table(table(2), run.place / f"{name}.parquet")
    run.place = f"{run.place}#train"
    first = run.begin()
    for name in ("train-00001-of-00002", "test-00001-of-00002"):
        pq.write_table(table(2), tmp_path / "in" / f"{name}.parquet")
    again = run.resume()
    assert again.shards == first.shards
    assert again.drift.added == ("train-00001-of-00002.parquet",)


def test_a_dataset_on_a_hub_keeps_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shards(revision: str) -> OpenedInput:
        place = f"org/name@{revision}"
        return OpenedInput(
            (Shard(0, place, 0, 1, ("org/name", revision, "default", "train")),), ColumnMap(), revision=place
        )

    run = Run(tmp_path / "in")
    config = InputConfig("org/name", "hf", needs_question=False)
    monkeypatch.setattr("vqa_ray.readers.open.open_hub", lambda config: shards("1"))
    first = open_source(config, EarlierRun(str(run.output)))
    write_snapshot(run.listing, snapshot_of(first))
    monkeypatch.setattr("vqa_ray.readers.open.open_hub", lambda config: shards("2"))
    again = open_source(config, EarlierRun(str(run.output), read_snapshot(run.listing)))
    assert again.shards == first.shards
    assert again.notes == ("org/name: has changed since the run began, which goes on with org/name@1",)


def test_objects_that_were_put_again_are_known_by_their_etag(tmp_path: Path, s3_session: str) -> None:
    run = Run(tmp_path / "in")
    run.place = f"{s3_session}/etags"
    text = json.dumps({"image_uri": "a.jpg", "question": "is it?"}).encode()
    write_bytes_atomic(f"{run.place}/a.jsonl", text)
    first = run.begin()
    entry = read_snapshot(run.listing).files[0]
    # As the run would know an object of another time: the store tells whole seconds.
    earlier = replace(snapshot_of(first), files=(entry._replace(modified_us=entry.modified_us - 5_000_000),))
    write_snapshot(run.listing, earlier)
    write_bytes_atomic(f"{run.place}/a.jsonl", text)
    again = reconcile(run.resume(f"{run.place}/"), done(0, rows=1))
    assert again.drift.touched == ("a.jsonl",)
    write_bytes_atomic(f"{run.place}/a.jsonl", text.replace(b"a.jpg", b"b.jpg"))
    with pytest.raises(RequestError, match=r"\(a\.jsonl: written 20"):
        reconcile(run.resume(), done(0, rows=1))
