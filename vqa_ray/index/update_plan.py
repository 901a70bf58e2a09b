"""What an update replaces in an index: decided by what it reads of an input. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from vqa_ray.index.input_files import Difference, keys_by_update, without_files
from vqa_ray.index.update import VersionDelta
from vqa_ray.index.version import Update


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """An update of an index.

    Attributes:
        name: of the update.
        input: URI of the input.
        started: when the command began, UTC, ISO 8601.
        changes: the difference between the input and the index.
        planned: SOURCES that the update reads.
    """

    name: str
    input: str
    started: str
    changes: Difference
    planned: pa.Table

    @property
    def entry(self) -> Update:
        """The update as a version lists it."""
        read = set(self.planned["uri"].to_pylist())
        return Update(
            name=self.name,
            started=self.started,
            input=self.input,
            added=sum(uri in read for uri in self.changes.added),
            replaced=sum(uri in read for uri in self.changes.changed),
            removed=len(self.changes.gone),
        )

    def delta(self, known: pa.Table, parts: Sequence[str]) -> VersionDelta:
        """Return what changes in an index once all rows are written: their sources are replaced, gone ones leave.

        Args:
            known: SOURCES of the index.
            parts: URIs of the written files.
        """
        leaving = {*self.changes.gone, *self.planned["uri"].to_pylist()}
        return VersionDelta(
            update=self.entry,
            drop=keys_by_update(known, leaving),
            parts=parts,
            read_as=self.name,
            sources=pa.concat_tables([without_files(known, leaving), self.planned]),
        )

    def salvage(self, known: pa.Table, parts: Sequence[str]) -> VersionDelta:
        """Return what changes where the update was cut short: `planned` alone is taken of its files, nothing leaves.

        Args:
            known: SOURCES of the index.
            parts: URIs of the written files, with rows of other sources too.
        """
        ordered = self.planned.sort_by("first_key")
        ranges = np.stack([ordered["first_key"].to_numpy(), ordered["last_key"].to_numpy()], axis=1)
        return replace(replace(self, changes=replace(self.changes, gone=())).delta(known, parts), only=ranges)
