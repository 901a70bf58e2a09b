"""Reading what is left of an input: rows that are written are not read again, whatever the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.coloured import images_input, jsonl_input, parquet_input, webdataset_input
from tests.unit.readers.inputs import open_at
from vqa_ray.keys import keys_of, ranges_of
from vqa_ray.stages.read import read_tasks

ROWS = 24
INPUTS: dict[str, Callable[[Path], Path]] = {
    "parquet": lambda place: parquet_input(place / "in", ROWS),
    "jsonl": lambda place: jsonl_input(place / "in", ROWS),
    "webdataset": lambda place: webdataset_input(place / "in.tar", ROWS),
    "images": lambda place: images_input(place / "in", ROWS),
}


@pytest.mark.parametrize("name", list(INPUTS))
def test_written_rows_are_skipped(name: str, tmp_path: Path) -> None:
    source = open_at(INPUTS[name](tmp_path), needs_question=False)

    def keys(done: np.ndarray) -> list[int]:
        tables = [table for task in read_tasks(source, done=ranges_of(done)) for table in task()]
        return [key for table in tables for key in table["source_key"].to_pylist()]

    every = np.array(keys(np.empty(0, np.int64)))
    assert len(set(every.tolist())) == ROWS
    done = np.sort(np.random.default_rng(0).choice(every, ROWS // 2, replace=False))
    assert sorted(keys(done)) == sorted(set(every.tolist()) - set(keys_of(ranges_of(done)).tolist()))
    assert keys(every) == []
