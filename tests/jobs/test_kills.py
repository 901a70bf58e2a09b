"""Worker processes die in the middle of a run, which goes on without them; `test_soak_kills.py` is the long form."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.helpers.coloured import NAMES, parquet_input
from tests.jobs.commands import manifest, rows, run_here
from tests.jobs.kills import killing_workers


@pytest.mark.usefixtures("local_ray")
def test_workers_die_and_the_run_ends_with_every_row(tmp_path: Path) -> None:
    count = 400
    source, output = parquet_input(tmp_path / "in", count, shards=4), tmp_path / "out"
    with killing_workers(("actor", "writer", "decoder", "actor"), random.Random(0), 0.5) as killed:
        assert run_here("answer", source, output, "--rows-per-file", "16", "--batch-size", "8") == 0
    assert killed.total() >= 2
    assert rows(output)["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(count)]
    assert (manifest(output)["errors"], manifest(output)["findings"]) == ({}, [])
