from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import typer
from typer.testing import CliRunner

from vqa_ray.jobs.catalog import catalog


def app() -> typer.Typer:
    command = typer.Typer()
    command.command()(catalog)
    return command


def test_the_command_writes_a_catalogue(tmp_path: Path) -> None:
    arguments = ["--count", "5", "--seed", "3", "--output", str(tmp_path), "--rows-per-shard", "2", "--questions", "2"]
    result = CliRunner().invoke(app(), arguments)
    assert result.exit_code == 0, result.output
    assert result.output == f"5 products in 3 parquet shards under {tmp_path}\n"
    assert pq.read_table(tmp_path / "products-00000.parquet").num_rows == 4


def test_count_and_output_are_required() -> None:
    assert CliRunner().invoke(app(), ["--count", "5"]).exit_code == 2
    assert CliRunner().invoke(app(), ["--output", "x"]).exit_code == 2
