"""The run directory or index that a path lies in."""

from __future__ import annotations

from vqa_ray.errors import RequestError
from vqa_ray.runs.directory import PRIVATE, RECORD, VERSIONS
from vqa_ray.storage.filesystem import fsspec_for
from vqa_ray.storage.store_errors import store_failures


def refuse_inside_output(option: str, uri: str) -> None:
    """Refuse to write below a directory that holds a run or an index: its readers would take the file for theirs.

    Args:
        option: that names the path, for the message.
        uri: of the file or directory to be written.

    Raises:
        RequestError: it lies in one.
    """
    filesystem, path = fsspec_for(uri)
    above = path.rstrip("/")
    while "/" in above:
        above = above.rpartition("/")[0]
        try:
            found = bool(above) and any(map(_is_record, filesystem.ls(f"{above}/{PRIVATE}", detail=False)))
        except FileNotFoundError:
            continue
        except store_failures():
            # What cannot be looked into is reported where the output itself is opened.
            return
        if found:
            raise RequestError(
                f"{option} {uri}: lies in {above}, which holds a run or an index: what reads that would read this too; "
                "wanted a place outside"
            )


def _is_record(path: str) -> bool:
    """Check for the record of a run or the versions of an index; a demo has neither."""
    return path.rstrip("/").rpartition("/")[2] in (RECORD, VERSIONS)
