"""The part files of a run after an update."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vqa_ray import schema
from vqa_ray.keys import Keys
from vqa_ray.runs.apply_update import RowChanges, UpdatedParts
from vqa_ray.storage.atomic import write_table_atomic


def pairs(*each: tuple[int, int]) -> Keys:
    return np.array(each, np.int64).reshape(-1, 2)


def part(path: Path, *answers: tuple[int, str]) -> str:
    rows = [
        {"source_key": key, "row_id": key, "question_index": 0, "status": "ok", "attempt": 1, "answer": answer}
        for key, answer in answers
    ]
    write_table_atomic(str(path), pa.Table.from_pylist(rows, schema.ANSWER))
    return str(path)


def told(table: pa.Table | None) -> list[tuple[int, str, str]]:
    assert table is not None
    return [(row["source_key"], row["answer"], row["status"]) for row in table.to_pylist()]


@pytest.fixture
def before(tmp_path: Path) -> str:
    return part(tmp_path / "1.parquet", (0, "a"), (1, "b"), (2, "c"), (3, "d"))


@pytest.fixture
def update(tmp_path: Path) -> str:
    return part(tmp_path / "update.pq", (10, "B"), (11, "new"))


def test_rows_are_replaced_renumbered_and_marked(before: str, update: str) -> None:
    changes = RowChanges(pairs((1, 10)), pairs((2, 12)), np.array([3]), message="it is no longer there")
    parts = UpdatedParts(changes, [update])
    table = parts.of_part(before)
    assert told(table) == [(0, "a", "ok"), (12, "c", "ok"), (3, "d", "gone"), (10, "B", "ok")]
    assert table is not None
    assert table["error_message"].to_pylist() == [None, None, "it is no longer there", None]
    assert told(parts.of_update(update)) == [(11, "new", "ok")]
    assert changes.leaving.tolist() == [1, 2]
    assert RowChanges(pairs((1, 1)), pairs((2, 12))).leaving.tolist() == [2]


def test_rows_that_are_gone_are_left_out_where_they_shall_be_forgotten(before: str, update: str) -> None:
    changes = RowChanges(gone=np.array([0, 3]), forget=True)
    assert told(UpdatedParts(changes, [update]).of_part(before)) == [(1, "b", "ok"), (2, "c", "ok")]
    assert changes.leaving.tolist() == [0, 3]


def test_a_part_file_of_which_nothing_changes_stays(before: str, update: str) -> None:
    changes = RowChanges(pairs((7, 10)))
    assert UpdatedParts(changes, [update]).of_part(before) is None
    wider = schema.ANSWER.append(pa.field("colour", pa.string()))
    table = UpdatedParts(changes, [update], wider).of_part(before)
    assert table is not None
    assert table.schema.equals(wider)
    assert told(table) == [(0, "a", "ok"), (1, "b", "ok"), (2, "c", "ok"), (3, "d", "ok")]
    assert table["colour"].null_count == 4
