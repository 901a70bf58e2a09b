"""A cache as a process uses it: finds answers, and collects new ones until they are written."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from threading import Lock
from typing import Any

from vqa_ray.cache.directory import write_entries
from vqa_ray.cache.entries import CacheUsage, Entry, entries_of, file_table, news_cell, usage_of
from vqa_ray.cache.lookup import Lookup
from vqa_ray.storage.store_errors import store_failures, store_reason

# The latest answers of a process, which are found before a file holds them.
_REMEMBERED = 50_000


class AnswerCache:
    """Answers kept at a URI, of any number of models. Travels without what it has collected; see `of_process`.

    Args:
        uri: of a directory that `open_directory` has checked.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lock = Lock()
        self._lookups: dict[str, Lookup] = {}
        self._latest: OrderedDict[tuple[str, bytes], Entry] = OrderedDict()
        self._new: dict[tuple[str, bytes], Entry] = {}
        self._usage = CacheUsage()

    def __reduce__(self) -> tuple[Callable[[str], AnswerCache], tuple[str]]:
        return of_process, (self.uri,)

    def find(self, context: str, keys: Iterable[bytes]) -> dict[bytes, Entry]:
        """Return the entries of those keys that have one."""
        with self._lock:
            wanted = set(keys)
            found = {key: self._latest[context, key] for key in wanted if (context, key) in self._latest}
            lookup = self._lookups.setdefault(context, Lookup(self.uri, context))
            return found | lookup.find(wanted - found.keys())

    def record(self, context: str, entries: Mapping[bytes, Entry], usage: CacheUsage) -> None:
        """Collect new entries, and count what the cache was good for."""
        named = {(context, key): entry for key, entry in entries.items()}
        with self._lock:
            self._new |= named
            self._latest |= named
            while len(self._latest) > _REMEMBERED:
                self._latest.popitem(last=False)
            self._usage += usage

    def take_news(self) -> dict[str, Any]:
        """Return what was collected and counted since the last call, as a cell of `entries.NEWS`."""
        with self._lock:
            problem = next((each.problem for each in self._lookups.values() if each.problem), None)
            cell = news_cell(self._usage + CacheUsage(problem=problem), self._new)
            self._new, self._usage = {}, CacheUsage()
        return cell


@cache
def of_process(uri: str) -> AnswerCache:
    """Return the one cache of a process that was sent to it, so that whoever empties it gets what all models add."""
    return AnswerCache(uri)


def write_news(uri: str, cells: Iterable[Mapping[str, Any]]) -> CacheUsage:
    """Write new entries into files of their own, one per context, and add up the usage.

    A cache that cannot be written is told in the usage: rows are worth more than the cache.

    Args:
        uri: of the cache.
        cells: of `entries.NEWS`.
    """
    cells = list(cells)
    usage = sum(map(usage_of, cells), CacheUsage())
    try:
        for context, entries in entries_of(cells):
            write_entries(uri, context, file_table(context, entries))
    except store_failures() as error:
        usage += CacheUsage(problem=f"{uri}: cannot be written: {store_reason(error, named=True)}")
    return usage
