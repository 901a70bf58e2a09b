"""The rows of a finished run that its gallery shows: a bounded, reproducible choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.runs.part_files import read_columns
from vqa_ray.schema import ROW_BITS, STATUS_GONE, STATUS_OK
from vqa_ray.storage.python_rows import python_rows

Keys = npt.NDArray[np.int64]

# The share of failed rows, unless the others are too few to fill the page.
_FAILED_SHARE = 0.2
# Shards that are read for embedded images: each costs the reading of a file.
MOST_SHARDS = 16
_COLUMNS = ("source_key", "status", "score", "image_uri")


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """The rows that a gallery shows.

    Attributes:
        images: the output rows of each chosen input row, one for each question in the long layout; failed ones last.
        total: input rows of the run.
        failed: input rows with an error row.
        gone: input rows that the input does not have any more; none of the others.
    """

    images: tuple[tuple[dict[str, Any], ...], ...]
    total: int
    failed: int
    gone: int


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Input rows in the order of their keys: int64, bool, float32 and bool arrays of (N,).

    `gone` counts the input rows that the input does not have any more; none of the others.
    """

    keys: Keys
    failed: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float32]
    embedded: npt.NDArray[np.bool_]
    gone: int


def choose_rows(parts: Sequence[str], limit: int, *, best_first: bool = False) -> ChosenRows:
    """Choose rows and read them; part files are read one at a time, twice.

    Args:
        parts: URIs of the part files of a run.
        limit: input rows to choose.
        best_first: choose the rows with the best `score`; otherwise rows at even distances over the run.
    """
    inputs = _inputs(parts)
    failed = np.flatnonzero(inputs.failed)
    sound = np.flatnonzero(~inputs.failed)
    room_for_failed = max(int(limit * _FAILED_SHARE), limit - len(sound))
    failed_shown = _spread(_in_few_shards(inputs, failed), room_for_failed)
    room = limit - len(failed_shown)
    if best_first:
        sound_shown = sound[np.lexsort((inputs.keys[sound], -inputs.scores[sound]))][:room]
    else:
        sound_shown = _spread(_in_few_shards(inputs, sound), room)
    keys = inputs.keys[np.concatenate([sound_shown, failed_shown])]
    rows = rows_by_key(parts, keys)
    images = tuple(tuple(rows[key]) for key in keys.tolist())
    return ChosenRows(images, len(inputs.keys), len(failed), inputs.gone)


def _inputs(parts: Sequence[str]) -> _Inputs:
    keys, failed, scores, embedded = [np.empty(0, np.int64)], [np.empty(0, bool)], [np.empty(0, np.float32)], []
    embedded.append(np.empty(0, bool))
    gone = [np.empty(0, np.int64)]
    for uri in parts:
        table = read_columns(uri, _COLUMNS)
        is_gone = pc.equal(table["status"], STATUS_GONE)
        gone.append(table.filter(is_gone)["source_key"].to_numpy())
        table = table.filter(pc.invert(is_gone))
        keys.append(table["source_key"].to_numpy())
        failed.append(np.asarray(pc.not_equal(table["status"], STATUS_OK)))
        known = "score" in table.column_names
        # -1 puts rows without a score last.
        score = table["score"].fill_null(-1.0).to_numpy() if known else np.zeros(table.num_rows)
        scores.append(score.astype(np.float32))
        has_uri = "image_uri" in table.column_names
        embedded.append(np.asarray(table["image_uri"].is_null()) if has_uri else np.ones(table.num_rows, bool))
    every = np.concatenate(keys)
    order = np.argsort(every, kind="stable")
    distinct, first = np.unique(every[order], return_index=True)
    gone_rows = len(np.unique(np.concatenate(gone)))
    if not len(distinct):
        return _Inputs(distinct, failed[0], scores[0], embedded[0], gone_rows)
    return _Inputs(
        distinct,
        np.logical_or.reduceat(np.concatenate(failed)[order], first),
        np.concatenate(scores)[order][first],
        np.concatenate(embedded)[order][first],
        gone_rows,
    )


def _in_few_shards(inputs: _Inputs, numbers: Keys) -> Keys:
    """Leave out embedded images, except those of a few shards."""
    shards = inputs.keys[numbers] >> ROW_BITS
    embedded = inputs.embedded[numbers]
    few = _spread(np.unique(shards[embedded]), MOST_SHARDS)
    return numbers[~embedded | np.isin(shards, few)]


def _spread(values: Keys, count: int) -> Keys:
    """Pick `count` values at even distances, the first and the last included."""
    if len(values) <= count:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, max(count, 0)).round().astype(np.int64))]


def rows_by_key(parts: Sequence[str], keys: Keys | Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Read the rows of each source_key, in the order of their questions."""
    wanted = pa.array(keys, pa.int64())
    found: dict[int, list[dict[str, Any]]] = {key: [] for key in wanted.to_pylist()}
    for uri in parts:
        if not pc.any(pc.is_in(read_columns(uri, ("source_key",))["source_key"], value_set=wanted)).as_py():
            continue
        table = read_columns(uri)
        for row in python_rows(table.filter(pc.is_in(table["source_key"], value_set=wanted))):
            found[row["source_key"]].append(row)
    for rows in found.values():
        rows.sort(key=lambda row: row.get("question_index", 0))
    return found
