"""The rows of an output, counted: one pass over the columns that matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import FILTERED, ErrorCode
from vqa_ray.keys import Keys
from vqa_ray.runs.part_files import read_columns
from vqa_ray.schema import STATUS_ERROR, STATUS_GONE, STATUS_OK

_KEYS = ("source_key", "question_index")
_COLUMNS = (
    *(*_KEYS, "row_id", "image_id", "question", "results", "scores"),
    *("finish_reason", "status", "error_code", "warning"),
)
_NO_ROWS: npt.NDArray[np.int64] = np.empty((0, 2), np.int64)
_MALFORMED = str(ErrorCode.ROW_MALFORMED)


@dataclass(slots=True)
class RowCounts:
    """Counts over an output.

    Attributes:
        rows, ok: rows, and those of them that were answered; a question of an input row may have a row of its own.
        gone: rows that the input does not have any more; they are neither answered nor failed.
        torn: input rows of which questions are missing, or there twice.
        errors: error code → rows.
        warnings: rows answered with a warning.
        cut: answers and captions that reached the limit of new tokens.
        images: distinct image_ids in each file, added up; rows without one count as an image each.
        questions: questions answered.
        keys, row_ids: int64 (N,), of every input row, by its first question where it has several.
        malformed: int64 (M,), the keys of `row_malformed` rows.
    """

    rows: int = 0
    ok: int = 0
    gone: int = 0
    images: int = 0
    questions: int = 0
    warnings: int = 0
    cut: int = 0
    torn: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    keys: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    row_ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    malformed: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def count_rows(part_uris: Iterable[str]) -> RowCounts:
    """Count the rows of these part files, a file at a time; only keys and ids (16 bytes a row) are held."""
    total = RowCounts()
    keys, row_ids, malformed = [total.keys], [total.row_ids], [total.malformed]
    for uri in part_uris:
        table = read_columns(uri, _COLUMNS)
        total.rows += table.num_rows
        ok = pc.equal(table["status"], STATUS_OK)
        total.ok += pc.sum(ok).as_py() or 0
        total.gone += pc.sum(pc.equal(table["status"], STATUS_GONE)).as_py() or 0
        failed = table.filter(pc.equal(table["status"], STATUS_ERROR))["error_code"]
        total.errors.update({entry["values"]: entry["counts"] for entry in failed.value_counts().to_pylist()})
        total.warnings += table.num_rows - table["warning"].null_count
        total.cut += _cut(table)
        total.images += pc.count_distinct(table["image_id"]).as_py() + table["image_id"].null_count
        total.questions += _questions(table.filter(ok))
        pairs = row_keys(table)
        first = pairs[:, 1] == 0
        total.torn += _torn(pairs)
        keys.append(pairs[first, 0])
        row_ids.append(table["row_id"].to_numpy()[first])
        malformed.append(table.filter(pc.equal(table["error_code"], _MALFORMED))["source_key"].to_numpy())
    total.keys, total.row_ids, total.malformed = map(np.concatenate, (keys, row_ids, malformed))
    return total


def row_keys(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the identity of each row: int64 (N, 2), the source_key and the place of the question, else 0."""
    keys = table["source_key"].to_numpy()
    has_places = "question_index" in table.column_names
    places = table["question_index"].to_numpy() if has_places else np.zeros(len(keys), np.int64)
    return np.stack([keys, places.astype(np.int64)], axis=1)


def keys_of_parts(part_uris: Iterable[str]) -> npt.NDArray[np.int64]:
    """`row_keys` of all rows of part files, in order of the files."""
    return np.concatenate([_NO_ROWS, *(row_keys(read_columns(uri, _KEYS)) for uri in part_uris)])


def current_keys(part_uris: Iterable[str]) -> tuple[Keys, Keys]:
    """Return the source_keys of the input rows of part files, and of them those that are marked as gone: sorted."""
    every, gone = [_NO_ROWS[:, 0]], [_NO_ROWS[:, 0]]
    for uri in part_uris:
        table = read_columns(uri, ("source_key", "status"))
        every.append(np.unique(table["source_key"].to_numpy()))
        gone.append(np.unique(table.filter(pc.equal(table["status"], STATUS_GONE))["source_key"].to_numpy()))
    return np.unique(np.concatenate(every)), np.unique(np.concatenate(gone))


def _torn(pairs: npt.NDArray[np.int64]) -> int:
    """Count the input rows of one file that lack one of their questions or have one twice."""
    ordered = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    _, starts, counts = np.unique(ordered[:, 0], return_index=True, return_counts=True)
    wanted = np.arange(len(ordered)) - np.repeat(starts, counts)
    return len(np.unique(ordered[ordered[:, 1] != wanted, 0]))


def failed_rows(part_uris: Iterable[str], codes: frozenset[str] | None) -> npt.NDArray[np.int64]:
    """`row_keys` of failed rows, sorted.

    Args:
        part_uris: the part files.
        codes: error codes wanted; None for all but those of filtered rows, which have not failed.
    """
    keys = [_NO_ROWS]
    for uri in part_uris:
        table = read_columns(uri, (*_KEYS, "status", "error_code"))
        failed = pc.equal(table["status"], STATUS_ERROR)
        named = pc.is_in(table["error_code"], pa.array(sorted(FILTERED if codes is None else codes), pa.string()))
        failed = pc.and_(failed, pc.invert(named) if codes is None else named)
        keys.append(row_keys(table.filter(failed)))
    found: npt.NDArray[np.int64] = np.unique(np.concatenate(keys), axis=0)
    return found


def failed_keys(part_uris: Iterable[str], codes: frozenset[str] | None) -> npt.NDArray[np.int64]:
    """Return the source_keys of failed rows: int64 (N,), sorted; see `failed_rows`."""
    return np.unique(failed_rows(part_uris, codes)[:, 0])


def asked_questions(scored: pa.Table) -> int:
    """Count the questions that `retrieve` put to the model for these rows."""
    values = pc.list_flatten(scored["scores"])
    return int(len(values) - pc.struct_field(values, "score").null_count)


def _questions(answered: pa.Table) -> int:
    if "scores" in answered.column_names:
        return asked_questions(answered)
    if "results" in answered.column_names:
        return int(pc.sum(pc.list_value_length(answered["results"])).as_py() or 0)
    return answered.num_rows if "question" in answered.column_names else 0


def _cut(written: pa.Table) -> int:
    if "finish_reason" in written.column_names:
        reasons = written["finish_reason"]
    elif "results" in written.column_names:
        results = pc.list_flatten(written["results"])
        if results.type.get_field_index("finish_reason") < 0:
            return 0
        reasons = pc.struct_field(results, "finish_reason")
    else:
        return 0
    return pc.sum(pc.equal(reasons, "length")).as_py() or 0
