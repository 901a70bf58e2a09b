"""The records of one split, of a file that holds several."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator

from vqa_ray.errors import RequestError
from vqa_ray.readers.benchmarks.documents import Found
from vqa_ray.readers.benchmarks.fields import KEY, either, first, inner
from vqa_ray.storage.filesystem import exists, read_bytes

# Split → keys of records: ScienceQA's file beside its problems.
_KEYS = "pid_splits.json"
_STATED = either(first("split", "data_split"), inner("metadata", "split"))


def of_split(records: Iterator[Found], split: str, uri: str) -> Iterator[Found]:
    """Yield the records of a split and what cannot be read.

    Args:
        records: of a file.
        split: as `pid_splits.json` beside the file calls it, else as the records state it.
        uri: the file.
    """
    keys = _keys(posixpath.join(posixpath.dirname(uri), _KEYS), split)
    for found in records:
        record = found.record
        if record is None or (record.get(KEY) in keys if keys else str(_STATED(record)) == split):
            yield found


def _keys(uri: str, split: str) -> frozenset[str]:
    if not exists(uri):
        return frozenset()
    try:
        splits = json.loads(read_bytes(uri))
        return frozenset(map(str, splits.get(split, ())))
    except (ValueError, AttributeError, TypeError) as error:
        raise RequestError(f"{uri}: is no object of splits and keys: {error}") from error
