"""Deleting what no version needs any more, after a newer one is published."""

from __future__ import annotations

import logging

from vqa_ray.errors import one_line
from vqa_ray.index.ann.build import ERRORS
from vqa_ray.index.ann.build import clean_up as clean_up_ann
from vqa_ray.index.paths import UPDATES, IndexDirectory, existing_files
from vqa_ray.index.version import Version
from vqa_ray.runs.directory import delete, delete_directory
from vqa_ray.runs.private_names import private, public
from vqa_ray.storage.filesystem import filesystem_for, read_bytes

logger = logging.getLogger(__name__)


def clean_up(layout: IndexDirectory, current: Version, previous: Version | None) -> None:
    """Keep the files of two versions: readers of the previous one are not disturbed.

    Files that only the previous one has get private names, which no reader's `**/*.parquet` matches; ours look there.

    Args:
        layout: of the index.
        current: the version just published.
        previous: the one before it.
    """
    kept = [current] if previous is None else [current, previous]
    here, paths = {file.path for file in current.files}, {file.path for version in kept for file in version.files}
    names = {update.name for version in kept for update in version.updates}
    for entry in existing_files(layout.updates):
        path = f"{UPDATES}/{entry.uri.rpartition(f'/{UPDATES}/')[2]}"
        if public(path) not in paths and path.split("/")[1] in names:
            delete(entry.uri)
        elif path in paths - here:
            filesystem, inside = filesystem_for(entry.uri)
            filesystem.move(inside, private(inside))
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
            logger.warning("%s: an approximate index could not be tidied up: %s", layout.uri, one_line(error, 200))
    for number in older:
        delete(layout.duplicates(number))
        # Last: what it names is found through it.
        delete(layout.version(number))


def _updates(layout: IndexDirectory, number: int) -> set[str]:
    try:
        return {update.name for update in Version.from_bytes(read_bytes(layout.version(number))).updates}
    except ValueError:
        return set()
