"""Tables that name image files in folders below them: such tables are the input."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from vqa_ray.readers.damage import DAMAGE, watched_stream
from vqa_ray.readers.suffixes import IMAGE_SUFFIXES
from vqa_ray.storage.filesystem import FileEntry
from vqa_ray.text_encoding import encoding_of

_HEAD_BYTES = 2**16
_MOST_TABLES = 16
# Names hold commas, so cells are separated in both ways.
_SEPARATORS = (re.compile(r"[\"\r\n]"), re.compile(r"[\"',;|\t\r\n]"))


def refer_to_images(tables: Sequence[FileEntry], images: Sequence[FileEntry]) -> bool:
    """Check whether tables name the images below them, and no image lies in the folder of a table.

    Each table (the first few of many) must begin with rows that name one of the images, relative to the table.

    Args:
        tables: CSV files or JSON lines, compressed or not.
        images: image files beside them.

    Raises:
        OSError: the store cannot be read.
    """
    folders = {posixpath.dirname(table.uri) for table in tables}
    if any(posixpath.dirname(image.uri) in folders for image in images):
        return False
    known = {image.uri for image in images}
    return all(_names_one(table.uri, known) for table in tables[:_MOST_TABLES])


def _names_one(table: str, known: set[str]) -> bool:
    with watched_stream(table) as (file, watch):
        try:
            head = file.read(_HEAD_BYTES)
        except DAMAGE:
            if watch.failure is not None:
                raise
            return False
    text = head.decode(encoding_of(head), errors="replace").replace("\\/", "/")
    folder = posixpath.dirname(table)
    cells = (cell.strip() for separator in _SEPARATORS for cell in separator.split(text))
    names = (cell.removeprefix("./") for cell in cells if cell.rpartition(".")[2].lower() in IMAGE_SUFFIXES)
    return any(f"{folder}/{name}" in known for name in names)
