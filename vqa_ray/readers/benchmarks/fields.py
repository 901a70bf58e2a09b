"""Fields of a record as the values that layouts read: text, lists, letters, images."""

from __future__ import annotations

import ast
import json
import math
import re
import string
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.coerce import mismatch

# A row of a file as it is published, with three fields of ours: FILE, KEY and NUMBER.
Record: TypeAlias = Mapping[str, Any]
Read: TypeAlias = Callable[[Record], Any]

# The name of the file without its suffix; for files of a folder of tasks, the path below the input.
FILE = "\0file"
# The key of the record where its document is an object of records.
KEY = "\0key"
# The number of the record in its file, from 0.
NUMBER = "\0number"

LETTERS = string.ascii_uppercase
_MARK = re.compile(r"<image (\d+)>")


def first(*names: str) -> Read:
    """Read the first of some fields that is not null."""

    def read(record: Record) -> Any:
        return next((record[name] for name in names if record.get(name) is not None), None)

    return read


def together(read_list: Read) -> Read:
    """Read a list of texts as one text, with commas between them; anything else as it is."""

    def read(record: Record) -> Any:
        value = read_list(record)
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value

    return read


def inner(name: str, *keys: str) -> Read:
    """Read a field of the object in the field `name`: the first of `keys` that is not null."""

    def read(record: Record) -> Any:
        value = record.get(name)
        return first(*keys)(value) if isinstance(value, Mapping) else None

    return read


def either(*reads: Read) -> Read:
    """Read the first value that is not null."""

    def read(record: Record) -> Any:
        return next((value for each in reads if (value := each(record)) is not None), None)

    return read


def lettered(*names: str) -> Read:
    """Read the choices that stand in a column each; the missing ones at the end are left out."""

    def read(record: Record) -> list[object]:
        found = [stated(name)(record) for name in names]
        while found and found[-1] is None:
            found.pop()
        return found

    return read


def stated(name: str) -> Read:
    """Read a field of a table that pandas wrote, where `nan` stands for an empty cell."""

    def read(record: Record) -> Any:
        value = record.get(name)
        return None if value == "nan" or (isinstance(value, float) and math.isnan(value)) else value

    return read


def options(record: Record) -> list[Any]:
    """Return the choices of a record, in whichever columns published files hold them."""
    found = lettered(*(f"choice_{letter.lower()}" for letter in LETTERS))(record) or lettered(*LETTERS)(record)
    return list(found or listed("choices", "options")(record))


def listed(*names: str) -> Read:
    """Read a list, also one that is written as text: `['a', 'b']`; an error in its place is raised."""

    def read(record: Record) -> list[Any]:
        value = first(*names)(record)
        if isinstance(value, RowError):
            raise value
        if isinstance(value, str):
            value = literal(value, names[0])
        return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]

    return read


def literal(text: str, name: str) -> Any:
    """Return the list that a text spells in JSON or Python; a text that begins like none is its only element.

    Raises:
        RowError: it begins like a list and is none.
    """
    if not text.lstrip().startswith("["):
        return [text] if text else []
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise mismatch(name, text, "a list") from None


def texts(*names: str) -> Read:
    """Read the answers of annotators: a list of texts, or of objects with an `answer`; null where there are none."""

    def read(record: Record) -> list[str] | None:
        if first(*names)(record) is None:
            return None
        found = [each.get("answer") if isinstance(each, Mapping) else each for each in listed(*names)(record)]
        return [str(each) for each in found if each is not None]

    return read


def letter(*names: str) -> Read:
    """Read the letter of the right choice, also where it is written as its number from 0."""

    def read(record: Record) -> str | None:
        value = first(*names)(record)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, int) and 0 <= value < len(LETTERS):
            return LETTERS[value]
        return None if value is None else str(value).strip() or None

    return read


def name_part(pattern: str) -> Read:
    """Read the first group of a pattern in the name of the file."""
    compiled = re.compile(pattern)

    def read(record: Record) -> str | None:
        found = compiled.search(str(record[FILE]))
        return found[1] if found else None

    return read


def joined(*names: str) -> Read:
    """Read several fields as one id, with slashes between them; null where one is null."""

    def read(record: Record) -> str | None:
        parts = [record.get(name) for name in names]
        return None if any(part is None for part in parts) else "/".join(map(str, parts))

    return read


def marked_images(*names: str) -> Read:
    """Read the images that `<image 1>`, `<image 2>` in question and options name; all, where there are no marks.

    Tables without these columns hold the images in `image`, in order.
    """

    def read(record: Record) -> Any:
        if record.keys().isdisjoint(names):
            return listed("image")(record)
        text = f"{record.get('question')} {record.get('options')}"
        marked = sorted({int(number) for number in _MARK.findall(text)})
        chosen = [f"image_{number}" for number in marked] or list(names)
        found = [record.get(name) for name in chosen]
        if marked and None in found:
            missing = chosen[found.index(None)]
            raise RowError(ErrorCode.IMAGE_MISSING, f"<image {missing[6:]}> is named, and column {missing!r} is null")
        return [each for each in found if each is not None]

    return read


def stem(*names: str) -> Read:
    """Read a path without its directories and suffix; null for anything but a path or a number."""

    def read(record: Record) -> Any:
        value = first(*names)(record)
        if isinstance(value, str):
            return value.rpartition("/")[2].rpartition(".")[0] or value
        return value if isinstance(value, int) else None

    return read


def place(record: Record) -> str:
    """Return the key or index of a record, the file and number of one that has neither."""
    key = first(KEY, "index")(record)
    return str(key) if key is not None else f"{record[FILE]}/{record[NUMBER]}"
