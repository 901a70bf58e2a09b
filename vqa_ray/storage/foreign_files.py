"""The refusal of an output that holds files of others."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_ray.errors import RequestError
from vqa_ray.storage.filesystem import fsspec_for

_SHOWN = 3


def refuse_foreign_files(output: str, uris: Sequence[str], kind: str, *, hint: str = "") -> None:
    """Refuse an output that holds files that a command did not write; with no files, do nothing.

    Args:
        output: the directory, as the message names it, with `--output` or without.
        uris: of the files.
        kind: what the command writes, `a run`.
        hint: what else would do beside an empty directory.

    Raises:
        RequestError: there are such files; the first ones are named.
    """
    if not uris:
        return
    if len(uris) == 1 and fsspec_for(output.removeprefix("--output "))[1] == fsspec_for(uris[0])[1]:
        raise RequestError(f"{output}: is a file; wanted a new or empty directory{hint}")
    names = [uri.rstrip("/").rpartition("/")[2] for uri in uris]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise RequestError(
        f"{output}: holds files that are not of {kind} ({', '.join(names[:_SHOWN])}{more}); wanted a new or empty "
        f"directory{hint}"
    )
