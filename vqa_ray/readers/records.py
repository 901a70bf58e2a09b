"""Small tables beside an input, such as labels: read whole, by the readers of the inputs, without guessing types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pyarrow import parquet

from vqa_ray.errors import RequestError
from vqa_ray.readers.arrow_rows import values_of
from vqa_ray.readers.damage import DAMAGE, watched, watched_stream
from vqa_ray.readers.formats.csv import delimiter_of, records_of
from vqa_ray.readers.formats.json_lines import json_lines
from vqa_ray.readers.formats.json_text import numbers_as_written
from vqa_ray.readers.formats.jsonl import parse
from vqa_ray.readers.listing import list_input, with_kinds
from vqa_ray.readers.passthrough import parsed
from vqa_ray.readers.source import request_error
from vqa_ray.readers.suffixes import suffix_of


def read_records(uri: str, id_column: str, encoding: str | None = None) -> Iterator[tuple[str, Mapping[str, object]]]:
    """(file and line or row, values by column) of a table: Parquet, CSV, TSV, JSON or JSON Lines.

    Text stays text: cells of CSV are strings, lists where they hold a JSON list, None where they are empty; ids of
    Parquet are as `values_of(…, as_text=True)` gives them.

    Args:
        uri: a file, a directory or a pattern.
        id_column: the column whose values are ids.
        encoding: of text; None tells UTF-8 from UTF-16 by the first bytes.

    Raises:
        RequestError: it is missing, of another format, or a line of it cannot be read.
    """
    listing = with_kinds(list_input(uri), None)
    for entry in listing.entries:
        kind = "jsonl" if suffix_of(entry.uri).startswith(".json") else listing.kind(entry)
        if kind not in _READERS:
            raise request_error(f"{entry.uri}: expected a Parquet, CSV, TSV, JSON or JSON Lines file")
        try:
            yield from _READERS[kind](entry.uri, id_column, encoding)
        except DAMAGE as error:
            raise request_error(f"{entry.uri}: cannot be read: {error}") from error


def _parquet(uri: str, id_column: str, _: str | None) -> Iterator[tuple[str, Mapping[str, object]]]:
    with watched(uri) as file:
        table = parquet.read_table(file)
    number = 0
    for batch in table.combine_chunks().to_batches():
        columns = {
            name: values_of(column, as_text=name == id_column)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        for i in range(batch.num_rows):
            yield f"row {number}", {name: values[i] for name, values in columns.items()}
            number += 1


def _csv(uri: str, id_column: str, encoding: str | None) -> Iterator[tuple[str, Mapping[str, object]]]:
    with watched_stream(uri) as (file, _):
        records = records_of(file, delimiter_of(uri), encoding)
        header = next(records, None)
        for record in records:
            if header is None or header.cells is None or record.cells is None or record.problem:
                raise RequestError(f"{uri} line {record.number}: {record.problem or 'the header cannot be read'}")
            cells = dict(zip(header.cells, record.cells, strict=True))
            yield (
                f"line {record.number}",
                {name: (cell or None) if name == id_column else parsed(cell) for name, cell in cells.items()},
            )


def _jsonl(uri: str, id_column: str, encoding: str | None) -> Iterator[tuple[str, Mapping[str, object]]]:
    with watched_stream(uri) as (file, _):
        for line in json_lines(file, encoding):
            values = parse(line)
            if isinstance(values, str):
                raise RequestError(f"{uri} line {line.number}: {values}")
            yield f"line {line.number}", {**values, **numbers_as_written(line.data, values, (id_column,))}


_READERS = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
