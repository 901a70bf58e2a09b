"""Records of JSON files: a list, a list in an object, an object of records by id, or JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vqa_ray.errors import one_line
from vqa_ray.readers.benchmarks.fields import KEY, Record
from vqa_ray.readers.coerce import finite_or_text
from vqa_ray.readers.damage import watched_stream
from vqa_ray.readers.formats.json_text import json_elements, json_members
from vqa_ray.text_encoding import decode_text, encoding_of, text_lines

_HEAD_BYTES = 2**16
_DECODER = json.JSONDecoder()
_FIRST_VALUE = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*(.)')
_SPACE = re.compile(r"[\s,]*")


class Found(NamedTuple):
    """A record, or what is wrong with the text in its place, and that text."""

    record: Record | None
    line: bytes
    problem: str = ""


def json_records(uri: str, encoding: str | None, rows_at: str) -> Iterator[Found]:
    """Yield the records of a file.

    Args:
        uri: the file, compressed or not.
        encoding: of its text; None for Unicode.
        rows_at: the member of an object that holds the records.

    Raises:
        ValueError: a document, not JSON lines, is malformed.
    """
    with watched_stream(uri) as (file, _):
        text = decode_text(file.read(), encoding)
    start = text.lstrip()[:1]
    if start == "[":
        for part in json_elements(text):
            yield _found(json.loads(part, parse_float=finite_or_text), part)
    elif rows_at and re.search(rf'"{rows_at}"\s*:\s*\[', text):
        for key, value, part in json_members(text, rows_at):
            if key == rows_at:
                yield _found(value, part)
    elif start == "{" and (value := _FIRST_VALUE.match(text)) and value[1] == "{" and not _are_lines(text):
        for key, record, part in json_members(text, ""):
            yield _found({KEY: key, **record} if isinstance(record, Mapping) else record, part)
    else:
        yield from _lines(text)


def _are_lines(text: str) -> bool:
    """Check whether the first line is an object by itself, and not all."""
    first, _, rest = text.strip().partition("\n")
    return bool(rest) and isinstance(_decoded(first), Mapping)


def _lines(text: str) -> Iterator[Found]:
    for line in text_lines(text):
        if line.strip():
            try:
                yield _found(json.loads(line, parse_float=finite_or_text), line)
            except (ValueError, RecursionError) as error:
                yield Found(None, line.encode(errors="surrogatepass"), f"not JSON: {one_line(error, 120)}")


def _found(value: object, text: str) -> Found:
    line = text.encode(errors="surrogatepass")
    return Found(value, line) if isinstance(value, Mapping) else Found(None, line, "not a JSON object")


def first_records(uri: str) -> Iterator[Record]:
    """Yield what may be the first record of a JSON file, by its first 64 KiB: an object, or the first of a member's."""
    with watched_stream(uri) as (file, _):
        head = file.read(_HEAD_BYTES)
    text = head.decode(encoding_of(head), errors="replace").removeprefix("\ufeff").strip()
    try:
        if text.startswith("["):
            yield from _objects(_DECODER.raw_decode(text, _skipped(text, 1))[0])
            return
        whole = _decoded(text.partition("\n")[0])
        yield from _objects(whole)
        at = _skipped(text, 1)
        while text.startswith("{") and text[at : at + 1] == '"':
            key, at = _DECODER.raw_decode(text, at)
            at = _skipped(text, _skipped(text, at) + 1)
            listed = text[at : at + 1] == "["
            value, end = _DECODER.raw_decode(text, _skipped(text, at + 1) if listed else at)
            yield from ({KEY: key, **value} if not listed else value for value in _objects(value))
            if listed:
                # The list goes on; only a short one can be passed over.
                value, end = _DECODER.raw_decode(text, at)
            at = _skipped(text, end)
    except (ValueError, RecursionError):
        # The head ends in the middle, or it is no JSON.
        return


def _objects(value: object) -> Iterator[Record]:
    if isinstance(value, Mapping):
        yield value


def _decoded(text: str) -> object:
    try:
        return json.loads(text, parse_float=finite_or_text)
    except (ValueError, RecursionError):
        return None


def _skipped(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
