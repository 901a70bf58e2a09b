"""After a version is published: the names of its files, and what no version needs any more."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from vqa_ray.errors import one_line
from vqa_ray.index.ann.build import ERRORS
from vqa_ray.index.ann.build import clean_up as clean_up_ann
from vqa_ray.index.paths import UPDATES, IndexDirectory
from vqa_ray.index.version import Version, published_updates
from vqa_ray.runs.private_names import public, superseded
from vqa_ray.storage.delete import delete, delete_directory
from vqa_ray.storage.filesystem import filesystem_for, read_bytes

logger = logging.getLogger(__name__)

_MOVES_AT_ONCE = 16


def expose(layout: IndexDirectory, current: Version) -> None:
    """Name the files of the current version `NAME.parquet` and all other rows `_NAME.pq`.

    Other readers match `**/*.parquet`, or pass over what begins with `_`, so they find current rows only; our own
    readers know both names. Calling it again after a death in the middle finishes the rest.

    Args:
        layout: of the index.
        current: its latest published version.
    """
    here = {file.path for file in current.files}
    published = published_updates(layout)
    moves: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
    for entry in layout.row_files():
        path = _relative(entry.uri)
        if path.split("/")[1] not in published:
            # Rows of an update under way, which finds them by their names.
            continue
        is_current = public(path) in here
        name = public(entry.uri) if is_current else superseded(entry.uri)
        if name != entry.uri:
            moves[is_current].append((entry.uri, name))
    with ThreadPoolExecutor(_MOVES_AT_ONCE) as pool:
        # Superseded files first, so that nobody reads a row twice.
        for is_current in (False, True):
            deque(pool.map(lambda move: _move(*move), moves[is_current]), maxlen=0)


def clean_up(layout: IndexDirectory, current: Version, previous: Version | None) -> None:
    """Delete the files that neither of two versions needs; readers of the previous one go on."""
    kept = [current] if previous is None else [current, previous]
    paths = {file.path for version in kept for file in version.files}
    names = {update.name for version in kept for update in version.updates}
    for entry in layout.row_files():
        path = _relative(entry.uri)
        if public(path) not in paths and path.split("/")[1] in names:
            delete(entry.uri)
    older = [number for number in layout.version_numbers() if number < min(version.number for version in kept)]
    for number in older:
        for name in _updates(layout, number) - names:
            delete_directory(layout.update(name).output)
    anns = {version.ann.path for version in kept if version.ann is not None}
    for path in layout.ann_paths():
        if path not in anns:
            delete_directory(layout.path(path))
    states = [version.ann for version in kept if version.ann is not None]
    if states:
        try:
            clean_up_ann(layout, states)
        except ERRORS as error:
            logger.warning("%s: an approximate index could not be cleaned up: %s", layout.uri, one_line(error, 200))
    for number in older:
        delete(layout.duplicates(number))
        # Last, since the files are found through it.
        delete(layout.version(number))


def _relative(uri: str) -> str:
    """Return the path of a listed file relative to the index, however the listing spells its URI."""
    return f"{UPDATES}/{uri.rpartition(f'/{UPDATES}/')[2]}"


def _move(uri: str, target: str) -> None:
    filesystem, path = filesystem_for(uri)
    filesystem.move(path, filesystem_for(target)[1])


def _updates(layout: IndexDirectory, number: int) -> set[str]:
    try:
        return {update.name for update in Version.from_bytes(read_bytes(layout.version(number))).updates}
    except ValueError:
        return set()
