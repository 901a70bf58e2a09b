"""Read the rest of a run whose input has changed: each row must come back, once and its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from vqa_ray.keys import Keys, Ranges, between, size, within
from vqa_ray.readers.changes.drift import named
from vqa_ray.readers.changes.resumed import with_totals
from vqa_ray.readers.source import Shard, Source, request_error
from vqa_ray.schema import ROW_BITS


def reconcile(source: Source, done: Ranges) -> Source:
    """Read what is left of a run as it is now, where that is safe.

    An image file is one row, whatever it holds; one that is gone becomes an error row. The rows of a table are known by
    their places: a table that has changed is read anew if none of its rows is written yet.

    Args:
        source: of the run; see `Source.drift`.
        done: int64 (R, 2) ranges of source_keys that are written already.

    Raises:
        RequestError: a table of which rows are written has changed, or one with rows left is gone; it is named.
    """
    drift = source.drift
    if drift is None or source.format == "images":
        return source
    shards = list(source.shards)
    for each in drift.changed:
        uri = f"{source.root.rstrip('/')}/{each.name}"
        own = [shard for shard in source.shards if shard.uri == uri]
        written = sum(size(_within(done, shard)) for shard in own)
        if _is_complete(own, written):
            continue
        now = None if written else _fitted(source.current.get(uri, ()), own)
        if now is None:
            what = f"and {written:,} of its rows are written already" if written else "and has more parts than before"
            raise request_error(
                f"{source.config.uri}: a file has changed since the run began ({each}), {what}, so its rows cannot be "
                "told apart; put it back as it was, or use another --output for the input as it is now"
            )
        for shard in own:
            shards[shard.index] = now.get(shard.index, replace(shard, stop=shard.start, rows=0))
    _check_gone(source, [shard for shard in source.shards if not _is_complete([shard], size(_within(done, shard)))])
    return with_totals(replace(source, shards=tuple(shards)))


def read_anew(source: Source, before: Source, done: Ranges) -> list[str]:
    """Name the files that are read as they are now, although they changed since the run began.

    Args:
        source: `reconcile(before, done)`.
        before: the source as the run began with it.
        done: int64 (R, 2) ranges of source_keys that are written already.
    """
    if source.drift is None:
        return []
    if source.format == "images":
        keys = image_keys(source.shards, {each.name for each in source.drift.changed})
        return [name for name, key in keys.items() if not within(np.array([key]), done).any()]
    was = {shard.index: shard for shard in before.shards}
    uris = {shard.uri for shard in source.shards if was.get(shard.index) != shard}
    root = source.root.rstrip("/")
    changed = [each.name for each in source.drift.changed if f"{root}/{each.name}" in uris]
    return [*changed, *(each.name for each in source.drift.grown)]


def image_keys(shards: Sequence[Shard], names: Collection[str]) -> dict[str, int]:
    """Return the source_keys of image files by their names; of a name that stands twice, the later one."""
    found = {}
    for shard in shards:
        for number, name in enumerate(shard.names):
            if name in names:
                found[name] = (shard.index << ROW_BITS) + number
    return found


def check_retried(source: Source, keys: Keys) -> None:
    """Refuse to answer rows again whose table has changed, or is gone: their places may be those of others.

    Args:
        source: of the run.
        keys: int64 (N,), source_keys of the rows.

    Raises:
        RequestError: as above; the file is named.
    """
    if source.drift is None or source.format == "images":
        return
    touched = set(np.unique(keys >> ROW_BITS).tolist())
    shards = [shard for shard in source.shards if shard.index in touched]
    root = source.root.rstrip("/")
    changed = [each for each in source.drift.changed if any(shard.uri == f"{root}/{each.name}" for shard in shards)]
    if changed:
        raise request_error(
            f"{source.config.uri}: a file with failed rows has changed since the run began ({changed[0]}), so that its "
            "rows cannot be told apart; put it back as it was, or use another --output for the input as it is now"
        )
    _check_gone(source, shards)


def check_unchanged(source: Source) -> None:
    """Refuse any change of a table: for what reads its input again and again.

    Raises:
        RequestError: one has changed or is gone; it is named.
    """
    keys = np.array([shard.index << ROW_BITS for shard in source.shards], np.int64)
    check_retried(source, keys)


def _check_gone(source: Source, needed: Sequence[Shard]) -> None:
    assert source.drift is not None
    root = source.root.rstrip("/")
    uris = {shard.uri for shard in needed}
    gone = [name for name in source.drift.gone if f"{root}/{name}" in uris]
    if gone:
        are = "a file is gone" if len(gone) == 1 else f"{len(gone)} files are gone"
        raise request_error(
            f"{source.config.uri}: {are} since the run began{named(gone)}, of which rows are not written yet; put back "
            "what is gone, or use another --output for what is there now"
        )


def _within(done: Ranges, shard: Shard) -> Ranges:
    return between(done, shard.index << ROW_BITS, (shard.index + 1) << ROW_BITS)


def _is_complete(shards: Sequence[Shard], written: int) -> bool:
    """Check whether all rows of these shards are written; where only reading tells their number, no."""
    return all(shard.rows is not None for shard in shards) and written == sum(shard.rows or 0 for shard in shards)


def _fitted(now: Sequence[Shard], own: Sequence[Shard]) -> dict[int, Shard] | None:
    """Return the shards of a file as it is now under its earlier numbers; None where there are too few of these."""
    if not now:
        return None
    if len(now) > len(own):
        head, tail = now[: len(own) - 1], now[len(own) - 1 :]
        follows = all(one.stop == other.start and one.stop for one, other in pairwise(tail))
        if not follows:
            return None
        rows = None if any(shard.rows is None for shard in tail) else sum(shard.rows or 0 for shard in tail)
        last = replace(tail[0], stop=tail[-1].stop, rows=rows, size_bytes=sum(shard.size_bytes for shard in tail))
        now = (*head, last)
    return {old.index: replace(new, index=old.index) for old, new in zip(own, now, strict=False)}
