"""Rows of a run paired with rows of tables that are read again, by their ids and contents. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from vqa_ray.keys import Keys
from vqa_ray.schema import STATUS_OK
from vqa_ray.storage.python_rows import python_rows

_NO_PAIRS: Keys = np.empty((0, 2), np.int64)
# What is comparable of a row; None where nothing tells whether its image is the same.
Contents: TypeAlias = tuple[object, ...] | None


class KnownRow(NamedTuple):
    """An input row, as far as its identity goes."""

    key: int
    row_id: int
    contents: Contents


class Matches(NamedTuple):
    """Pairs of (key before, key now), int64 (N, 2), by the first, and the keys before that have no row any more."""

    same: Keys
    changed: Keys
    gone: Keys


def match(before: Iterable[KnownRow], now: Iterable[KnownRow]) -> Matches:
    """Pair rows by their row_id; of several with the same one, in their order.

    Rows with equal contents are the same.
    """
    waiting: defaultdict[int, deque[KnownRow]] = defaultdict(deque)
    for row in before:
        waiting[row.row_id].append(row)
    same: list[tuple[int, int]] = []
    changed: list[tuple[int, int]] = []
    for row in now:
        partners = waiting.get(row.row_id)
        if partners:
            known = partners.popleft()
            is_same = known.contents is not None and known.contents == row.contents
            (same if is_same else changed).append((known.key, row.key))
    gone = sorted(row.key for rows in waiting.values() for row in rows)
    return Matches(_pairs(same), _pairs(changed), np.array(gone, np.int64))


@dataclass(frozen=True, slots=True)
class RowReading:
    """How the contents of rows are compared.

    Attributes:
        ids: columns of identity that the output has: of `image_id`, `question_id` and `image_uri`.
        kept: (name in READ tables, name in the output) of each kept column.
        has_own_ids: whether a row_id is the user's, and says nothing of what its row holds; otherwise it is a hash of
            the image, or of its reference, and the questions.
        tells_all: whether the output holds all else that decides an answer; rows with earlier turns, several images or
            texts of other columns do not.
    """

    ids: tuple[str, ...]
    kept: tuple[tuple[str, str], ...] = ()
    has_own_ids: bool = False
    tells_all: bool = True

    def of_output(self, table: pa.Table) -> list[KnownRow]:
        """Return the input rows of a part file."""
        names = ("source_key", "row_id", "status", "question", "question_index", "results", *self.ids)
        wanted = dict.fromkeys((*names, *(name for _, name in self.kept)))
        by_key: dict[int, list[Mapping[str, Any]]] = {}
        for row in python_rows(table.select([name for name in wanted if name in table.column_names])):
            by_key.setdefault(row["source_key"], []).append(row)
        return [self._known(rows, 1) for rows in by_key.values()]

    def of_input(self, table: pa.Table) -> list[KnownRow]:
        """Return the rows of a READ table."""
        names = ("source_key", "row_id", "status", "questions", *self.ids, *(name for name, _ in self.kept))
        return [self._known([row], 0) for row in python_rows(table.select(list(dict.fromkeys(names))))]

    def _known(self, rows: Sequence[Mapping[str, Any]], side: int) -> KnownRow:
        first = rows[0]
        if not self.tells_all or any(row["status"] != STATUS_OK for row in rows):
            return KnownRow(first["source_key"], first["row_id"], None)
        contents = [first[name] for name in self.ids] + [repr(first[pair[side]]) for pair in self.kept]
        if self.has_own_ids:
            contents += _questions(rows)
            if first.get("image_uri") is None:
                return KnownRow(first["source_key"], first["row_id"], None)
        return KnownRow(first["source_key"], first["row_id"], tuple(contents))


def _questions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    first = rows[0]
    if "questions" in first:
        return list(first["questions"] or ())
    if "results" in first:
        return [each["question"] for each in first["results"] or ()]
    if "question" not in first:
        return []
    return [row["question"] for row in sorted(rows, key=itemgetter("question_index"))]


def _pairs(pairs: list[tuple[int, int]]) -> Keys:
    return np.array(sorted(pairs), np.int64) if pairs else _NO_PAIRS
