"""The refusal of an output that holds files of others."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_ray.errors import RequestError

_SHOWN = 3


def refuse_foreign_files(output: str, uris: Sequence[str], kind: str, *, hint: str = "") -> None:
    """Refuse an output that holds files that a command did not write; with no files, do nothing.

    Args:
        output: the directory, as the message names it.
        uris: of the files.
        kind: what the command writes, `a run`.
        hint: what else would do beside an empty directory.

    Raises:
        RequestError: there are such files; the first ones are named.
    """
    if not uris:
        return
    names = [uri.rstrip("/").rpartition("/")[2] for uri in uris]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise RequestError(
        f"{output}: holds files that are not of {kind} ({', '.join(names[:_SHOWN])}{more}); wanted a new or empty "
        f"directory{hint}"
    )
