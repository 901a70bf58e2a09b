"""Committed part files: those whose rows Ray Data's checkpoint lists.

A write task leaves three traces, in this order: `NAME.pending.pq` in the checkpoint directory of its process, the
rows as `NAME-0.parquet`, and a rename of the pending file to `NAME.pq`. Whatever died in between is cleaned up here.
In runs from before, the files of the checkpoint end in `.parquet`; rows of a retry end in `.pq` as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vqa_ray.keys import NOTHING, Keys, Ranges, ranges_of
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.delete import delete
from vqa_ray.storage.uri import name_of

_PENDING = (".pending.pq", ".pending.parquet")
_COMMITTED = re.compile(r"\.(pq|parquet)$")
# pyarrow numbers the files of one write task.
_PART = re.compile(r"^(?P<task>.+)-\d+\.(pq|parquet)$")


@dataclass(frozen=True, slots=True)
class CleanedOutput:
    """Counts of files that `clean_uncommitted` removed."""

    parts: int
    pending: int
    commits_without_part: int


def committed_tasks(layout: RunDirectory) -> dict[str, str]:
    """Write task → URI of its committed checkpoint file."""
    return {
        _COMMITTED.sub("", name): entry.uri
        for entry in layout.checkpoint_files()
        if _COMMITTED.search(name := name_of(entry.uri)) and not name.endswith(_PENDING)
    }


def committed_keys(layout: RunDirectory) -> Ranges:
    """Return the rows that are written: source_keys as int64 (R, 2) ranges, ascending, both ends included."""
    keys = list(keys_by_task(layout).values())
    return ranges_of(np.concatenate(keys)) if keys else NOTHING


def keys_by_task(layout: RunDirectory) -> dict[str, Keys]:
    """Write task → the source_keys that it committed, int64 (N,)."""
    return {task: _source_keys(uri) for task, uri in sorted(committed_tasks(layout).items())}


def parts_by_task(layout: RunDirectory) -> dict[str, list[str]]:
    """Write task → URIs of its part files."""
    found: dict[str, list[str]] = {}
    for entry in layout.part_files():
        match = _PART.match(name_of(entry.uri))
        found.setdefault(match["task"] if match else name_of(entry.uri), []).append(entry.uri)
    return found


def lost_tasks(layout: RunDirectory) -> list[str]:
    """Return the write tasks whose committed rows somebody deleted, in alphabetical order."""
    return sorted(committed_tasks(layout).keys() - parts_by_task(layout).keys())


def clean_uncommitted(layout: RunDirectory) -> CleanedOutput:
    """Make part files and checkpoint agree: call it while nobody writes.

    Removed are part files that were never committed, pending checkpoint files, and commits whose part file is gone
    (somebody deleted it: its rows are answered again).
    """
    committed, parts = committed_tasks(layout), parts_by_task(layout)
    orphans = [uri for task, uris in parts.items() if task not in committed for uri in uris]
    pending = [entry.uri for entry in layout.checkpoint_files() if entry.uri.endswith(_PENDING)]
    lost = [uri for task, uri in committed.items() if task not in parts]
    # Parts go before the pending file that names them, so that a death in between can be swept again.
    for uri in (*orphans, *lost, *pending):
        delete(uri)
    return CleanedOutput(len(orphans), len(pending), len(lost))


def remove_repeated_rows(layout: RunDirectory, keys_of: Mapping[str, Keys]) -> int:
    """Keep one copy of each row that is committed more than once: call it while nobody writes.

    A process that was taken for dead can commit rows after another one has set out to write them, too. No row is lost:
    what goes stands in another committed file. Doing it again after a death in the middle changes nothing.

    Args:
        layout: the run directory.
        keys_of: its `keys_by_task`.

    Returns:
        How many copies were removed.
    """
    every = np.sort(np.concatenate([np.empty(0, np.int64), *keys_of.values()]))
    repeated = np.unique(every[1:][every[1:] == every[:-1]])
    if not len(repeated):
        return 0
    commits, parts = committed_tasks(layout), parts_by_task(layout)
    removed, kept = 0, np.empty(0, np.int64)
    for task, keys in keys_of.items():
        mine = np.intersect1d(keys, repeated)
        surplus = np.intersect1d(mine, kept)
        kept = np.union1d(kept, mine)
        if len(surplus):
            removed += len(surplus)
            # The rows first: until the commit is rewritten it names rows that stand elsewhere.
            for uri in (*parts.get(task, []), commits[task]):
                _remove_rows(uri, surplus)
    return removed


def _remove_rows(uri: str, keys: Keys) -> None:
    table = read_columns(uri)
    rest = table.filter(pa.array(~np.isin(table["source_key"].to_numpy(), keys)))
    if not rest.num_rows:
        delete(uri)
    elif rest.num_rows < table.num_rows:
        write_table_atomic(uri, rest)


def _source_keys(uri: str) -> Keys:
    keys: Keys = read_columns(uri, ("source_key",))["source_key"].to_numpy()
    return keys
