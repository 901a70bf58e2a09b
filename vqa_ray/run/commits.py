"""Which part files count: those whose rows Ray Data's checkpoint lists.

A write task leaves three traces, in this order: `NAME.pending.parquet` in the checkpoint directory of its process, the
rows as `NAME-0.parquet`, and a rename of the pending file to `NAME.parquet`. Whatever died in between is cleaned up
here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from vqa_ray.key_ranges import NOTHING, Ranges, ranges_of
from vqa_ray.run.layout import RunLayout, delete, name_of
from vqa_ray.run.tally import read_columns

_PENDING = ".pending.parquet"
_COMMITTED = ".parquet"
# pyarrow numbers the files of one write task.
_PART = re.compile(r"^(?P<task>.+)-\d+\.parquet$")


@dataclass(frozen=True, slots=True)
class Swept:
    """What `sweep` removed, by count of files."""

    parts: int
    pending: int
    commits_without_part: int


def committed_tasks(layout: RunLayout) -> dict[str, str]:
    """Write task → URI of its committed checkpoint file."""
    return {
        name.removesuffix(_COMMITTED): entry.uri
        for entry in layout.checkpoint_files()
        if (name := name_of(entry.uri)).endswith(_COMMITTED) and not name.endswith(_PENDING)
    }


def committed_keys(layout: RunLayout) -> Ranges:
    """The rows that are written: source_keys as int64 (R, 2) ranges, ascending, both ends included."""
    uris = committed_tasks(layout).values()
    keys = [read_columns(uri, ("source_key",))["source_key"].to_numpy() for uri in uris]
    return ranges_of(np.concatenate(keys)) if keys else NOTHING


def parts_by_task(layout: RunLayout) -> dict[str, list[str]]:
    """Write task → URIs of its part files."""
    found: dict[str, list[str]] = {}
    for entry in layout.part_files():
        match = _PART.match(name_of(entry.uri))
        found.setdefault(match["task"] if match else name_of(entry.uri), []).append(entry.uri)
    return found


def sweep(layout: RunLayout) -> Swept:
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
    return Swept(len(orphans), len(pending), len(lost))


def expel(layout: RunLayout, allowed: set[str], invocation: str) -> list[str]:
    """Remove what another process committed while this one was running: rows of a dead driver's last breath.

    Args:
        layout: the run directory.
        allowed: write tasks that were committed when this process began.
        invocation: what the names of this process's own part files begin with.

    Returns:
        The write tasks removed.
    """
    strangers = [task for task in committed_tasks(layout) if task not in allowed and not task.startswith(invocation)]
    commits, parts = committed_tasks(layout), parts_by_task(layout)
    for task in strangers:
        # The rows first: a commit without its part is swept at the next start.
        for uri in parts.get(task, []):
            delete(uri)
        delete(commits[task])
    return strangers
