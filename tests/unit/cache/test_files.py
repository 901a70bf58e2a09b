"""The files of a cache: found again, damaged, foreign, merged, bounded, written by several at once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray.cache import answer_cache, compaction, lookup
from vqa_ray.cache.answer_cache import AnswerCache, write_news
from vqa_ray.cache.compaction import compact
from vqa_ray.cache.directory import MARKER, entry_files, open_directory
from vqa_ray.cache.entries import CacheUsage, Entry, attach, detach, entries_of, usage_of
from vqa_ray.cache.keys import context_key
from vqa_ray.errors import RequestError
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.uri import join

CONTEXT = context_key({"model": "a"})
PLENTY = 10**12


@pytest.fixture(params=["disk", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "disk":
        yield str(tmp_path / "cache")
    else:
        yield f"{request.getfixturevalue('s3_session')}/{tmp_path.name}"


def _entries(count: int, seed: int = 0) -> dict[bytes, Entry]:
    source = random.Random(seed)
    return {
        source.randbytes(32): Entry(json.dumps({"scores": [source.random()]}), source.random()) for _ in range(count)
    }


def _add(uri: str, entries: dict[bytes, Entry], context: str = CONTEXT) -> CacheUsage:
    cache = AnswerCache(uri)
    cache.record(context, entries, CacheUsage(1, 2, 3.0))
    return write_news(uri, [cache.take_news()])


def _found(uri: str, keys: object, context: str = CONTEXT) -> dict[bytes, str]:
    return {key: entry.value for key, entry in AnswerCache(uri).find(context, keys).items()}


def _values(entries: dict[bytes, Entry]) -> dict[bytes, str]:
    return {key: entry.value for key, entry in entries.items()}


def test_entries_are_found_again_by_their_context_alone(uri: str) -> None:
    open_directory(uri)
    entries = {**_entries(5000), b"\0" * 32: Entry('{"scores":[0.0]}', 0.0), b"\xff" * 32: Entry('{"scores":[1.0]}', 9)}
    assert _add(uri, entries) == CacheUsage(1, 2, 3.0)
    missing = list(_entries(100, seed=1))
    assert _found(uri, [*entries, *missing]) == _values(entries)
    assert _found(uri, entries, context_key({"model": "b"})) == {}
    open_directory(uri)


def test_entries_are_found_before_a_file_holds_them_and_written_once(tmp_path: Path) -> None:
    uri, entries = str(tmp_path), _entries(3)
    open_directory(uri)
    cache = AnswerCache(uri)
    cache.record(CONTEXT, entries, CacheUsage())
    assert cache.find(CONTEXT, entries) == entries
    assert len(cache.take_news()["entries"]) == 3
    assert cache.take_news()["entries"] == []


def test_a_process_sees_after_a_while_what_others_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, entries = str(tmp_path), _entries(3)
    open_directory(uri)
    cache = AnswerCache(uri)
    assert cache.find(CONTEXT, entries) == {}
    _add(uri, entries)
    assert cache.find(CONTEXT, entries) == {}
    monkeypatch.setattr(lookup, "_REFRESH_S", 0.0)
    assert set(cache.find(CONTEXT, entries)) == set(entries)


def test_a_process_remembers_and_takes_in_no_more_than_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, entries = str(tmp_path), _entries(5)
    open_directory(uri)
    monkeypatch.setattr(answer_cache, "_REMEMBERED", 2)
    monkeypatch.setattr(lookup, "_REFRESH_S", 0.0)
    monkeypatch.setattr(lookup, "_MOST_ADDED", 1)
    cache = AnswerCache(uri)
    cache.record(CONTEXT, entries, CacheUsage())
    assert cache.find(CONTEXT, entries) == dict(list(entries.items())[3:]), "the latest"
    for seed in (1, 2):
        _add(uri, _entries(5, seed))
    assert len(cache.find(CONTEXT, [*_entries(5, 1), *_entries(5, 2)])) == 5, "one file of the two that others added"


def test_lookups_hold_no_more_than_their_budget(tmp_path: Path) -> None:
    uri, entries = str(tmp_path), _entries(20_000)
    open_directory(uri)
    _add(uri, entries)
    held = lookup.Lookup(uri, CONTEXT, 100_000)
    for start in range(0, 20_000, 500):
        keys = list(entries)[start : start + 500]
        assert held.find(keys) == {key: (entries[key].value, pytest.approx(entries[key].seconds)) for key in keys}
        assert held._held_bytes <= 100_000


def test_a_damaged_file_never_gives_a_wrong_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri, entries = str(tmp_path / "cache"), _entries(40)
    open_directory(uri)
    _add(uri, entries)
    (file,) = (Path(entry.uri) for entry in entry_files(uri))
    sound, source = file.read_bytes(), random.Random(3)
    lost = 0
    for _ in range(400):
        damaged = bytearray(sound)
        damaged[source.randrange(len(sound))] ^= 1 << source.randrange(8)
        file.write_bytes(damaged)
        caplog.clear()
        found = _found(uri, entries)
        assert found.items() <= _values(entries).items()
        if len(found) < len(entries):
            lost += 1
            # A key that is damaged is another key; all else is noticed, in one line.
            assert len(found) == len(entries) - 1 or len(caplog.messages) == 1
    assert lost > 200


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 10])
def test_a_file_that_is_no_parquet_is_left_out(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    uri, entries = str(tmp_path), _entries(5)
    open_directory(uri)
    _add(uri, entries)
    Path(uri, CONTEXT, "torn.parquet").write_bytes(content)
    pq.write_table(pa.table({"key": [1, 2]}), Path(uri, CONTEXT, "foreign.parquet"))
    cache = AnswerCache(uri)
    assert {key: entry.value for key, entry in cache.find(CONTEXT, entries).items()} == _values(entries)
    assert len([each for each in caplog.messages if "is left out" in each]) == 2
    assert "is left out" in cache.take_news()["problem"]


def test_entries_of_one_context_moved_to_another_are_not_found(tmp_path: Path) -> None:
    uri, entries, other = str(tmp_path), _entries(5), context_key({"model": "b"})
    open_directory(uri)
    _add(uri, entries)
    Path(uri, CONTEXT).rename(Path(uri, other))
    assert _found(uri, entries, other) == {}


def test_a_directory_of_something_else_is_refused(uri: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(RequestError, match=r"--cache .*in: holds files that are not of an answer cache \(photo.jpg\)"):
        open_directory(str(tmp_path / "in"))
    open_directory(uri)
    write_bytes_atomic(join(uri, MARKER), b'{"format": 7}')
    with pytest.raises(RequestError, match="format 7 of another version of vqa-ray; this one reads and writes 1"):
        open_directory(uri)
    write_bytes_atomic(join(uri, MARKER), b"[")
    with pytest.raises(RequestError, match=r"answer_cache\.json is damaged"):
        open_directory(uri)


def test_a_cache_that_cannot_be_written_is_told_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    usage = _add(str(tmp_path / "cache"), _entries(1))
    assert usage.problem is not None
    assert "cannot be written" in usage.problem
    with pytest.raises(RequestError, match="--cache"):
        open_directory(str(tmp_path / "cache"))


def test_merging_keeps_every_entry_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_SMALL", 3)
    monkeypatch.setattr(compaction, "_MERGED_BYTES", 60_000)
    monkeypatch.setattr(compaction, "_SLICE_BYTES", 20_000)
    open_directory(uri)
    entries = {**_entries(2000), b"\xff" * 32: Entry('{"scores":[1.0]}', 1.0)}
    keys = list(entries)
    for start in range(0, 2000, 250):
        # Each overlaps the next.
        _add(uri, {key: entries[key] for key in [*keys[start : start + 300], keys[-1]]})
    compact(uri, PLENTY)
    files = entry_files(uri)
    assert len(files) < 8
    tables = [pq.read_table(pa.BufferReader(_bytes(entry.uri))) for entry in files]
    assert sorted(key for table in tables for key in table["key"].to_pylist()) == sorted(keys)
    assert _found(uri, keys) == _values(entries)
    # Files do not overlap: a key is looked for in one of them.
    ranges = sorted((table["key"][0].as_py(), table["key"][-1].as_py()) for table in tables)
    assert all(last < first for (_, last), (first, _) in pairwise(ranges))


def test_the_oldest_entries_go_when_a_cache_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = str(tmp_path)
    open_directory(uri)
    old, new = _entries(3000, 1), _entries(3000, 2)
    for entries, now in ((old, 1000.0), (new, 2000.0)):
        monkeypatch.setattr("vqa_ray.cache.entries.time.time", lambda now=now: now)
        _add(uri, entries)
    total = sum(entry.size_bytes for entry in entry_files(uri))
    compact(uri, total)
    assert len(_found(uri, [*old, *new])) == 6000
    compact(uri, int(total * 0.7))
    assert _found(uri, [*old, *new]) == _values(new)
    compact(uri, 10)
    assert _found(uri, [*old, *new]) == {}


def test_a_damaged_file_is_not_merged_and_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compaction, "MOST_SMALL", 1)
    uri, entries = str(tmp_path), _entries(10)
    open_directory(uri)
    _add(uri, entries)
    _add(uri, _entries(10, 1))
    torn = Path(uri, CONTEXT, "torn.parquet")
    torn.write_bytes(b"PAR1")
    compact(uri, PLENTY)
    assert torn.exists()
    assert len(entry_files(uri)) == 2
    assert _found(uri, entries) == _values(entries)
    # The output of a run, say.
    (tmp_path / "run").mkdir()
    pq.write_table(pa.table({"row_id": [1]}), tmp_path / "run" / "part-0.parquet")
    caplog.clear()
    compact(uri, 1)
    assert (tmp_path / "run" / "part-0.parquet").exists()
    assert [each for each in caplog.messages if "part-0" in each] == []


def test_a_file_with_damaged_entries_does_not_keep_the_others_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compaction, "MOST_SMALL", 2)
    uri, entries = str(tmp_path), _entries(40)
    open_directory(uri)
    _add(uri, _entries(40, 1))
    (file,) = entry_files(uri)
    damaged, sound = Path(file.uri), Path(file.uri).read_bytes()
    footer = 8 + int.from_bytes(sound[-8:-4], "little")
    damaged.write_bytes(sound[:4] + bytes(byte ^ 0x55 for byte in sound[4:-footer]) + sound[-footer:])
    for start in range(0, 40, 10):
        _add(uri, dict(list(entries.items())[start : start + 10]))
    compact(uri, PLENTY)
    assert len(entry_files(uri)) == 2
    assert damaged.exists()
    (told,) = [each for each in caplog.messages if "is not merged with the others" in each]
    assert str(damaged) in told
    assert _found(uri, entries) == _values(entries)
    caplog.clear()
    compact(uri, 10)
    assert damaged.exists()
    assert f"{damaged}: is left out" in caplog.text
    assert _found(uri, entries) == {}


def test_writers_readers_and_mergers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_SMALL", 2)
    monkeypatch.setattr(lookup, "_REFRESH_S", 0.0)
    uri = str(tmp_path)
    open_directory(uri)
    written = [_entries(50, seed) for seed in range(24)]
    known = {key: entry.value for entries in written for key, entry in entries.items()}
    reader = AnswerCache(uri)

    def work(number: int) -> None:
        _add(uri, written[number])
        found = reader.find(CONTEXT, known)
        assert all(known[key] == entry.value for key, entry in found.items())
        compact(uri, PLENTY)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(24)))
    assert _found(uri, known) == known


def _bytes(uri: str) -> bytes:
    return read_bytes(uri)


def test_news_of_several_calls_travel_in_few_rows() -> None:
    cells = []
    for seed in range(3):
        cache = AnswerCache("unused")
        cache.record(CONTEXT, _entries(2, seed), CacheUsage(seed, 1, 0.5))
        cells.append(cache.take_news())
    for rows in (1, 2, 5):
        table = attach(pa.table({"row": list(range(rows))}), cells)
        rest, news = detach(table)
        assert rest.equals(pa.table({"row": list(range(rows))}))
        assert sum(map(usage_of, news), CacheUsage()) == CacheUsage(3, 3, 1.5)
        ((context, entries),) = entries_of(news)
        assert (context, len(entries)) == (CONTEXT, 6)
