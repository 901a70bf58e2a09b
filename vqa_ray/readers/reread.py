"""Rows of an input read again by their source_key, for their images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from vqa_ray.errors import ErrorCode, RowError, RunError, StoreFailure
from vqa_ray.readers.open import read_shard
from vqa_ray.readers.source import Source
from vqa_ray.schema import ROW_BITS, STATUS_OK
from vqa_ray.storage.store_errors import store_failures, store_reason, suspicion

_COLUMNS = ("source_key", "image_id", "image_uri", "image", "status", "error_code", "error_message")

# `image_id`, `image_uri` and `image` of READ; the image is at the URI where it is not embedded.
ReadRow: TypeAlias = dict[str, Any]


def reread(source: Source, keys: Iterable[int]) -> Iterator[tuple[int, ReadRow | RowError]]:
    """Yield (key, row) for each key, in any order; a RowError says why a row is not available.

    It is a `StoreFailure` where the store may be to blame. Each shard is read once and closed before the next, a table
    at a time.

    Args:
        source: the opened input.
        keys: source_keys, each once.
    """
    by_shard: dict[int, set[int]] = defaultdict(set)
    for key in keys:
        by_shard[key >> ROW_BITS].add(key)
    for shard, wanted in by_shard.items():
        yield from _of_shard(source, shard, wanted)


def _of_shard(source: Source, number: int, wanted: set[int]) -> Iterator[tuple[int, ReadRow | RowError]]:
    left = set(wanted)
    problem = RowError(ErrorCode.IMAGE_MISSING, "the image is not where it was")
    try:
        # Shards that the input has lost have no rows.
        for shard in source.shards[number : number + 1]:
            for table in read_shard(source.with_images(), shard, wanted):
                for row in table.select(_COLUMNS).to_pylist():
                    left.discard(row["source_key"])
                    yield row["source_key"], _checked(row)
    except store_failures(RunError) as error:
        is_gone, suspected = isinstance(error, FileNotFoundError), suspicion(error)
        code = ErrorCode.IMAGE_MISSING if is_gone else ErrorCode.IMAGE_FETCH_FAILED
        reason = f"the image cannot be read again: {store_reason(error, named=True)}"
        problem = StoreFailure(code, reason) if suspected else RowError(code, reason)
    yield from ((key, problem) for key in left)


def _checked(row: ReadRow) -> ReadRow | RowError:
    if row["status"] == STATUS_OK:
        return row
    return RowError(ErrorCode(row["error_code"]), row["error_message"] or "the row cannot be read")
