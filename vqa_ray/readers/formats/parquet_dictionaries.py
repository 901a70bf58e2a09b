"""Sizes of the dictionaries of Parquet columns: a value that a file holds once may stand in every row.

A page begins with a header in Thrift's compact protocol, whose first two fields are the type of the page and its size
uncompressed (https://parquet.apache.org/docs/file-format/metadata/#page-header).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from pyarrow import parquet

# Repeated values of a batch together, at most.
_BATCH_BYTES = 64 * 2**20
# Two fields of type i32, each the next in number: a byte for both, then up to five of the value.
_I32_FIELD = 0x15
_HEADER_BYTES = 12


def rows_within(file: BinaryIO, group: parquet.RowGroupMetaData, leaves: Sequence[int], rows: int) -> int:
    """Return the rows to take at once, so that they are small even where each repeats the largest value.

    Args:
        file: of the row group; read at the dictionaries where these may matter.
        group: the row group.
        leaves: the columns that are read.
        rows: the rows to take at once otherwise.
    """
    columns = [group.column(i) for i in leaves]
    coded = [column for column in columns if column.has_dictionary_page]
    if sum(column.total_uncompressed_size for column in coded) * rows <= _BATCH_BYTES:
        return rows
    size_bytes = sum(_size(file, column.dictionary_page_offset) for column in coded)
    return max(1, min(rows, _BATCH_BYTES // max(size_bytes, 1)))


def _size(file: BinaryIO, offset: int) -> int:
    """Return the uncompressed size of the page at an offset; 0 where no page begins, which reading it will find."""
    file.seek(offset)
    header = file.read(_HEADER_BYTES)
    place, value = 0, 0
    for _ in range(2):
        if header[place : place + 1] != bytes([_I32_FIELD]):
            return 0
        value, shift, place = 0, 0, place + 1
        while place < len(header):
            value |= (header[place] & 0x7F) << shift
            shift, place = shift + 7, place + 1
            if header[place - 1] < 0x80:
                break
    return value >> 1
