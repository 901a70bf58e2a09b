"""Tables of every kind that `publish` writes, made under a directory and read by their own libraries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tests.helpers.written_runs import write_run
from vqa_ray import schema
from vqa_ray.publish.target import KINDS
from vqa_ray.runs.directory import RunDirectory

__all__ = ["KINDS", "catalogue_settings", "finished_run", "read_table", "target_in"]


def catalogue_settings(directory: Path) -> dict[str, str]:
    """The variables of an Iceberg catalogue `shop` in SQLite, with its files below the directory."""
    (directory / "warehouse").mkdir(parents=True, exist_ok=True)
    return {
        "PYICEBERG_CATALOG__SHOP__URI": f"sqlite:///{directory / 'catalogue.db'}",
        "PYICEBERG_CATALOG__SHOP__WAREHOUSE": (directory / "warehouse").as_uri(),
    }


def target_in(kind: str, directory: Path) -> str:
    """A target of a kind below the directory."""
    return "iceberg:shop.photos.tags" if kind == "iceberg" else f"{kind}:{directory / kind}"


def read_table(kind: str, directory: Path) -> list[dict[str, Any]]:
    """The rows of the table as its own library reads them."""
    where = str(directory / kind)
    table: pa.Table
    if kind == "iceberg":
        from pyiceberg.catalog import load_catalog

        table = load_catalog("shop").load_table("photos.tags").scan().to_arrow()
    elif kind == "delta":
        from deltalake import DeltaTable

        table = DeltaTable(where).to_pyarrow_table()
    elif kind == "lance":
        import lance

        table = lance.dataset(where).to_table()
    else:
        table = duckdb.sql(f"select * from read_parquet('{where}/*.parquet', union_by_name = true)").to_arrow_table()
    return list(table.to_pylist())


def finished_run(
    directory: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    run_id: str = "run-1",
    state: int = 1,
    form: pa.Schema = schema.ANSWER,
) -> str:
    """A finished run after `state - 1` updates; its URI."""
    uri = write_run(directory, rows, form)
    layout = RunDirectory(uri)
    record = json.loads(Path(layout.record).read_text())
    Path(layout.record).write_text(json.dumps({**record, "run_id": run_id}))
    manifest = json.loads(Path(layout.manifest).read_text())
    Path(layout.manifest).write_text(
        json.dumps({**manifest, "findings": [], "attempts": [], "updates": [{}] * (state - 1)})
    )
    return uri
