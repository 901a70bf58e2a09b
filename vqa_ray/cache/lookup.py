"""Entries of one context found by key, in bounded memory however many there are."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from vqa_ray.cache.directory import entry_files
from vqa_ray.cache.entries import Entry, check_of
from vqa_ray.cache.entry_file import UNREADABLE, EntryFile, KeyArray, as_keys
from vqa_ray.errors import one_line
from vqa_ray.storage.store_errors import store_failures
from vqa_ray.storage.uri import join

logger = logging.getLogger(__name__)

T = TypeVar("T")

_REFRESH_S = 60.0
# Files added since the first listing: each may hold any key, so more would cost more than they give.
_MOST_ADDED = 64
BUDGET_BYTES = 384 * 2**20
_READS_AT_ONCE = 16


class Lookup:
    """Finds entries in the files of a context. Keys and values are read by row group and forgotten when many are held.

    A damaged file, or one of something else, is named in a warning and left out: its entries are not found.

    Args:
        uri: of the cache.
        context: see `vqa_ray.cache.keys.context_key`.
        budget_bytes: of what is held.
    """

    def __init__(self, uri: str, context: str, budget_bytes: int = BUDGET_BYTES) -> None:
        self._uri, self._context = join(uri, context), context
        self._budget_bytes = budget_bytes
        self._files: dict[str, EntryFile] = {}
        self._left_out: set[str] = set()
        self._added = 0
        self._listed_at: float | None = None
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._held_bytes = 0
        self.problem: str | None = None

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Entry]:
        """Return the entries of those keys that have one."""
        wanted = as_keys(sorted(set(keys)))
        found: dict[bytes, Entry] = {}
        if len(wanted):
            self._refresh()
            for file, group, rows in self._matches(wanted):
                found |= self._entries(file, group, rows)
        return found

    def _refresh(self) -> None:
        """List the files, at first and from time to time."""
        now = time.monotonic()
        if self._listed_at is not None and now - self._listed_at < _REFRESH_S:
            return
        is_first, self._listed_at = self._listed_at is None, now
        try:
            there = {entry.uri for entry in entry_files(self._uri)}
        except store_failures() as error:
            self._tell(self._uri, error)
            return
        self._files = {uri: file for uri, file in self._files.items() if uri in there}
        new = sorted(there - self._files.keys() - self._left_out)
        if not is_first:
            new = new[: max(0, _MOST_ADDED - self._added)]
            self._added += len(new)
        for uri, file in zip(new, _in_parallel(self._opened, new), strict=True):
            if file is not None:
                self._files[uri] = file

    def _opened(self, uri: str) -> EntryFile | None:
        return self._read(uri, lambda: EntryFile(uri))

    def _matches(self, wanted: KeyArray) -> list[tuple[EntryFile, int, list[int]]]:
        """Return (file, row group, rows in it) of the wanted keys."""
        candidates = [(file, *each) for file in self._files.values() for each in file.groups_of(wanted)]
        keys = self._load("key", [(file, group) for file, group, _ in candidates], lambda file, group: file.keys(group))
        found = []
        for (file, group, part), held in zip(candidates, keys, strict=True):
            if held is not None:
                places = np.minimum(np.searchsorted(held, wanted[part]), len(held) - 1)
                rows = places[held[places] == wanted[part]]
                if len(rows):
                    found.append((file, group, rows.tolist()))
        self._load("row", [(file, group) for file, group, _ in found], lambda file, group: file.read(group))
        return found

    def _entries(self, file: EntryFile, group: int, rows: Sequence[int]) -> dict[bytes, Entry]:
        (table,) = self._load("row", [(file, group)], lambda file, group: file.read(group))
        if table is None:
            return {}
        found = {}
        try:
            for row in table.take(rows).to_pylist():
                entry = Entry(row["value"], row["seconds"])
                if check_of(self._context, row["key"], entry) != row["check"]:
                    raise ValueError("an entry is not what was written")
                found[row["key"]] = entry
        except UNREADABLE as error:
            self._leave_out(file.uri, error)
            return {}
        return found

    def _load(
        self, what: str, groups: Sequence[tuple[EntryFile, int]], read: Callable[[EntryFile, int], T]
    ) -> list[T | None]:
        """Read parts of row groups, those that are not held at the same time; None for one that cannot be read."""
        missing = [each for each in groups if (what, each[0].uri, each[1]) not in self._held]
        loaded = _in_parallel(lambda each: self._read(each[0].uri, lambda: read(*each)), missing)
        fresh = dict(zip(((what, file.uri, group) for file, group in missing), loaded, strict=True))
        found: list[T | None] = []
        for file, group in groups:
            name = (what, file.uri, group)
            if name in self._held:
                self._held.move_to_end(name)
            found.append(self._held[name][0] if name in self._held else fresh[name])
        for name, part in fresh.items():
            if part is not None:
                size: int = part.nbytes  # type: ignore[attr-defined]
                self._held[name] = part, size
                self._held_bytes += size
        while self._held_bytes > self._budget_bytes:
            self._held_bytes -= self._held.popitem(last=False)[1][1]
        return found

    def _read(self, uri: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except FileNotFoundError:
            # Another process has merged it into a file that the next listing shows.
            self._files.pop(uri, None)
            self._listed_at = None if self._listed_at is None else self._listed_at - _REFRESH_S
        except (*UNREADABLE, *store_failures()) as error:
            self._leave_out(uri, error)
        return None

    def _leave_out(self, uri: str, error: Exception) -> None:
        self._files.pop(uri, None)
        if uri not in self._left_out:
            self._left_out.add(uri)
            self._tell(uri, error)

    def _tell(self, uri: str, error: Exception) -> None:
        told = f"{uri}: is left out: {one_line(error, 120)}"
        logger.warning("%s", told)
        self.problem = self.problem or told


def _in_parallel(call: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
    if len(items) < 2:
        return [call(each) for each in items]
    with ThreadPoolExecutor(min(len(items), _READS_AT_ONCE)) as pool:
        return list(pool.map(call, items))
