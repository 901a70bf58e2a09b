"""A single file that an option names as output: checked before any work."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from vqa_ray.errors import RequestError
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.storage.filesystem import fsspec_for

_PAGES = (".html", ".htm")


def check_page(uri: str | None, option: str = "--gallery") -> None:
    """Refuse a page that cannot be written; None is none.

    Raises:
        RequestError: it is no HTML file, its directory cannot be written, or Jinja2 is not installed.
    """
    if uri is None:
        return
    if not uri.lower().endswith(_PAGES):
        raise RequestError(f"{option} {uri}: wanted a file named *{' or *'.join(_PAGES)}")
    if find_spec("jinja2") is None:
        raise RequestError(f"{option}: needs Jinja2, which is not installed: pip install 'vqa-ray[report]'")
    check_file(option, uri)


def check_file(option: str, uri: str) -> None:
    """Refuse a file that lies in a run or an index, or a local one that cannot be written.

    Raises:
        RequestError: it lies in one, it is a directory, or its directory cannot be written.
    """
    refuse_inside_output(option, uri)
    filesystem, path = fsspec_for(uri)
    if not isinstance(filesystem, LocalFileSystem):
        return
    file = Path(path)
    if file.is_dir():
        raise RequestError(f"{option} {uri}: is a directory; wanted a file")
    above = next(each for each in file.parents if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise RequestError(f"{option} {uri}: cannot be written: {above} is not a directory to write to")
