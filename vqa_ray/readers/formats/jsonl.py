"""JSON lines: one object a line. A line that is none becomes a status row; blank lines are skipped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from vqa_ray.errors import one_line
from vqa_ray.readers.coerce import finite_or_text
from vqa_ray.readers.columns import ROLES, present_labels, resolve
from vqa_ray.readers.damage import until_damage, watched_stream
from vqa_ray.readers.first_rows import take_sample
from vqa_ray.readers.formats.json_lines import json_lines
from vqa_ray.readers.formats.json_text import numbers_as_written
from vqa_ray.readers.formats.lines import Line
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.partitions import named_path_values, path_names, with_path_names
from vqa_ray.readers.passthrough import infer_json, keep_json
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.row_tables import numbered
from vqa_ray.readers.source import InputConfig, OpenedInput, Shard, Source, request_error
from vqa_ray.strict_yaml import unique

# Image bytes cannot stand in JSON: images are named by `image_uri`.
TEXT_ROLES = tuple(role for role in ROLES if role != "image")


def open_jsonl(config: InputConfig, listing: Listing) -> OpenedInput:
    """One shard a file; the columns are those of the first 1,000 lines.

    Raises:
        RequestError: a column that is needed stands in none of them, or there are no lines at all.
    """
    files = [entry for entry in listing.of("jsonl") if entry.size_bytes]
    sample = take_sample(files, partial(_sample, encoding=config.encoding))
    if sample.is_empty:
        raise request_error(f"{listing.uri}: the input is empty: no lines")
    names = with_path_names(config, sample.names, path_names((entry.uri for entry in files), listing.root))
    if sample.rows:
        layout = resolve(config, names, listing.uri, roles=TEXT_ROLES, open_ended=True)
    else:
        raise request_error(f"{listing.uri}: none of the first lines is a JSON object; is this really JSON lines?")
    shards = (Shard(i, entry.uri, size_bytes=entry.size_bytes) for i, entry in enumerate(files))
    kept = infer_json(config.keep, sample.rows, present_labels(config, sample.names))
    return OpenedInput(tuple(shards), layout, kept, columns=tuple(names))


def read_jsonl(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """Yield the rows of one file."""
    builder, kept = RowBuilder(source, shard.uri), source.passthrough_columns()
    name = shard.uri.rpartition("/")[2]
    path = named_path_values(source, shard.uri)
    ids = (*source.column_map.image_id, *source.column_map.question_id)

    def make(line: Line) -> Row:
        values = parse(line)
        if isinstance(values, str):
            return builder.malformed(f"{name} line {line.number}: {values}", line.data)
        kept_values = keep_json({**path, **values}, kept)
        values = {**path, **values, **numbers_as_written(line.data, values, ids)}
        return builder.row(values, kept_values, line=line.data, where=f"{name} line {line.number}")

    with watched_stream(shard.uri) as (file, watch):
        lines = json_lines(file, source.config.encoding)
        yield from until_damage(numbered(lines, make, wanted), watch, builder.damaged)


def parse(line: Line) -> Mapping[str, object] | str:
    """Return the object of a line, or why it is none."""
    if line.is_too_long:
        return f"longer than {len(line.data) - 1} bytes"
    try:
        # Files that were put together bring a byte order mark each.
        text = line.data.decode().removeprefix("\ufeff")
        record = json.loads(text, object_pairs_hook=unique, parse_float=finite_or_text)
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start + 1}); another encoding is given with --encoding, as cp1252"
    except RecursionError:
        return "not JSON: nested too deeply"
    except ValueError as error:
        return f"not JSON: {one_line(error, 120)}"
    if not isinstance(record, dict):
        return f"not a JSON object but {_KINDS[type(record)]}"
    return record


_KINDS = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean", type(None): "null"}


def _sample(uri: str, encoding: str | None = None) -> Iterator[tuple[Mapping[str, object] | None, int]]:
    with watched_stream(uri) as (file, watch):
        numbered_lines = enumerate(json_lines(file, encoding))
        for _, line in until_damage(numbered_lines, watch, lambda number, error: Line(0, b"")):
            values = parse(line)
            yield (None if isinstance(values, str) else values), len(line.data)
