"""Snapshots of tables as an input: the files that count, the version that a run began with, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.utils.config import Config

from tests.helpers.tables import catalogue_settings
from vqa_ray.errors import RequestError
from vqa_ray.readers import InputConfig, Source, open_source, read_shard
from vqa_ray.readers.changes.resumed import EarlierRun
from vqa_ray.readers.changes.snapshot import snapshot_of


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    for name, value in catalogue_settings(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())
    found = load_catalog("shop")
    found.create_namespace("photos")
    return found


def photos(*names: str) -> pa.Table:
    return pa.table({"image_uri": [f"/photos/{name}.jpg" for name in names], "question": ["is it red?"] * len(names)})


def opened(uri: str, earlier: EarlierRun | None = None) -> Source:
    return open_source(InputConfig(uri), earlier)


def images(source: Source) -> list[str]:
    tables = [table for shard in source.shards for table in read_shard(source.for_workers(), shard)]
    return [Path(uri).stem for table in tables for uri in table["image_uri"].to_pylist()]


def test_delta_gives_the_files_of_a_version(tmp_path: Path) -> None:
    where = str(tmp_path / "table")
    write_deltalake(where, photos("a", "b"))
    write_deltalake(where, photos("c"), mode="append")
    DeltaTable(where).delete("image_uri = '/photos/a.jpg'")
    assert sorted(images(opened(f"delta:{where}"))) == ["b", "c"]
    assert sorted(images(opened(f"delta:{where}@0"))) == ["a", "b"]
    assert sorted(images(opened(f"delta:{where}@1"))) == ["a", "b", "c"]
    with pytest.raises(RequestError, match="cannot be opened"):
        opened(f"delta:{where}@9")
    with pytest.raises(RequestError, match="cannot be opened"):
        opened(f"delta:{tmp_path / 'nosuch'}")


def test_partitions_of_delta_are_columns(tmp_path: Path) -> None:
    where = str(tmp_path / "table")
    rows = photos("a", "b").append_column("shop", pa.array(["x y", "ü"]))
    write_deltalake(where, rows, partition_by=["shop"])
    source = open_source(InputConfig(f"delta:{where}", keep=("shop",)))
    tables = [table for shard in source.shards for table in read_shard(source.for_workers(), shard)]
    assert sorted(value for table in tables for value in table[source.passthrough[0].name].to_pylist()) == ["x y", "ü"]


def test_a_run_goes_on_with_the_version_it_began_with(tmp_path: Path) -> None:
    where = str(tmp_path / "table")
    write_deltalake(where, photos("a", "b"))
    snapshot = snapshot_of(opened(f"delta:{where}"))
    write_deltalake(where, photos("c"), mode="append")
    DeltaTable(where).delete("image_uri = '/photos/a.jpg'")
    earlier = EarlierRun(str(tmp_path / "out"), snapshot)
    assert sorted(images(opened(f"delta:{where}", earlier))) == ["a", "b"]
    later = opened(f"delta:{where}", replace(earlier, update=True))
    assert later.added_files


def test_iceberg_gives_the_files_of_a_snapshot(tmp_path: Path, catalogue: Catalog) -> None:
    table = catalogue.create_table("photos.new", photos("a").schema)
    table.append(photos("a", "b"))
    first = table.current_snapshot()
    assert first is not None
    table.append(photos("c"))
    assert sorted(images(opened("iceberg:shop.photos.new"))) == ["a", "b", "c"]
    assert sorted(images(opened(f"iceberg:shop.photos.new@{first.snapshot_id}"))) == ["a", "b"]
    snapshot = snapshot_of(opened("iceberg:shop.photos.new"))
    table.delete("image_uri = '/photos/a.jpg'")
    assert sorted(images(opened("iceberg:shop.photos.new"))) == ["b", "c"]
    earlier = EarlierRun(str(tmp_path / "out"), snapshot)
    assert sorted(images(opened("iceberg:shop.photos.new", earlier))) == ["a", "b", "c"]
    with pytest.raises(RequestError, match=r"iceberg:shop\.photos\.nosuch: cannot be opened"):
        opened("iceberg:shop.photos.nosuch")


def test_renamed_columns_of_iceberg_are_refused(catalogue: Catalog) -> None:
    table = catalogue.create_table("photos.renamed", photos("a").schema)
    table.append(photos("a"))
    with table.update_schema() as update:
        update.rename_column("question", "asked")
    with pytest.raises(RequestError, match="column question was renamed"):
        opened("iceberg:shop.photos.renamed")


def test_empty_tables_are_refused(catalogue: Catalog) -> None:
    catalogue.create_table("photos.empty", photos("a").schema)
    with pytest.raises(RequestError, match="the table has no data files"):
        opened("iceberg:shop.photos.empty")
