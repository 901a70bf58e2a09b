"""What others read of a run directory: its rows and nothing else, by the tools that people use, unaided."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import images_input
from tests.jobs.commands import manifest, run_here
from vqa_ray.models.fake.model import FAILURE

pytestmark = pytest.mark.usefixtures("local_ray")

COLUMNS = ["question", "question_index", "status"]


@pytest.fixture(scope="module")
def run(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two questions of 10 images in several files; of the second file no row is answered; one retry is over."""
    place = tmp_path_factory.mktemp("readers")
    source = images_input(place / "in", 10)
    for path in sorted(source.iterdir())[4:8]:
        path.write_bytes(b"no image")
    asked = ("--question", "what colour is it?", "--question", f"{FAILURE} is it red?", "--rows-per-file", "4")
    assert run_here("answer", source, place / "out", *asked) == 3
    assert run_here("answer", source, place / "out", *asked, "--retry-failed", "model_error") == 3
    return place / "out"


def _duckdb(pattern: str) -> Callable[[Path], pa.Table]:
    def read(run: Path) -> pa.Table:
        duckdb = pytest.importorskip("duckdb")
        return duckdb.sql(f"SELECT {', '.join(COLUMNS)} FROM '{run}/{pattern}'").to_arrow_table()

    return read


def _polars(pattern: str) -> Callable[[Path], pa.Table]:
    def read(run: Path) -> pa.Table:
        polars = pytest.importorskip("polars")
        return polars.scan_parquet(f"{run}/{pattern}").select(COLUMNS).collect().to_arrow()

    return read


def _datasets(run: Path) -> pa.Table:
    import datasets

    loaded = datasets.load_dataset(str(run), cache_dir=str(run.parent / "cache"))
    assert list(loaded) == ["train"]
    return loaded["train"].data.table


def _pandas(run: Path) -> pa.Table:
    import pandas

    return pa.Table.from_pandas(pandas.read_parquet(run))


def _ray(run: Path) -> pa.Table:
    import ray

    return pa.concat_tables(ray.get(ray.data.read_parquet(str(run)).to_arrow_refs()))


def _spark(run: Path) -> pa.Table:
    """Spark's rule: names that begin with `_` or `.` are hidden, whatever else there is is read as Parquet."""
    return pa.concat_tables([pq.read_table(path) for path in run.iterdir() if not path.name.startswith(("_", "."))])


@pytest.mark.parametrize(
    "read",
    [
        _duckdb("*.parquet"),
        _duckdb("**/*.parquet"),
        _polars("*.parquet"),
        _polars("**/*.parquet"),
        _datasets,
        _pandas,
        lambda run: ds.dataset(run).to_table(),
        _ray,
        _spark,
    ],
    ids=["duckdb", "duckdb-deep", "polars", "polars-deep", "datasets", "pandas", "arrow", "ray", "spark"],
)
def test_each_reader_finds_the_rows_and_nothing_else(run: Path, read: Callable[[Path], pa.Table]) -> None:
    found = read(run)
    assert found.num_rows == manifest(run)["rows"] == 20
    assert sorted(found["question_index"].to_pylist()) == [0] * 10 + [1] * 10
    assert found["status"].to_pylist().count("ok") == 6


def test_nothing_but_rows_ends_in_parquet_and_all_files_have_one_schema(run: Path) -> None:
    files = sorted(run.rglob("*.parquet"))
    assert files
    assert all(path.parent == run and path.name.startswith("part-") for path in files)
    assert len({pq.read_schema(path).remove_metadata() for path in files}) == 1
    assert list((run / "_vqa_ray" / "checkpoint").rglob("*.pq"))


def test_the_card_says_what_the_rows_are(run: Path) -> None:
    card = (run / "_README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: unknown\n")
    assert "20 rows: 6 ok, 14 failed." in card
    assert "| image\\_uri | string |" in card
