"""Facets: columns with few distinct values that rows are filtered by, with row counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.browse.text_filter import Mask
from vqa_ray.report.row_cards import tag_attributes

SHOWN_VALUES = 40
_MOST_FACETS = 16
_MOST_QUESTIONS = 8
# A column with more distinct values is a facet only if a value has this many rows on average.
_FEW_VALUES = 60
_ROWS_OF_A_VALUE = 4
# Identifiers of rows, never facets.
_IDENTITY = ("row_id", "image_id", "question_id", "image_uri", "sha256", "source_key", "attempt", "height", "width")

_NEVER = frozenset(
    (
        *_IDENTITY,
        "question_index",
        "error_message",
        "warning",
        "caption",
        "tags",
        "embedding",
        "thumbnail",
        "image",
        "object_json",
        *("prompt", "reply", "conversation"),
    )
)
_FIRST = ("status", "error_code", "match")
# A facet made here: whether a row without an error has a tag; unless the table has a column of this name.
_TAGGED = "tagged"
_HAS_ANSWERS = {"question", "answer"}

Selected = Mapping[str, Collection[str]]
"""Facet → selected values; a row matches if it has one of them."""


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of a column, or the answers to a question.

    Attributes:
        name: of the column, or the question.
        values: V texts, the most frequent first.
        rows, codes: int32 (P,), pairs of a row and the number of a value that it has.
    """

    name: str
    values: tuple[str, ...]
    rows: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]

    def mask(self, values: Collection[str], count: int) -> Mask:
        """bool (count,): rows with one of these values."""
        wanted = np.flatnonzero([value in values for value in self.values])
        found: Mask = np.zeros(count, np.bool_)
        found[self.rows[np.isin(self.codes, wanted)]] = True
        return found


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a facet, the number of rows that selecting it gives, and whether it is selected."""

    text: str
    rows: int
    selected: bool


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """A facet for a page: its most frequent values, its selected values, and the number of values left out."""

    name: str
    values: tuple[Value, ...]
    more: int


class Facets:
    """The facets of a table of `count` rows."""

    def __init__(self, facets: Sequence[Facet], count: int) -> None:
        self._facets = {facet.name: facet for facet in facets}
        self._count = count

    def __contains__(self, pair: tuple[str, str]) -> bool:
        name, value = pair
        return name in self._facets and value in self._facets[name].values

    def mask(self, selected: Selected) -> Mask:
        """bool (count,): rows with one of the selected values of every facet."""
        found: Mask = np.ones(self._count, np.bool_)
        for name, values in selected.items():
            if name in self._facets:
                found &= self._facets[name].mask(values, self._count)
        return found

    def count(self, selected: Selected, pool: Mask) -> list[FacetCounts]:
        """Count the values of every facet over the rows of `pool` that match the selection in all other facets.

        Args:
            selected: values by facet.
            pool: bool (count,), the rows before facets are applied.
        """
        shown = []
        for name, facet in self._facets.items():
            left = pool & self.mask({other: values for other, values in selected.items() if other != name})
            rows = np.bincount(facet.codes[left[facet.rows]], minlength=len(facet.values))
            mine = set(selected.get(name, ()))
            values = [
                Value(text, int(count), text in mine)
                for rank, (text, count) in enumerate(zip(facet.values, rows.tolist(), strict=True))
                if text in mine or (count and rank < SHOWN_VALUES)
            ]
            more = int(np.count_nonzero(rows[SHOWN_VALUES:])) - sum(
                bool(rows[rank]) for rank, text in enumerate(facet.values) if rank >= SHOWN_VALUES and text in mine
            )
            if values:
                shown.append(FacetCounts(name, tuple(values), more))
        return shown


def find_facets(table: pa.Table) -> Facets:
    """Find the facets of a table.

    They are columns of strings, integers and booleans (or lists of these) with few distinct values, and the answers to
    each question of a column `results`.
    """
    names = [name for name in table.column_names if name not in _NEVER]
    # Attributes before the reasons why they have no value: a page has room for a few facets.
    last = {f"{tag}_{kind}" for tag in tag_attributes(table.schema) for kind in ("reason", "rank")}
    names.sort(key=lambda name: (name in last, _FIRST.index(name) if name in _FIRST else len(_FIRST)))
    found = [facet for name in names for facet in _of_column(name, table[name].combine_chunks())]
    if "tags" in table.column_names and pa.types.is_list(table["tags"].type) and _TAGGED not in names:
        has_tags = pc.greater(pc.list_value_length(table["tags"].combine_chunks()), 0)
        # Null for error rows, which are neither tagged nor untagged.
        found.insert(0, _facet(_TAGGED, has_tags, np.arange(table.num_rows, dtype=np.int32)))
    return Facets([facet for facet in found if _narrows(facet, table.num_rows)][:_MOST_FACETS], table.num_rows)


def _of_column(name: str, column: pa.Array) -> Iterator[Facet]:
    data_type = column.type
    rows = np.arange(len(column), dtype=np.int32)
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        rows, data_type = np.asarray(pc.list_parent_indices(column)).astype(np.int32), data_type.value_type
        column = pc.list_flatten(column)
    if pa.types.is_string(data_type) or pa.types.is_integer(data_type) or pa.types.is_boolean(data_type):
        yield _facet(name, column, rows)
    elif (
        name == "results"
        and pa.types.is_struct(data_type)
        and {"question", "answer"} <= {field.name for field in data_type}
    ):
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
    rank = np.empty(len(texts), np.int32)
    rank[order] = np.arange(len(texts), dtype=np.int32)
    # A list may hold a value twice; its row counts once.
    pairs = np.unique(np.stack([rows[np.asarray(known)], rank[codes]], axis=1), axis=0)
    return Facet(name, tuple(texts[each] for each in order), pairs[:, 0], pairs[:, 1])


def _texts(values: pa.Array) -> list[str]:
    if pa.types.is_boolean(values.type):
        return ["yes" if value else "no" for value in values.to_pylist()]
    return [str(value) for value in values.to_pylist()]


def _narrows(facet: Facet, rows: int) -> bool:
    """Whether a facet is of use: it has several values, or one that some rows lack, and not too many."""
    values = len(facet.values)
    few = values <= _FEW_VALUES or values * _ROWS_OF_A_VALUE <= len(facet.rows)
    return few and (values > 1 or (values == 1 and len(facet.rows) < rows))


def by_facet(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Group (facet, value) pairs by facet."""
    grouped: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        grouped[name] = (*grouped.get(name, ()), value)
    return grouped
