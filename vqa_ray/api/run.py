"""The results of a run from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vqa_ray.errors import RequestError
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory, require_directory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.publication import Publication
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.store_errors import store_failures, store_reason

if TYPE_CHECKING:
    import pandas


# Publications of updates that reading gets out of the way of.
_TRIES = 5


def read_run(uri: str) -> Run:
    """Open the output of `answer`, `tag`, `caption`, `retrieve` or `instruct`.

    Args:
        uri: the output directory.

    Raises:
        RequestError: no run is there, or it cannot be read.
    """
    require_directory(uri, uri, "the output directory of a run")
    layout = RunDirectory(uri)
    try:
        record = RunRecord.read(layout.record)
        finished = manifest.read(layout.manifest)
    except store_failures() as error:
        raise RequestError(f"{uri}: cannot be read: {store_reason(error, named=True)}") from error
    if record is None:
        raise RequestError(f"{uri}: no run is there; expected the output directory of a run")
    return Run(uri, record, finished)


def _state(layout: RunDirectory) -> tuple[Mapping[str, Any] | None, Publication | None]:
    return manifest.read(layout.manifest), Publication.read(layout.publication)


@dataclass(frozen=True)
class Run:
    """A run; made by `read_run`.

    Attributes:
        uri: the output directory.
        record: the request: job, model, command, versions.
        manifest: the outcome: counts by status and error code, timings; None where the run has not finished.
    """

    uri: str
    record: RunRecord
    manifest: Mapping[str, Any] | None

    def __repr__(self) -> str:
        if self.manifest is None:
            return f"Run({self.uri!r}, job={self.record.job!r}, unfinished)"
        counts = f"rows={self.manifest['rows']:,}, failed={self.manifest['failed']:,}"
        return f"Run({self.uri!r}, job={self.record.job!r}, {counts})"

    @cached_property
    def table(self) -> pa.Table:
        """All rows, those in error too; of a run that has not finished, the rows so far."""
        return self.read()

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows; `table` keeps them, this does not.

        Args:
            columns: those wanted; None for all.

        Raises:
            RequestError: there is no such column, no rows yet, a file cannot be read, or updates kept coming.
        """
        try:
            parts = self._parts(columns)
        except store_failures(pa.ArrowException) as error:
            raise RequestError(f"{self.uri}: cannot be read: {store_reason(error, named=True)}") from error
        if not parts:
            raise RequestError(f"{self.uri}: the run of {self.record.job} has no rows yet")
        unknown = [name for name in columns or () if name not in parts[0].column_names]
        if unknown:
            raise RequestError(f"{self.uri}: no column {unknown[0]!r}; read() without columns gives all")
        return pa.concat_tables(parts)

    def _parts(self, columns: Sequence[str] | None) -> list[pa.Table]:
        """Read the files of rows of one state: again, where an update is published meanwhile."""
        layout = RunDirectory(self.uri)
        for _ in range(_TRIES):
            before = _state(layout)
            parts = [read_columns(entry.uri, columns) for entry in layout.part_files()]
            if _state(layout) == before:
                return parts
        raise RequestError(f"{self.uri}: each of {_TRIES} readings met an update; read it again when they are done")

    def to_pandas(self, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """Return the rows as a DataFrame.

        Args:
            columns: those wanted; None for all.

        Raises:
            RequestError: see `read`.
        """
        frame: pandas.DataFrame = (self.table if columns is None else self.read(columns)).to_pandas()
        return frame
