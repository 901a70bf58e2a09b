"""The rules that combine the results of photos, and what both kinds of results have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import pyarrow as pa

Rule: TypeAlias = Literal["any", "all", "max", "mean", "vote"]
Row: TypeAlias = Mapping[str, Any]
"""A row of an output, by column."""


class Combiner(Protocol):
    """Combines the rows of a group."""

    @property
    def rule(self) -> Rule:
        """The rule."""
        ...

    @property
    def form(self) -> tuple[pa.Field, ...]:
        """The columns of a group's result."""
        ...

    @property
    def evidence(self) -> tuple[pa.Field, ...]:
        """The columns of a photo's result that are its evidence."""
        ...

    @property
    def further(self) -> tuple[str, ...]:
        """The columns that are read beside them."""
        ...

    def combine(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the result of a group by column.

        Args:
            rows: of the photos that have a result, at least one, in the order of the input.

        Raises:
            RowError: the rule does not suit these results.
        """
        ...
