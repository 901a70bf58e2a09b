"""Where to publish: `iceberg:CATALOG.NAMESPACE.TABLE`, `delta:URI`, `lance:URI` or `parquet:URI`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vqa_ray.errors import RequestError
from vqa_ray.storage.filesystem import exists, list_files
from vqa_ray.storage.lake_storage import location, missing_package

KINDS = ("iceberg", "delta", "lance", "parquet")


@dataclass(frozen=True, slots=True)
class Target:
    """A table.

    Attributes:
        kind: of `KINDS`.
        address: CATALOG.NAMESPACE.TABLE of an Iceberg table, otherwise a directory or prefix.
    """

    kind: str
    address: str

    def __str__(self) -> str:
        """Return it as it is given."""
        return f"{self.kind}:{self.address}"


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication did to a table.

    Attributes:
        version: of the table that has the rows: a snapshot id, a version number or a file.
        rows: number of rows added; 0 where the table had the publication already.
        known: the table had it already, and nothing was done.
    """

    version: str
    rows: int = 0
    known: bool = False


def require_unused(target: Target, belongs: re.Pattern[str]) -> None:
    """Check that a new table is not made among other files.

    Args:
        target: a directory or prefix, which may be missing.
        belongs: the paths within it that a writer of the table leaves when it is killed before its first commit.

    Raises:
        RequestError: there are others.
    """
    if not exists(target.address):
        return
    root = f"{location(target.address).rstrip('/')}/"
    for entry in list_files(target.address, hidden=True):
        path = entry.uri.partition(root)[2]
        if not belongs.match(path):
            raise RequestError(
                f"--to {target}: is no {target.kind.capitalize()} table and holds other files, for example {path}; "
                "name a table or a new directory"
            )


def parse_target(text: str) -> Target:
    """Read the value of `--to`.

    Raises:
        RequestError: it is none, its package is not installed, or it has no address.
    """
    kind, colon, address = text.partition(":")
    if not colon or kind not in KINDS or address.startswith("//"):
        raise RequestError(
            f"--to {text}: expected iceberg:CATALOG.NAMESPACE.TABLE, delta:URI, lance:URI or parquet:URI"
        )
    if not address:
        raise RequestError(f"--to {text}: names no table")
    if kind == "iceberg" and (address.count(".") < 2 or not all(address.split("."))):
        raise RequestError(f"--to {text}: expected iceberg:CATALOG.NAMESPACE.TABLE")
    if missing := missing_package(kind):
        raise RequestError(f"--to {text}: {missing}")
    return Target(kind, address)
