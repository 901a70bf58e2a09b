"""JSON files as lines: JSON lines as they are, and one array or one object with a list in it element by element."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

from vqa_ray.readers.formats.json_text import json_elements, json_members
from vqa_ray.readers.formats.lines import MAX_LINE_BYTES, Line, lines_of
from vqa_ray.text_encoding import as_utf8

# An object with one of these is a row.
_ROW_KEYS = frozenset(
    (
        *("image", "image_uri", "images", "url", "image_path", "image_url", "question", "text", "id"),
        *("conversation", "conversations", "messages"),
    )
)
# A document is held in memory as a whole.
MAX_DOCUMENT_BYTES = 2**30


def json_lines(file: BinaryIO, encoding: str | None = None) -> Iterator[Line]:
    """Yield the JSON values of a file, one a line; blank lines are left out.

    A file that is no JSON lines but one document gives the elements of its list, numbered from 1: an array of objects,
    or an object with one list of objects in it (`{"data": […]}`).
    """
    file = as_utf8(file, encoding)
    lines = (line for line in lines_of(file) if line.data.strip())
    first = next(lines, None)
    if first is None:
        return
    if not _may_be_document(first):
        yield first
        yield from lines
        return
    rest = b"" if first.is_too_long else file.read(MAX_DOCUMENT_BYTES)
    elements = _elements(first.data + rest)
    if elements is not None:
        for number, element in enumerate(elements, start=1):
            yield Line(number, element.encode(errors="surrogatepass"))
        return
    yield first
    number = first.number
    for part in (io.BytesIO(rest + file.readline(MAX_LINE_BYTES)), file):
        for line in lines_of(part):
            number += 1
            if line.data.strip():
                yield replace(line, number=number)


def _may_be_document(first: Line) -> bool:
    """Check whether a first line begins a document: an array, or an object that goes on or holds a list of objects."""
    text = first.data.strip()
    if text.startswith(b"["):
        return True
    if not text.startswith(b"{"):
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        # As it is printed over several lines; a broken row closes its brace.
        return not text.endswith(b"}")
    return isinstance(found, dict) and _list_of_rows(found) is not None


def _elements(data: bytes) -> list[str] | None:
    """Return the texts of the elements of a document; None where it is none."""
    try:
        text = data.decode(errors="surrogatepass")
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list):
        return list(json_elements(text)) if any(isinstance(one, dict) for one in found) else None
    name = _list_of_rows(found) if isinstance(found, dict) else None
    if name is not None:
        return [part for key, _, part in json_members(text, name) if key == name]
    return [text.strip()] if isinstance(found, dict) and "\n" in text.strip() else None


def _list_of_rows(found: Mapping[str, object]) -> str | None:
    """Return the name of the one list of objects in an object that is no row itself."""
    lists = [name for name, value in found.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    return lists[0] if len(lists) == 1 and _ROW_KEYS.isdisjoint(found) else None
