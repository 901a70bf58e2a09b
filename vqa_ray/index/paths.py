"""Paths in an index directory."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vqa_ray.runs.directory import PART_PREFIX, PRIVATE, VERSIONS, RunDirectory
from vqa_ray.storage.filesystem import FileEntry, exists, fsspec_for, list_files
from vqa_ray.storage.uri import join, name_of

UPDATES = "updates"
REWRITTEN_PREFIX = "rewritten-"
_ANN = "ann-"
_ANN_SUFFIX = ".lance"
# Directly in the directory of an update.
_ROWS = re.compile(rf"/{UPDATES}/[^/]+/_?(?:{PART_PREFIX}|{REWRITTEN_PREFIX})[^/]*$")
_VERSION = re.compile(r"^(?P<number>\d{6,})\.json$")


@dataclass(frozen=True, slots=True)
class IndexDirectory:
    """The directory of an index.

    `updates/NAME/` is a run directory with the rows that one update added, `_vqa_ray/versions/NNNNNN.json` lists the
    files that make up a version, and `ann-NAME.lance` is the approximate index that is derived from them.

    Attributes:
        uri: of the index.
    """

    uri: str

    @property
    def versions(self) -> str:
        """The directory of the versions."""
        return join(self.uri, PRIVATE, VERSIONS)

    @property
    def updates(self) -> str:
        """The directory of the updates."""
        return join(self.uri, UPDATES)

    def version(self, number: int) -> str:
        """Return the file of a version."""
        return join(self.versions, f"{number:06}.json")

    def update(self, name: str) -> RunDirectory:
        """Return the run directory of an update."""
        return RunDirectory(join(self.updates, name), is_update=True)

    def sources(self, name: str) -> str:
        """Return the table of the input files that the index holds after an update."""
        return join(self.updates, name, PRIVATE, "sources.pq")

    def origin(self, name: str) -> str:
        """Return the file that records how the input of an update was read."""
        return join(self.updates, name, PRIVATE, "origin.json")

    def plan(self, name: str) -> str:
        """Return the table of the input files that an update is to read."""
        return join(self.updates, name, PRIVATE, "plan.pq")

    def former_plan(self, name: str) -> str:
        """Return the former path of `plan`."""
        return join(self.updates, name, PRIVATE, "plan.parquet")

    def duplicates(self, number: int) -> str:
        """Return the near-duplicates in a version."""
        return join(self.uri, PRIVATE, f"duplicates-{number:06}.pq")

    @staticmethod
    def ann(name: str) -> str:
        """Return the Lance dataset that was built with an update, relative to the index."""
        return f"{_ANN}{name}{_ANN_SUFFIX}"

    def path(self, relative: str) -> str:
        """Return the URI of a path relative to the index."""
        return join(self.uri, relative)

    def version_numbers(self) -> list[int]:
        """Return the numbers of all versions, ascending, broken ones included."""
        matches = (_VERSION.match(name_of(entry.uri)) for entry in existing_files(self.versions))
        return sorted(int(match["number"]) for match in matches if match)

    def update_names(self) -> list[str]:
        """Return the names of all updates, sorted, unfinished ones included."""
        return sorted(_directories(self.updates))

    def last_run(self) -> RunDirectory | None:
        """Return the run directory of the last update; None before the first."""
        runs = map(self.update, reversed(self.update_names()))
        return next((run for run in runs if exists(run.record)), None)

    def row_files(self) -> list[FileEntry]:
        """Return the files of rows of all updates, superseded ones included."""
        if not exists(self.updates):
            return []
        files = list_files(self.updates, hidden=True)
        return [entry for entry in files if _ROWS.search(entry.uri)]

    def ann_paths(self) -> list[str]:
        """Return the paths of all Lance datasets, relative to the index."""
        return sorted(n for n in _directories(self.uri) if n.startswith(_ANN) and n.endswith(_ANN_SUFFIX))


def _directories(uri: str) -> list[str]:
    filesystem, path = fsspec_for(uri)
    if not filesystem.exists(path):
        return []
    found = filesystem.ls(path, detail=True)
    return [name_of(entry["name"]) for entry in found if entry["type"] == "directory"]


def existing_files(uri: str) -> list[FileEntry]:
    """Return the files below `uri`; none if it does not exist."""
    return list_files(uri) if exists(uri) else []
