"""The rows of an output, counted: one pass over the columns that matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vqa_ray.errors import ErrorCode
from vqa_ray.schema import STATUS_OK
from vqa_ray.storage import filesystem_for

_COLUMNS = (
    *("source_key", "row_id", "image_id", "question", "results", "scores"),
    *("finish_reason", "status", "error_code", "warning"),
)
_MALFORMED = str(ErrorCode.ROW_MALFORMED)


@dataclass(slots=True)
class Tally:
    """Counts over an output.

    Attributes:
        rows, ok: rows, and those of them that were answered.
        errors: error code → rows.
        warnings: rows answered with a warning.
        cut: answers and captions that reached the limit of new tokens.
        images: distinct image_ids in each file, added up; rows without one count as an image each.
        questions: questions answered.
        keys, row_ids: int64 (N,), of every row.
        malformed: int64 (M,), the keys of `row_malformed` rows.
    """

    rows: int = 0
    ok: int = 0
    images: int = 0
    questions: int = 0
    warnings: int = 0
    cut: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    keys: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    row_ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    malformed: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def tally(part_uris: Iterable[str]) -> Tally:
    """Count the rows of these part files, a file at a time; only keys and ids (16 bytes a row) are held."""
    total = Tally()
    keys, row_ids, malformed = [total.keys], [total.row_ids], [total.malformed]
    for uri in part_uris:
        table = read_columns(uri, _COLUMNS)
        total.rows += table.num_rows
        ok = pc.equal(table["status"], STATUS_OK)
        total.ok += pc.sum(ok).as_py() or 0
        failed = table.filter(pc.invert(ok))["error_code"]
        total.errors.update({entry["values"]: entry["counts"] for entry in failed.value_counts().to_pylist()})
        total.warnings += table.num_rows - table["warning"].null_count
        total.cut += _cut(table)
        total.images += pc.count_distinct(table["image_id"]).as_py() + table["image_id"].null_count
        total.questions += _questions(table.filter(ok))
        keys.append(table["source_key"].to_numpy())
        row_ids.append(table["row_id"].to_numpy())
        malformed.append(table.filter(pc.equal(table["error_code"], _MALFORMED))["source_key"].to_numpy())
    total.keys, total.row_ids, total.malformed = map(np.concatenate, (keys, row_ids, malformed))
    return total


def failed_keys(part_uris: Iterable[str], codes: frozenset[str] | None) -> npt.NDArray[np.int64]:
    """The source_keys of failed rows: int64 (N,), sorted.

    Args:
        part_uris: the part files.
        codes: error codes wanted; None for all.
    """
    keys = [np.empty(0, np.int64)]
    for uri in part_uris:
        table = read_columns(uri, ("source_key", "status", "error_code"))
        failed = pc.not_equal(table["status"], STATUS_OK)
        if codes is not None:
            failed = pc.and_(failed, pc.is_in(table["error_code"], pa.array(sorted(codes), pa.string())))
        keys.append(table.filter(failed)["source_key"].to_numpy())
    return np.sort(np.concatenate(keys))


def read_columns(uri: str, columns: Iterable[str] | None = None) -> pa.Table:
    """Those of the columns that a part file has; None for all."""
    filesystem, path = filesystem_for(uri)
    with filesystem.open_input_file(path) as source:
        file = pq.ParquetFile(source)
        wanted = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
        return file.read(wanted)


def row_count(uri: str) -> int:
    """Rows of a part file, from its footer."""
    filesystem, path = filesystem_for(uri)
    with filesystem.open_input_file(path) as source:
        return int(pq.ParquetFile(source).metadata.num_rows)


def asked_questions(scored: pa.Table) -> int:
    """How many questions `retrieve` asked about these rows."""
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
