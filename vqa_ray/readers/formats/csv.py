"""CSV and TSV with a header line. A line with too many or too few fields becomes a status row."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from vqa_ray.errors import RunError, one_line
from vqa_ray.readers.coerce import INT64
from vqa_ray.readers.columns import KNOWN_NAMES, present_labels, resolve
from vqa_ray.readers.damage import until_damage, watched_stream
from vqa_ray.readers.first_rows import take_sample
from vqa_ray.readers.formats.jsonl import TEXT_ROLES
from vqa_ray.readers.formats.lines import MAX_LINE_BYTES, Line, lines_of
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.partitions import named_path_values, path_names, with_path_names
from vqa_ray.readers.passthrough import infer_text, keep_text
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.row_tables import numbered
from vqa_ray.readers.source import InputConfig, OpenedInput, Shard, Source, join_names, request_error

_HEADERS_AT_ONCE = 16
# Fields may be as long as lines, until stray quotes have had so much read in vain; then Python's own limit holds.
_LOOK_AHEAD_BYTES = 256 * 2**20
_SHORT_FIELD = 131_072
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a CSV file.

    Attributes:
        number: the line it begins on, from 1.
        data: the bytes of its lines.
        cells: its fields, or None when it cannot be parsed.
        problem: why it cannot be, or what is wrong with the number of fields.
    """

    number: int
    data: bytes
    cells: tuple[str, ...] | None
    problem: str = ""


def open_csv(config: InputConfig, listing: Listing) -> OpenedInput:
    """One shard a file; all files have the same columns, in any order.

    Raises:
        RequestError: a column that is needed is missing or there twice, or there are no records.
    """
    files = [entry for entry in listing.of("csv") if entry.size_bytes]
    if not files:
        raise request_error(f"{listing.uri}: the input is empty: no lines")
    with ThreadPoolExecutor(_HEADERS_AT_ONCE) as pool:
        headers = list(pool.map(lambda entry: _header(entry.uri, config.encoding), files))
    headers = [
        with_path_names(config, header, path_names([entry.uri], listing.root))
        for entry, header in zip(files, headers, strict=True)
    ]
    names = [listing.relative(entry) for entry in files]
    layouts = [resolve(config, header, name, roles=TEXT_ROLES) for name, header in zip(names, headers, strict=True)]
    layout = layouts[0]
    for name, header, other in zip(names, headers, layouts, strict=True):
        if other != layout:
            raise request_error(f"{name}: has other columns than {names[0]}: {join_names(header)}")
    sample = take_sample(files, partial(_sample, encoding=config.encoding))
    if sample.is_empty:
        raise request_error(f"{listing.uri}: the input is empty: no records after the header")
    shards = (Shard(i, entry.uri, size_bytes=entry.size_bytes) for i, entry in enumerate(files))
    kept = infer_text(config.keep, sample.rows, present_labels(config, headers[0]))
    return OpenedInput(tuple(shards), layout, kept, columns=tuple(headers[0]))


