"""What rows can be narrowed by: columns with few distinct values, counted over the rows that are left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.browse.text_filter import Mask

SHOWN_VALUES = 40
_MOST_FACETS = 16
_MOST_QUESTIONS = 8
# A column with more distinct values is narrowed by only where a value has this many rows in the mean.
_FEW_VALUES = 60
_ROWS_OF_A_VALUE = 4
# What tells rows apart or is read as a whole, whatever it holds.
_IDENTITY = ("row_id", "image_id", "question_id", "image_uri", "sha256", "source_key", "attempt", "height", "width")

_NEVER = frozenset(
    (*_IDENTITY, "question_index", "error_message", "warning", "caption", "tags", "embedding", "thumbnail", "image")
)
_FIRST = ("status", "error_code", "match")
# Whether a row that was answered has a tag; made here, unless there is a column of this name.
_TAGGED = "tagged"

Chosen = Mapping[str, Collection[str]]
"""Facet → the values of which a row must have one."""


@dataclass(frozen=True, slots=True)
class Facet:
    """One thing that rows have values of.

    Attributes:
        name: its column, or a question that was asked.
        values: V texts, the most frequent first.
        rows, codes: int32 (P,), pairs of a row and a value that it has.
    """

    name: str
    values: tuple[str, ...]
    rows: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]

    def mask(self, values: Collection[str], count: int) -> Mask:
        """bool (count,): the rows that have one of these values."""
        wanted = np.flatnonzero([value in values for value in self.values])
        found: Mask = np.zeros(count, np.bool_)
        found[self.rows[np.isin(self.codes, wanted)]] = True
        return found


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a facet as it is shown: how many rows it would leave, and whether it is chosen."""

    text: str
    rows: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """A facet as it is shown: its most frequent and its chosen values, and how many more there are."""

    name: str
    values: tuple[Value, ...]
    more: int


class Facets:
    """The facets of `count` rows."""

    def __init__(self, facets: Sequence[Facet], count: int) -> None:
        self._facets = {facet.name: facet for facet in facets}
        self._count = count

    def __contains__(self, chosen: tuple[str, str]) -> bool:
        name, value = chosen
        return name in self._facets and value in self._facets[name].values

    def mask(self, chosen: Chosen) -> Mask:
        """bool (count,): the rows that have, of each facet chosen from, one of the values."""
        found: Mask = np.ones(self._count, np.bool_)
        for name, values in chosen.items():
            if name in self._facets:
                found &= self._facets[name].mask(values, self._count)
        return found

    def counted(self, chosen: Chosen, pool: Mask) -> list[FacetCounts]:
        """Every facet, counted over the rows of `pool` that the choices from the other facets leave.

        Args:
            chosen: what is chosen.
            pool: bool (count,), the rows that anything is chosen from.
        """
        shown = []
        for name, facet in self._facets.items():
            left = pool & self.mask({other: values for other, values in chosen.items() if other != name})
            rows = np.bincount(facet.codes[left[facet.rows]], minlength=len(facet.values))
            mine = set(chosen.get(name, ()))
            values = [
                Value(text, int(count), text in mine)
                for place, (text, count) in enumerate(zip(facet.values, rows.tolist(), strict=True))
                if text in mine or (count and place < SHOWN_VALUES)
            ]
            more = int(np.count_nonzero(rows[SHOWN_VALUES:])) - sum(
                bool(rows[place]) for place, text in enumerate(facet.values) if place >= SHOWN_VALUES and text in mine
            )
            if values:
                shown.append(FacetCounts(name, tuple(values), more))
        return shown


def find_facets(table: pa.Table) -> Facets:
    """The facets of a table: strings, whole numbers and booleans with few distinct values, lists of such strings, and
    the answers to the questions of a column `results`."""
    names = [name for name in table.column_names if name not in _NEVER]
    names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    found = [facet for name in names for facet in _of_column(name, table[name].combine_chunks())]
    if "tags" in table.column_names and pa.types.is_list(table["tags"].type) and _TAGGED not in names:
        has_tags = pc.greater(pc.list_value_length(table["tags"].combine_chunks()), 0)
        # An array of booleans with null for rows in error, which are neither.
        found.insert(0, _facet(_TAGGED, has_tags, np.arange(table.num_rows, dtype=np.int32)))
    return Facets([facet for facet in found if _narrows(facet, table.num_rows)][:_MOST_FACETS], table.num_rows)


def _of_column(name: str, column: pa.Array) -> Iterator[Facet]:
    kind = column.type
    rows = np.arange(len(column), dtype=np.int32)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        rows, kind = np.asarray(pc.list_parent_indices(column)).astype(np.int32), kind.value_type
        column = pc.list_flatten(column)
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        yield _facet(name, column, rows)
    elif name == "results" and pa.types.is_struct(kind) and {"question", "answer"} <= {field.name for field in kind}:
        questions, answers = (pc.struct_field(column, part) for part in ("question", "answer"))
        counts = sorted(pc.value_counts(questions).to_pylist(), key=lambda each: -each["counts"])
        for question in [each["values"] for each in counts if each["values"] is not None][:_MOST_QUESTIONS]:
            asked = pc.fill_null(pc.equal(questions, question), False)
            yield _facet(question, answers.filter(asked), rows[np.asarray(asked)])


def _facet(name: str, column: pa.Array, rows: npt.NDArray[np.int32]) -> Facet:
    known = pc.is_valid(column)
    encoded = column.filter(known).dictionary_encode()
    codes = np.asarray(encoded.indices)
    texts = _texts(encoded.dictionary)
    order = sorted(range(len(texts)), key=np.bincount(codes, minlength=len(texts)).tolist().__getitem__, reverse=True)
    place = np.empty(len(texts), np.int32)
    place[order] = np.arange(len(texts), dtype=np.int32)
    # A list may hold a value twice; its row has it once.
    pairs = np.unique(np.stack([rows[np.asarray(known)], place[codes]], axis=1), axis=0)
    return Facet(name, tuple(texts[each] for each in order), pairs[:, 0], pairs[:, 1])


def _texts(values: pa.Array) -> list[str]:
    if pa.types.is_boolean(values.type):
        return ["yes" if value else "no" for value in values.to_pylist()]
    return [str(value) for value in values.to_pylist()]


def _narrows(facet: Facet, rows: int) -> bool:
    """Whether there is something to choose: several values, or one that not every row has; and not too many."""
    values = len(facet.values)
    few = values <= _FEW_VALUES or values * _ROWS_OF_A_VALUE <= len(facet.rows)
    return few and (values > 1 or (values == 1 and len(facet.rows) < rows))


def by_facet(chosen: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Pairs of a facet and a value, gathered by facet."""
    gathered: dict[str, tuple[str, ...]] = {}
    for name, value in chosen:
        gathered[name] = (*gathered.get(name, ()), value)
    return gathered
