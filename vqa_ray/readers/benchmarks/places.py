"""The directory in which the images of a benchmark lie, and the suffix that its references leave out."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from itertools import product

from vqa_ray.readers.benchmarks.layout import Layout
from vqa_ray.readers.image_refs import resolve_uri
from vqa_ray.readers.listing import absolute
from vqa_ray.readers.source import InputConfig, join_names, request_error
from vqa_ray.storage.filesystem import exists

_SUFFIXES = ("", ".jpg", ".png", ".jpeg")


def find_images(config: InputConfig, layout: Layout, uri: str, references: Sequence[str]) -> tuple[str, str]:
    """Find what stands before and behind the references of a file.

    Args:
        config: `image_root` and the column `image_folder` name the directory.
        layout: of the file.
        uri: the file.
        references: some of its images, of which one must be there; none where the file names none.

    Returns:
        The text to put before a reference and the text behind it.

    Raises:
        RequestError: the images are nowhere near.
    """
    relative = [each for each in references if "://" not in each and not each.startswith(("/", "data:"))]
    if not relative:
        return "", ""
    given = config.columns.get("image_folder")
    if given or config.image_root is not None:
        base = config.image_root or absolute(resolve_uri(str(given), posixpath.dirname(uri)))
        before = "" if config.image_root is not None else f"{base}/"
        folders: Sequence[str] = [f"{before}{folder}" for folder in ("", *layout.folders)]
    else:
        base = posixpath.dirname(uri)
        folders = [f"{up}{folder}" for up in ("", "../", "../../") for folder in ("", *layout.folders)]
    for reference, folder, suffix in product(relative, folders, _SUFFIXES):
        if exists(resolve_uri(f"{folder}{reference}{suffix}", base)):
            return folder, suffix
    tried = join_names([folder or "." for folder in folders[:8]])
    raise request_error(
        f"{uri}: the image of the first question, {relative[0]}, is not found (tried {tried}); give the folder with "
        "--image-root DIR"
    )
