"""Rows of two inputs that have the same id, joined partition by partition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.judging.partition import PARTITION_ROWS, divide, read_partition, side_file

# Columns of prepared rows: what tells rows apart, an id and an attribute or question where there are several; and what
# a person knows the row by.
JOINED, SHOWN_KEY = "joined", "shown_key"
EXAMPLES = 5
_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class PreparedRows:
    """The rows of an input in the form that is compared; a `vqa_ray.judging.side.Side`.

    Attributes:
        uri: of the input.
        rows: their number, about.
        tasks: number of files.
        read: yields the rows of a file, with the columns JOINED and SHOWN_KEY.
    """

    uri: str
    rows: int
    tasks: int
    read: Callable[[int], Iterable[pa.Table]]
    fingerprint: str = ""
    columns: Sequence[str] = ()
    ids: frozenset[str] = frozenset()

    def tables(self, task: int) -> Iterator[pa.Table]:
        """Yield the rows of a file."""
        yield from self.read(task)


@dataclass(frozen=True, slots=True)
class PairedTables:
    """The rows of a partition.

    Attributes:
        first, second: rows that both inputs have, in the same order.
        only_first, only_second: the others.
    """

    first: pa.Table
    second: pa.Table
    only_first: pa.Table
    only_second: pa.Table


@dataclass(slots=True)
class Overlap:
    """How many rows two inputs share, with examples of the keys of those that one of them lacks."""

    both: int = 0
    only: list[int] = field(default_factory=lambda: [0, 0])
    keys: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))

    def add(self, paired: PairedTables) -> None:
        """Count the rows of a partition."""
        self.both += paired.first.num_rows
        for side, table in enumerate((paired.only_first, paired.only_second)):
            self.only[side] += table.num_rows
            shown = self.keys[side]
            shown += table[SHOWN_KEY].slice(0, EXAMPLES - len(shown)).to_pylist()


class Partitions:
    """The rows of several inputs, divided on disk.

    Args:
        inputs: to be divided.
        directory: where the partitions lie, until the caller deletes it.
    """

    def __init__(self, inputs: Sequence[PreparedRows], directory: str) -> None:
        self._directory = directory
        self._count = max(1, -(-max(each.rows for each in inputs) // PARTITION_ROWS))
        for number, each in enumerate(inputs):
            for task in range(each.tasks):
                divide(each, task, (JOINED,), self._count, side_file(directory, str(number), task))

    def tables(self, number: int) -> Iterator[pa.Table]:
        """Yield the rows of an input, the last of each id, by partition."""
        for partition in range(self._count):
            table = self._read(number, partition)
            if table is not None:
                yield table

    def pairs(self, first: int, second: int) -> Iterator[PairedTables]:
        """Yield the rows of two inputs by partition."""
        for partition in range(self._count):
            sides = self._read(first, partition), self._read(second, partition)
            known = next((side for side in sides if side is not None), None)
            if known is not None:
                yield _paired(*(known.slice(0, 0) if side is None else side for side in sides))

    def _read(self, number: int, partition: int) -> pa.Table | None:
        table = read_partition(self._directory, str(number), partition, self._count)
        return None if table is None else _last_of_each(table)


def joined_ids(keys: pa.Array | pa.ChunkedArray, parts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the values of JOINED: a key, and an attribute or a question, which may be null."""
    return pc.binary_join_element_wise(pc.fill_null(keys, ""), pc.fill_null(parts, ""), _SEPARATOR)


def _last_of_each(table: pa.Table) -> pa.Table:
    ids = table[JOINED]
    places = pa.table({"id": ids, "place": pa.array(range(len(ids)), pa.int64())})
    last = places.group_by("id", use_threads=False).aggregate([("place", "max")])["place_max"]
    return table if len(last) == len(ids) else table.take(last)


def _paired(first: pa.Table, second: pa.Table) -> PairedTables:
    at = pc.index_in(second[JOINED], value_set=first[JOINED].combine_chunks())
    shared = pc.is_valid(at)
    is_in_second = pc.is_in(first[JOINED], value_set=second[JOINED].combine_chunks())
    return PairedTables(
        first.take(at.filter(shared)),
        second.filter(shared),
        first.filter(pc.invert(is_in_second)),
        second.filter(pc.invert(shared)),
    )
