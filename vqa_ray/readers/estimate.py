"""Estimate how many rows an input has where only reading it tells, from the beginnings of a few of its files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from vqa_ray.format_names import Format
from vqa_ray.readers.damage import DAMAGE, is_stored, watched_stream
from vqa_ray.readers.formats.csv import delimiter_of, records_of
from vqa_ray.readers.formats.json_lines import json_lines
from vqa_ray.readers.formats.webdataset import rows_in
from vqa_ray.readers.source import Shard, Source

logger = logging.getLogger(__name__)

_Count = Callable[[BinaryIO, Source, Shard], Iterator[object]]
_BYTES_PER_FILE = 8 * 2**20
_FILES = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """Rows of an input.

    Attributes:
        rows: how many.
        is_exact: whether all of its files were read to their ends.
    """

    rows: int
    is_exact: bool


def estimate_rows(source: Source) -> Estimate | None:
    """Count the rows in the first 8 MiB of up to three files, and scale them up by bytes.

    Returns:
        None where the format does not lend itself to it, or nothing can be read.
    """
    count = _COUNTERS.get(source.format)
    unknown = [shard for shard in source.shards if shard.rows is None]
    if count is None or not unknown:
        return None
    known = sum(shard.rows or 0 for shard in source.shards)
    chosen = sorted({0, len(unknown) // 2, len(unknown) - 1})[:_FILES]
    rows = read_bytes = 0
    whole = len(chosen) == len(unknown)
    for number in chosen:
        shard = unknown[number]
        more, position = _beginning(source, shard, count)
        rows, read_bytes = rows + more, read_bytes + min(position, shard.size_bytes)
        whole = whole and position >= shard.size_bytes
    if not rows or not read_bytes:
        return None
    total_bytes = sum(shard.size_bytes for shard in unknown)
    return Estimate(known + (rows if whole else round(rows * total_bytes / read_bytes)), whole)


def _beginning(source: Source, shard: Shard, count: _Count) -> tuple[int, int]:
    """Rows at the beginning of a file, and the stored bytes that they take; all bytes where it was read to its end."""
    rows = position = 0
    settled = (0, 0)
    try:
        with watched_stream(shard.uri) as (file, stored):
            is_plain = is_stored(file)
            tell = file.tell if is_plain else stored.tell
            for _ in count(file, source, shard):
                rows += 1
                before, position = position, tell()
                if is_plain:
                    settled = (rows, position)
                elif position > before > 0:
                    # A decompressor reads ahead; when it asks for more, it has used what it got before.
                    settled = (rows, before)
                if position >= _BYTES_PER_FILE and settled[0]:
                    return settled
            return rows, shard.size_bytes
    except DAMAGE as error:
        logger.debug("%s: the number of rows is not estimated any further: %s", shard.uri, error)
        return settled


def _jsonl(file: BinaryIO, source: Source, _: Shard) -> Iterator[object]:
    return iter(json_lines(file, source.config.encoding))


def _csv(file: BinaryIO, source: Source, shard: Shard) -> Iterator[object]:
    records = records_of(file, delimiter_of(shard.uri), source.config.encoding)
    next(records, None)
    return records


def _webdataset(file: BinaryIO, _: Source, __: Shard) -> Iterator[object]:
    return rows_in(file)


_COUNTERS: dict[Format, _Count] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "webdataset": _webdataset,
}
