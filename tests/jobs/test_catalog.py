from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vqa_ray.jobs.cli import main


def test_the_command_writes_a_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--count", "5", "--seed", "3", "--output", str(tmp_path), "--rows-per-shard", "2", "--questions", "2"]
    assert main(["catalog", *arguments]) == 0
    assert capsys.readouterr().out == f"5 products in 3 parquet shards under {tmp_path}\n"
    assert pq.read_table(tmp_path / "products-00000.parquet").num_rows == 4


def test_count_and_output_are_required() -> None:
    assert main(["catalog", "--count", "5"]) == 2
    assert main(["catalog", "--output", "x"]) == 2
