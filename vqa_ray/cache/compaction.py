"""Keep a cache small: many files of a context become few, doubled entries one, and the oldest entries go.

Files are written before those that they replace are deleted, and an entry says the same wherever it stands. So a
process that dies on the way leaves doubled entries at worst, and several processes may do this at once.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.cache.directory import entry_files, write_entries
from vqa_ray.cache.entries import FILE
from vqa_ray.cache.entry_file import UNREADABLE, EntryFile, as_keys
from vqa_ray.cache.keys import KEY_BYTES
from vqa_ray.errors import one_line
from vqa_ray.storage.delete import delete
from vqa_ray.storage.filesystem import FileEntry

logger = logging.getLogger(__name__)

_CONTEXT = re.compile(r"[0-9a-f]{32}")
# A context may have this many files that are smaller than half of a merged one.
MOST_SMALL = 16
_MERGED_BYTES = 64 * 2**20
# In memory an entry takes about twice the bytes that it takes in a file.
_IN_MEMORY = 2
_SLICE_BYTES = 16 * 2**20
# What stays when the cache has grown too large, so that it does not do so again with the next entry.
_KEPT_SHARE = 0.8


def compact(uri: str, max_bytes: int) -> None:
    """Merge small files, and delete the oldest entries of a cache that is larger than `max_bytes`.

    Raises:
        OSError: as the store says.
    """
    # Other directories are of somebody else, such as the output of a run.
    files = [entry for entry in entry_files(uri) if _CONTEXT.fullmatch(_context(entry))]
    oldest = _oldest_kept(files, max_bytes)
    for context, its in groupby(files, key=_context):
        of_context = list(its)
        small = [entry for entry in of_context if entry.size_bytes < _MERGED_BYTES // 2]
        if oldest is not None:
            _merge(uri, context, of_context, oldest)
        elif len(small) > MOST_SMALL:
            # Rewriting all pays when much is new; else the new files are merged among themselves.
            is_much = 4 * _bytes(small) >= _bytes(of_context)
            _merge(uri, context, of_context if is_much else small, None)


def _context(entry: FileEntry) -> str:
    return entry.uri.rsplit("/", 2)[1]


def _bytes(files: Sequence[FileEntry]) -> int:
    return sum(entry.size_bytes for entry in files)


def _oldest_kept(files: Sequence[FileEntry], max_bytes: int) -> int | None:
    """Return the time (milliseconds of Unix) of the oldest entry that stays; None where all do."""
    total = _bytes(files)
    if total <= max_bytes:
        return None
    ages: Counter[int] = Counter()
    for file in _readable(files):
        try:
            ages.update(_ages(file))
        except FileNotFoundError:
            continue
        except UNREADABLE as error:
            logger.warning("cache: %s: is left out: %s", file.uri, one_line(error, 120))
    left = ages.total() * _KEPT_SHARE * max_bytes / total
    oldest = max(ages, default=0) + 1
    for time in sorted(ages, reverse=True):
        left -= ages[time]
        if left < 0:
            break
        oldest = time
    logger.info("the cache has %s bytes, more than --cache-max-bytes %s: the oldest answers go", total, max_bytes)
    return oldest


def _ages(file: EntryFile) -> Counter[int]:
    """Count the entries of a file by the time they were made."""
    ages: Counter[int] = Counter()
    for group in range(len(file.first)):
        times, counts = np.unique(file.read(group, ["created"])["created"].cast(pa.int64()), return_counts=True)
        ages.update(dict(zip(times.tolist(), counts.tolist(), strict=True)))
    return ages


def _readable(files: Sequence[FileEntry]) -> Iterator[EntryFile]:
    for entry in files:
        try:
            yield EntryFile(entry.uri)
        except FileNotFoundError:
            continue
        except UNREADABLE as error:
            logger.warning("cache: %s: is left out: %s", entry.uri, one_line(error, 120))


def _merge(uri: str, context: str, entries: Sequence[FileEntry], oldest: int | None) -> None:
    """Replace files by sorted ones with each key once, which do not overlap. Damaged files stay as they are."""
    files = list(_readable(entries))
    try:
        held: list[pa.Table] = []
        for table in _slices(files, _bytes(entries), oldest):
            held.append(table)
            if sum(each.nbytes for each in held) >= _IN_MEMORY * _MERGED_BYTES:
                write_entries(uri, context, pa.concat_tables(held))
                held = []
        if sum(map(len, held)):
            write_entries(uri, context, pa.concat_tables(held))
    except FileNotFoundError:
        # Another process is merging them: what is written here says the same as its files.
        return
    except UNREADABLE as error:
        logger.warning("cache: the files of %s are not merged: %s", context, one_line(error, 160))
        return
    for file in files:
        delete(file.uri)


def _slices(files: list[EntryFile], size_bytes: int, oldest: int | None) -> Iterator[pa.Table]:
    """Yield the entries of all files in the order of their keys, a range of keys at a time, each key once.

    A file that turns out to be damaged leaves the list; what it gave before stands twice then, which is no harm.

    Raises:
        FileNotFoundError: a file is gone.
    """
    count = min(256, 1 << max(0, math.ceil(math.log2(max(1, size_bytes / _SLICE_BYTES)))))
    edges = [bytes([number * 256 // count]).ljust(KEY_BYTES, b"\0") for number in range(count)]
    bounds = as_keys([*edges, b"\xff" * KEY_BYTES])
    for number in range(count):
        parts = [FILE.empty_table()]
        for file in list(files):
            try:
                parts += _within(file, bounds[number], bounds[number + 1], is_last=number == count - 1)
            except FileNotFoundError:
                raise
            except UNREADABLE as error:
                logger.warning("cache: %s: is not merged with the others: %s", file.uri, one_line(error, 120))
                files.remove(file)
        table = pa.concat_tables(parts)
        if oldest is not None:
            table = table.filter(pc.greater_equal(table["created"].cast(pa.int64()), oldest))
        table = table.sort_by([("key", "ascending"), ("created", "descending")])
        keys = as_keys(table["key"].to_pylist())
        is_new = np.ones(len(keys), bool)
        is_new[1:] = keys[1:] != keys[:-1]
        yield table.filter(pa.array(is_new))


def _within(file: EntryFile, low: bytes, high: bytes, *, is_last: bool) -> list[pa.Table]:
    """Read the entries of a file from one key on, up to another one, which the last range includes."""
    found = []
    for group in np.flatnonzero((file.last >= low) & (file.first <= high)).tolist():
        rows = file.read(group)
        keys = as_keys(rows["key"].to_pylist())
        inside = (keys >= low) & ((keys < high) | is_last)
        found.append(rows.filter(pa.array(inside)))
    return found
