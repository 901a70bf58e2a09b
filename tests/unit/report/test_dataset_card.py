"""The card of a run or an index says how it is read."""

from __future__ import annotations

from vqa_ray import schema
from vqa_ray.report.dataset_card import dataset_card

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
