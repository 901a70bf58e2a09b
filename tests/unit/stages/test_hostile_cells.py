"""Nothing that a row says raises out of a stage: every input row is a row of every output, with one line of error."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tests.helpers.hostile_rows import (
    COLUMNS,
    FIRST,
    HOSTILE,
    LONG,
    ROWS,
    SLOW,
    TEXTS,
    through_all_stages,
    through_training,
)
from vqa_ray.stages.crash_journal import CrashJournal


@pytest.fixture
def journal(tmp_path: Path) -> CrashJournal:
    return CrashJournal("hostile", tmp_path / "journal")


@SLOW
@given(ROWS)
def test_json_lines(tmp_path: Path, journal: CrashJournal, rows: list[dict[str, Any]]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, [FIRST, *rows])))
    through_all_stages(file, len(rows) + 1, journal)
    through_training(file)


@SLOW
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), st.one_of(TEXTS, HOSTILE)), min_size=1, max_size=8))
def test_csv(tmp_path: Path, journal: CrashJournal, rows: list[dict[str, str]]) -> None:
    file = tmp_path / "a.csv"
    with file.open("w", newline="", errors="surrogatepass") as opened:
        writer = csv.DictWriter(opened, COLUMNS, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows([{name: value or "" for name, value in FIRST.items()}, *rows])
    through_all_stages(file, len(rows) + 1, journal)
    through_training(file)


@SLOW
@given(ROWS)
def test_parquet(tmp_path: Path, journal: CrashJournal, rows: list[dict[str, Any]]) -> None:
    """Columns of bytes that need not be UTF-8, declared as text."""
    columns: dict[str, pa.Array] = {}
    for name in COLUMNS:
        cells = [FIRST[name], *(row.get(name) for row in rows)]
        if name == "row_id":
            columns[name] = pa.array([1, *(None for _ in rows)], pa.int64())
        elif name != "context":
            data = [None if cell is None else str(cell).encode(errors="surrogatepass") for cell in cells]
            raw = pa.array(data, pa.binary())
            columns[name] = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table(columns), file)
    # Here an id may be any text: a mapping is written out.
    longest = max(10_000, *(len(str(row.get("image_id"))) for row in rows))
    through_all_stages(file, len(rows) + 1, journal, longest)
    through_training(file)


def test_cells_of_a_megabyte(tmp_path: Path, journal: CrashJournal) -> None:
    rows = [FIRST, *({name: text, "question": "q"} for text in LONG for name in COLUMNS)]
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    through_all_stages(file, len(rows), journal, 2**20 + 100)
    through_training(file)
