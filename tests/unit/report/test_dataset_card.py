"""The card of a run or an index says how it is read."""

from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from vqa_ray import schema
from vqa_ray.report.dataset_card import data_files, dataset_card

CONTENT = {
    "job": "index",
    "model": {"reference": "fake:", "score_meaning": "cosine"},
    "rows": 3,
    "ok": 2,
    "failed": 1,
    "errors": {},
}


def test_the_card_of_an_index_names_its_files_and_reads_no_directory() -> None:
    card = dataset_card(CONTENT, schema.embedding_schema(1, 4), ["updates/1/part-0.parquet"])
    assert "- updates/1/part-0.parquet" in card
    assert "'DIRECTORY/**/*.parquet'" in card
    assert "read_parquet" not in card


def test_the_card_of_a_run_reads_its_directory() -> None:
    card = dataset_card(CONTENT | {"job": "tag"}, schema.CAPTION)
    assert "'DIRECTORY/*.parquet'" in card
    assert 'pandas.read_parquet("DIRECTORY")' in card


def test_directories_of_one_name_and_later_contents_are_not_taken_for_each_other(tmp_path: Path) -> None:
    def loaded(directory: Path, rows: int) -> int:
        directory.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"row_id": [str(row) for row in range(rows)]}), directory / "part-0.parquet")
        (directory / ".huggingface.yaml").write_text(data_files())
        return int(datasets.load_dataset(str(directory), split="train", cache_dir=str(tmp_path / "cache")).num_rows)

    assert loaded(tmp_path / "a" / "tags", 3) == 3
    assert loaded(tmp_path / "b" / "tags", 5) == 5
    assert loaded(tmp_path / "a" / "tags", 4) == 4