def read_csv(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """Yield the rows of one file; an empty cell is null."""
    builder = RowBuilder(source, shard.uri)
    name = shard.uri.rpartition("/")[2]
    layout, kept, path = source.column_map, source.passthrough_columns(), named_path_values(source, shard.uri)
    with watched_stream(shard.uri) as (file, watch):
        records = records_of(file, delimiter_of(shard.uri), source.config.encoding)
        header = next(records, None)
        if header is None or header.cells is None:
            raise RunError(f"{shard.uri}: the file changed after the run listed it")
        names = header.cells

        def make(record: Record) -> Row:
            where = f"{name} line {record.number}"
            if record.cells is None or record.problem:
                return builder.malformed(f"{where}: {record.problem}", record.data)
            cells = {**path, **dict(zip(names, record.cells, strict=True))}
            values: dict[str, object] = {key: cell or None for key, cell in cells.items()}
            for key in layout.row_id:
                values[key] = _number(cells.get(key) or None)
            for key in (*layout.images, *layout.questions, *layout.context):
                values[key] = _json(cells.get(key) or None)
            return builder.row(values, keep_text(cells, kept), line=record.data, where=where)

        yield from until_damage(numbered(records, make, wanted), watch, builder.damaged)


def delimiter_of(uri: str) -> str:
    """Return a tab for .tsv, else a comma."""
    return "\t" if uri.lower().removesuffix(".gz").endswith(".tsv") else ","


def _delimiter_in(header: str, expected: str) -> str:
    """Return the delimiter that a header line shows: the one that finds known columns, or the expected one."""

    def known_columns(delimiter: str) -> tuple[int, bool, int]:
        try:
            cells = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            cells = []
        names = [cell.strip().lower() for cell in cells]
        return len(KNOWN_NAMES.intersection(names)), delimiter == expected and len(cells) > 1, len(cells)

    return max((expected, *(each for each in _DELIMITERS if each != expected)), key=known_columns)


class _Lines:
    """Lines for `csv.reader`, which remembers those of the current record and takes some back."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._returned: deque[Line] = deque()
        self.taken: list[Line] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        # Bytes that are not UTF-8 become lone surrogates, which tell on the record they are in and on no other.
        return line.data.decode(errors="surrogateescape")

    def give_back(self, lines: list[Line]) -> None:
        self._returned.extendleft(reversed(lines))


def records_of(file: BinaryIO, delimiter: str, encoding: str | None = None) -> Iterator[Record]:
    """Yield the records, the header first. A stray quote costs its own line, not all up to the next quote.

    Args:
        file: UTF-8, or as its first bytes or `encoding` say.
        delimiter: what the name of the file speaks of; the header may show that it is another.
        encoding: of the file.
    """
    in_vain = 0
    lines = _Lines(lines_of(file, encoding=encoding))
    header = next((text for text in lines if text.strip()), "")
    delimiter = _delimiter_in(header, delimiter)
    lines.give_back(lines.taken)
    width: int | None = None
    while True:
        lines.taken = []
        csv.field_size_limit(MAX_LINE_BYTES if in_vain < _LOOK_AHEAD_BYTES else _SHORT_FIELD)
        cells, problem = _next_cells(lines, delimiter)
        if not lines.taken:
            return
        if cells == ():
            continue
        # A record of the right width is whole, whatever its text is encoded in.
        is_whole = cells is not None and len(cells) == width
        if cells is not None and width is not None and not is_whole:
            problem = f"{len(cells)} fields where the header has {width}"
        if problem and not is_whole and len(lines.taken) > 1:
            in_vain += sum(len(line.data) for line in lines.taken)
            lines.give_back(lines.taken[1:])
            lines.taken = lines.taken[:1]
        first = lines.taken[0]
        width = len(cells) if width is None and cells is not None else width
        yield Record(
            first.number, b"".join(line.data for line in lines.taken), None if problem and is_whole else cells, problem
        )


def _next_cells(lines: _Lines, delimiter: str) -> tuple[tuple[str, ...] | None, str]:
    # A reader of its own for each record: one that has met an error or the end cannot be trusted to start afresh.
    try:
        cells = tuple(next(csv.reader(lines, delimiter=delimiter, strict=True), ()))
    except csv.Error as error:
        return None, f"not CSV: {one_line(error, 120)}"
    for cell in cells:
        try:
            cell.encode()
        except UnicodeEncodeError:
            return cells, "not UTF-8; another encoding is given with --encoding, as cp1252"
    return cells, ""


def _header(uri: str, encoding: str | None) -> list[str]:
    with watched_stream(uri) as (file, watch):
        rows = until_damage(
            enumerate(records_of(file, delimiter_of(uri), encoding)),
            watch,
            lambda number, error: Record(1, b"", None, one_line(error, 160) or type(error).__name__),
        )
        for _, record in rows:
            if record.cells is None:
                raise request_error(f"{uri}: the header, line {record.number}, cannot be read: {record.problem}")
            return list(record.cells)
    raise request_error(f"{uri}: has no header line")


def _sample(uri: str, encoding: str | None = None) -> Iterator[tuple[Mapping[str, object] | None, int]]:
    with watched_stream(uri) as (file, watch):
        records = until_damage(
            enumerate(records_of(file, delimiter_of(uri), encoding)),
            watch,
            lambda number, error: Record(0, b"", None, "damaged"),
        )
        _, header = next(records)
        for _, record in records:
            values = dict(zip(header.cells or (), record.cells or (), strict=False))
            yield (None if record.problem else values), len(record.data)


def _number(cell: str | None) -> object:
    """Return a cell as an integer where it is one; else as it is, for the error to show."""
    if cell is None or len(cell) > 20 or not cell.removeprefix("-").isdecimal():
        return cell
    number = int(cell)
    return number if number in INT64 else cell


def _json(cell: str | None) -> object:
    """Parse a cell that holds a JSON list (images, questions, turns); anything else stays as it is, for the error."""
    try:
        return None if cell is None else json.loads(cell)
    except (ValueError, RecursionError):
        return cell
