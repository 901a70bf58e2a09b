"""The rows that reach a training process, cut as the stream happens to be, put together step by step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RunError
from vqa_ray.training.prefetch import Prefetcher

_STEPS_AHEAD = 2

G = TypeVar("G")


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that cannot be trained on or judged, with the code and message of its error."""

    source_key: int
    code: str
    message: str | None


Collate: TypeAlias = Callable[[pa.Table], tuple[Sequence[G], Sequence[SkippedRow]]]
"""DECODED rows with TRAINING_FIELDS, none in error → groups for a `Trainer`, and the rows that none of them holds."""


@dataclass(frozen=True, slots=True)
class StepBatch(Generic[G]):
    """This process's rows of one step.

    Attributes:
        step: counted over the whole training.
        groups: without the skipped rows; empty when there is no other.
        skipped: rows in error.
    """

    step: int
    groups: Sequence[G]
    skipped: Sequence[SkippedRow]


class StepBatches(Prefetcher[StepBatch[G]]):
    """Every step of a range exactly once, in order, also those of which no row came here.

    Steps are put together in a background thread, at most two ahead; to be used in a `with` block, see `Prefetcher`.

    Args:
        tables: DECODED rows with TRAINING_FIELDS in order of `step`, cut anywhere.
        collate: makes batches of rows.
        steps: which steps are to come.

    Raises:
        RunError: while iterating, when a row of an earlier step comes after one of a later step, or a row of no step of
            the range.
    """

    def __init__(self, tables: Iterable[pa.Table], collate: Collate[G], steps: range) -> None:
        super().__init__(_fed_steps(tables, collate, steps), _STEPS_AHEAD)


def _fed_steps(tables: Iterable[pa.Table], collate: Collate[G], steps: range) -> Generator[StepBatch[G], None, None]:
    for step, parts in rows_by_step(tables, steps):
        if not parts:
            yield StepBatch(step, [], [])
            continue
        usable, skipped = set_aside(pa.concat_tables(parts))
        groups, failed = collate(usable)
        yield StepBatch(step, groups, [*skipped, *failed])


def rows_by_step(tables: Iterable[pa.Table], steps: range) -> Iterator[tuple[int, list[pa.Table]]]:
    """(step, its rows in one or more tables, none where there is no row) of each step of the range.

    Raises:
        RunError: see `StepBatches`.
    """
    step, parts = steps.start, list[pa.Table]()
    for table in tables:
        for number, part in _runs(table):
            if not step <= number < steps.stop:
                raise RunError(
                    f"a row of step {number} came where step {step} or a later one up to {steps.stop - 1} was to "
                    f"come (source_key {part['source_key'][0]}): rows do not come in the order of the plan"
                )
            while step < number:
                yield step, parts
                step, parts = step + 1, []
            parts.append(part)
    while step < steps.stop:
        yield step, parts
        step, parts = step + 1, []


def _runs(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """(step, rows) of each run of rows of one step."""
    if table.num_rows == 0:
        return
    steps = table["step"].to_numpy()
    bounds = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), table.num_rows]
    for start, stop in itertools.pairwise(bounds):
        yield int(steps[start]), table.slice(start, stop - start)


def set_aside(table: pa.Table) -> tuple[pa.Table, list[SkippedRow]]:
    """Return the rows that are no error, and what became of the others.

    Args:
        table: DECODED rows.
    """
    usable = schema.is_ok(table)
    if usable.all():
        return table, []
    failed = table.filter(pa.array(~usable))
    columns = (failed[name].to_pylist() for name in ("source_key", "error_code", "error_message"))
    return table.filter(pa.array(usable)), [SkippedRow(*row) for row in zip(*columns, strict=True)]
