"""The next listing of a run that is updated, and the rows that it asks again, adds or takes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vqa_ray.keys import Keys, Ranges, keys_of, ranges_of, within
from vqa_ray.readers.changes.reconcile import image_keys
from vqa_ray.readers.changes.resumed import with_totals
from vqa_ray.readers.changes.snapshot import (
    FORGOTTEN,
    GONE,
    RETIRED,
    InputSnapshot,
    KnownFile,
    relative_shard,
    snapshot_of,
)
from vqa_ray.readers.source import Shard, Source
from vqa_ray.schema import ROW_BITS


@dataclass(frozen=True, slots=True)
class InputDelta:
    """What an update does to the rows of a run, as far as the files tell.

    Attributes:
        first_new: the number of the first new shard; those from there on are read whole.
        changed: int64 (N,), source_keys of image files to ask again in their places.
        gone: int64 (M,), source_keys of image files that are gone.
        retired: numbers of the shards of tables that changed or are gone; their rows are compared with the new ones.
        grown: numbers of the shards of text files with lines added at their ends.
    """

    first_new: int
    changed: Keys
    gone: Keys
    retired: tuple[int, ...]
    grown: tuple[int, ...]

    def has_work(self, snapshot: InputSnapshot) -> bool:
        """Check whether the update changes anything, given the listing after it."""
        return len(snapshot.shards) > self.first_new or any(
            len(each) for each in (self.changed, self.gone, self.retired, self.grown)
        )


def succeed(known: InputSnapshot, source: Source, *, forget: bool) -> InputSnapshot:
    """Make the listing of a run after an update.

    Args:
        known: the listing before.
        source: the input of the run, opened for an update.
        forget: whether rows of files that are gone are left out; otherwise they are marked.
    """
    drift = source.drift
    if drift is None:
        return known
    root = source.root.rstrip("/")
    renewed = {*(each.name for each in (*drift.changed, *drift.grown)), *drift.touched}
    entries = {entry.uri.removeprefix(f"{root}/"): entry for entry in source.files}
    looked_at = tuple(entries[name] for name in renewed)
    now = snapshot_of(replace(source, shards=(), files=(*looked_at, *source.added_files)))
    states = {file.name: file for file in now.files}
    gone = set(drift.gone)
    is_images = source.format == "images"
    files = list(_survivors(known.files, states, gone, (FORGOTTEN if forget else GONE) if is_images else None))
    files += now.files[len(looked_at) :]
    leaving = gone | {each.name for each in drift.changed}
    shards = list(known.shards)
    more: list[Shard] = []
    if not is_images:
        shards = [Shard(shard.index, RETIRED) if shard.uri.removeprefix("./") in leaving else shard for shard in shards]
        more += [shard for each in drift.changed for shard in source.current.get(f"{root}/{each.name}", ())]
    more += source.added
    new = (relative_shard(replace(shard, index=len(shards) + i), source.root) for i, shard in enumerate(more))
    retired = known.retired
    if is_images and forget and gone:
        keys = np.fromiter(image_keys(known.shards, gone).values(), np.int64)
        retired = with_keys(retired, keys)
    return replace(known, files=tuple(files), shards=(*shards, *new), retired=retired)


def delta_of(before: InputSnapshot, after: InputSnapshot) -> InputDelta:
    """Compare the listings of a run before and after an update, the second made by `succeed` of the first."""
    changed, gone, grown = set(), set(), set()
    if before.format == "images":
        for was, now in zip(before.files, after.files, strict=False):
            if was == now:
                continue
            if now.size_bytes < 0:
                gone.add(now.name)
            elif was.etag is None or was.etag != now.etag:
                changed.add(now.name)
        keys = image_keys(before.shards, changed | gone)
    else:
        sizes = {file.name: file.size_bytes for file in before.files}
        grown = {file.name for file in after.files if file.size_bytes != sizes.get(file.name, file.size_bytes)}
        keys = {}
    pairs = list(zip(before.shards, after.shards, strict=False))
    return InputDelta(
        first_new=len(before.shards),
        changed=_sorted(keys[name] for name in changed),
        gone=_sorted(keys[name] for name in gone),
        retired=tuple(was.index for was, now in pairs if was.uri != now.uri),
        grown=tuple(now.index for was, now in pairs if was.uri == now.uri and now.uri.removeprefix("./") in grown),
    )


def source_of(source: Source, snapshot: InputSnapshot) -> Source:
    """Give the source of a run the shards of another listing of it; it names no files."""
    bare = replace(source, files=(), drift=None, current={}, added=(), added_files=())
    return with_totals(replace(bare, shards=snapshot.shards_below(source.root), retired=snapshot.retired))


def settled(snapshot: InputSnapshot, retired: Keys, kept: Keys) -> InputSnapshot:
    """Record which keys no row has any more, and how many rows the shards without a file account for.

    Args:
        snapshot: the listing after an update.
        retired: int64 (N,), source_keys that no row has any more.
        kept: int64 (M,), source_keys of rows that stay although their shard has no file.
    """
    ranges = with_keys(snapshot.retired, retired)
    shards = []
    for shard in snapshot.shards:
        if shard.uri == RETIRED:
            first, stop = shard.index << ROW_BITS, (shard.index + 1) << ROW_BITS
            own = ranges[(ranges[:, 0] >= first) & (ranges[:, 0] < stop)]
            rows = int((own[:, 1] - own[:, 0] + 1).sum()) + int(((kept >= first) & (kept < stop)).sum())
            shard = replace(shard, rows=rows)
        shards.append(shard)
    return replace(snapshot, shards=tuple(shards), retired=ranges)


def stale_tables(pending: InputSnapshot, first_new: int, now: InputSnapshot) -> list[str]:
    """Name the tables of an update under way that have changed since it began.

    Args:
        pending: the listing after the update.
        first_new: the number of its first new shard.
        now: the listing that an update would have that begins now.
    """
    if pending.format == "images":
        return []
    read = {shard.uri.removeprefix("./") for shard in pending.shards[first_new:]}
    current = {file.name: (file.size_bytes, file.etag, file.digest) for file in now.files}
    return [
        file.name
        for file in pending.files
        if file.name in read and current.get(file.name) != (file.size_bytes, file.etag, file.digest)
    ]


def abandoned(snapshot: InputSnapshot, done: Ranges) -> Keys:
    """Return the source_keys of rows that are not written and that no file can give any more: int64 (N,).

    Args:
        snapshot: the listing of the run.
        done: int64 (R, 2) ranges of source_keys that are written, or that no row has any more.
    """
    firsts = ((shard.index << ROW_BITS, shard.rows or 0) for shard in snapshot.shards if shard.uri == RETIRED)
    every = np.concatenate([np.empty(0, np.int64), *(first + np.arange(rows) for first, rows in firsts)])
    lost: Keys = every[~within(every, done)]
    return lost


def with_keys(ranges: Ranges, keys: Keys) -> Ranges:
    """Add keys to ranges of others."""
    return ranges_of(np.concatenate([keys_of(ranges), keys]))


def _survivors(
    files: Sequence[KnownFile], states: dict[str, KnownFile], gone: set[str], mark: int | None
) -> Iterable[KnownFile]:
    for file in files:
        if file.size_bytes == FORGOTTEN:
            yield file
        elif file.name not in gone:
            yield states.get(file.name, file)
        elif mark is not None:
            yield file._replace(size_bytes=mark, modified_us=None, etag=None)


def _sorted(keys: Iterable[int]) -> Keys:
    return np.array(sorted(keys), np.int64)
