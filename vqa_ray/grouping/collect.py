"""The groups of a run, collected from its part files in bounded memory and written as one Parquet file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.grouping.rule import Combiner, Row
from vqa_ray.runs.part_files import read_columns, row_count
from vqa_ray.schema import STATUS, STATUS_ERROR, STATUS_OK, error_cells
from vqa_ray.storage.atomic import open_atomic

# Parquet under a name that no reader takes for rows of the run.
GROUPS_FILE = "_groups.pq"
_PHOTO = (pa.field("row_id", pa.int64()), pa.field("image_id", pa.string()), pa.field("image_uri", pa.string()))
_CODE = STATUS[1]
# What a group was asked stands in it even without a result.
_ASKED = ("question", "question_index")
# Rows that are held at a time.
_ROWS = 200_000


@dataclass(slots=True)
class GroupCounts:
    """Counts over groups.

    Attributes:
        groups, failed: groups, and those of them without a result.
        photos: rows of groups.
        ungrouped: rows with null in the column.
    """

    groups: int = 0
    failed: int = 0
    photos: int = 0
    ungrouped: int = 0


def group_schema(column: pa.Field, combiner: Combiner) -> pa.Schema:
    """Return the columns of groups.

    Args:
        column: what the rows of a group have in common.
        combiner: of their results.

    Raises:
        RequestError: the column cannot be grouped by, or has the name of another one.
    """
    if pa.types.is_nested(column.type):
        raise RequestError(f"--group-by {column.name}: is {column.type}; wanted is text, a number or a date")
    evidence = pa.list_(pa.struct([*_PHOTO, *combiner.evidence, _CODE]))
    counts = [pa.field("photos", pa.int32()), pa.field("answered", pa.int32()), pa.field("evidence", evidence)]
    own = [*combiner.form, *counts, *STATUS]
    if column.name in [each.name for each in own]:
        raise RequestError(
            f"--group-by {column.name}: a product has a column of that name; keep yours under another one: "
            f"--keep product={column.name}"
        )
    return pa.schema([column, *own])


def write_groups(uri: str, parts: Sequence[str], column: pa.Field, combiner: Combiner) -> GroupCounts:
    """Combine the rows of part files that have the same value in a column, and write a row for each group.

    Args:
        uri: of the file to write.
        parts: the part files of a run.
        column: of the part files.
        combiner: of results.
    """
    form, counts = group_schema(column, combiner), GroupCounts()
    # Dates and times as numbers: Python does not hold all of them (beyond the year 9999, in a zone unknown here).
    countable = form.set(form.get_field_index(column.name), column.with_type(_countable(column.type)))
    read = [column.name, *(each.name for each in (*_PHOTO, *STATUS, *combiner.evidence)), *combiner.further]
    with (
        TemporaryDirectory() as directory,
        open_atomic(uri) as sink,
        parquet.ParquetWriter(sink, form, compression="zstd") as writer,
    ):
        for rows in _buckets(parts, [*read, "source_key"], column.name, Path(directory), counts):
            groups = [_group(each, column.name, combiner) for each in _grouped(rows, column.name)]
            counts.groups += len(groups)
            counts.failed += sum(each["status"] == STATUS_ERROR for each in groups)
            if groups:
                writer.write_table(pa.Table.from_pylist(groups, countable).cast(form))
    return counts


def _group(rows: Sequence[Row], column: str, combiner: Combiner) -> dict[str, Any]:
    answered = [row for row in rows if row["status"] == STATUS_OK]
    names = [each.name for each in (*_PHOTO, *combiner.evidence, _CODE)]
    cells: dict[str, Any] = {
        **{each.name: rows[0].get(each.name) for each in combiner.form},
        column: rows[0][column],
        "photos": len(rows),
        "answered": len(answered),
        "evidence": [{name: row.get(name) for name in names} for row in rows],
        "status": STATUS_OK,
        "error_code": None,
        "error_message": None,
    }
    try:
        return cells | combiner.combine(_usable(rows, answered, combiner.rule))
    except RowError as error:
        return cells | {each.name: None for each in combiner.form if each.name not in _ASKED} | error_cells(error)


def _usable(rows: Sequence[Row], answered: Sequence[Row], rule: str) -> Sequence[Row]:
    """Return the rows that have a say.

    Raises:
        RowError: there are none, or the rule wants all of them.
    """
    failed = next((row for row in rows if row["status"] == STATUS_ERROR), None)
    if failed is not None and (rule == "all" or not answered):
        count = len(rows) - len(answered)
        raise RowError(
            ErrorCode(failed["error_code"]), f"{count} of {len(rows)} photos failed: {failed['error_message']}"
        )
    return answered


def _grouped(rows: pa.Table, column: str) -> list[list[Row]]:
    """Gather rows by the value of a column and the question, in the order of the input."""
    groups: dict[tuple[Any, int], list[Row]] = {}
    for row in rows.sort_by("source_key").to_pylist():
        groups.setdefault((row[column], row.get("question_index") or 0), []).append(row)
    return list(groups.values())


def _buckets(
    parts: Sequence[str], columns: Sequence[str], column: str, directory: Path, counts: GroupCounts
) -> Iterator[pa.Table]:
    """Yield the rows that have a group in tables of about `_ROWS` rows, none of which holds a part of a group."""
    wanted = list(dict.fromkeys(columns))
    count = 1 + sum(map(row_count, parts)) // _ROWS
    files = [directory / f"{bucket}.arrow" for bucket in range(count)]
    with ExitStack() as stack:
        writers: dict[int, Any] = {}
        for uri in parts:
            table = _with_groups(_counted(read_columns(uri, wanted), column), column, counts)
            buckets = _hashes(table[column]) % count
            for bucket in np.unique(buckets).tolist():
                if bucket not in writers:
                    writers[bucket] = stack.enter_context(pa.ipc.new_file(str(files[bucket]), table.schema))
                writers[bucket].write_table(table.filter(pa.array(buckets == bucket)))
    for bucket in sorted(writers):
        with pa.memory_map(str(files[bucket])) as source:
            yield pa.ipc.open_file(source).read_all()


def _countable(given: pa.DataType) -> pa.DataType:
    if not pa.types.is_temporal(given):
        return given
    return pa.int32() if given.bit_width == 32 else pa.int64()


def _counted(table: pa.Table, column: str) -> pa.Table:
    values = table[column]
    return table.set_column(table.column_names.index(column), column, values.cast(_countable(values.type)))


def _with_groups(table: pa.Table, column: str, counts: GroupCounts) -> pa.Table:
    """Return the rows that are there and have a group."""
    table = table.filter(pc.is_in(table["status"], pa.array([STATUS_OK, STATUS_ERROR])))
    counts.ungrouped += table[column].null_count
    table = table.filter(table[column].is_valid())
    counts.photos += table.num_rows
    return table.replace_schema_metadata(None)


def _hashes(values: pa.ChunkedArray) -> Any:
    """Return a hash of each value: uint32 (N,)."""
    return np.fromiter((zlib.crc32(repr(value).encode()) for value in values.to_pylist()), np.uint32, len(values))
