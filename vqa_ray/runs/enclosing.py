"""The run directory or index that a path lies in."""

from __future__ import annotations

from collections.abc import Mapping

from vqa_ray.errors import RequestError
from vqa_ray.runs.directory import PRIVATE, RECORD, VERSIONS
from vqa_ray.storage.filesystem import fsspec_for
from vqa_ray.storage.store_errors import store_failures
from vqa_ray.storage.uri import name_of

# The record of a run or the versions of an index; a demo has neither.
_KINDS: Mapping[str, str] = dict.fromkeys((RECORD, VERSIONS), "a run or an index")


def refuse_inside_output(option: str, uri: str, more: Mapping[str, str] | None = None, *, itself: bool = False) -> None:
    """Refuse to write below a directory that holds a run or an index: its readers would take the file for theirs.

    Args:
        option: that names the path, for the message.
        uri: of the file or directory to be written.
        more: name of a private file → what a directory with that file holds, `an evaluation`.
        itself: refuse also the directory of the run or index itself.

    Raises:
        RequestError: it lies in one.
    """
    kinds = {**_KINDS, **(more or {})}
    filesystem, path = fsspec_for(uri)
    above = path.rstrip("/") + ("/" if itself else "")
    while "/" in above:
        above = above.rpartition("/")[0]
        try:
            names = map(name_of, filesystem.ls(f"{above}/{PRIVATE}", detail=False)) if above else ()
            found = [kinds[name] for name in names if name in kinds]
        except FileNotFoundError:
            continue
        except store_failures():
            # What cannot be looked into is reported where the output itself is opened.
            return
        if found:
            raise RequestError(
                f"{option} {uri}: lies in {above}, which holds {found[0]}: what reads that would read this too; "
                "wanted a place outside"
            )
