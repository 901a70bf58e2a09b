"""A real approximate index: its recall is measured, told with every hit, and its hits are those of the exact search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.indexes import random_vectors, unit, write_index
from vqa_ray.index.ann import build as ann
from vqa_ray.index.reader import Index
from vqa_ray.index.search.recall import with_measured_recall
from vqa_ray.index.search.searcher import Query, Searcher

ROWS, DIMENSION = 3_000, 16


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """3,000 vectors around 40 places, and an approximate index of them."""
    place = tmp_path_factory.mktemp("index")
    rng = np.random.default_rng(0)
    centres = random_vectors(40, DIMENSION)
    embeddings = unit(centres[rng.integers(0, 40, ROWS)] + 0.2 * rng.normal(size=(ROWS, DIMENSION)))
    made = write_index(place, embeddings, failed=[1, 2_000], columns={"row_id": np.arange(ROWS)[::-1].tolist()})
    state = ann.build(made.layout, made.version, "ann-test.lance")
    assert state.partitions
    return Index(made.layout, replace(made.version, ann=with_measured_recall(made.layout, made.version, state)))


def test_recall_is_measured_and_told_with_the_hits(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    state = index.version.ann
    assert state is not None
    assert state.recall is not None
    assert 0.8 < state.recall <= 1
    assert (state.recall_queries, state.recall_k) == (100, 10)
    monkeypatch.setattr("vqa_ray.index.search.searcher.FEW_IMAGES", 100)
    hits = Searcher(index).search(Query(random_vectors(1, DIMENSION, seed=5)[0]), top_k=5)
    assert (hits.method.exact, hits.method.recall, hits.method.recall_queries, hits.method.recall_k) == (
        False,
        state.recall,
        100,
        10,
    )
    assert hits.method.parameters["partitions"] == state.partitions


def test_hits_are_those_of_the_exact_search(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqa_ray.index.search.searcher.FEW_IMAGES", 100)
    searcher = Searcher(index)
    third = np.arange(ROWS) % 3 == 0
    shares = []
    for seed in range(20):
        query = Query(random_vectors(1, DIMENSION, seed=seed)[0], random_vectors(1, DIMENSION, seed=99 - seed)[0])
        for filter in (None, third):
            quick, exact = (searcher.search(query, top_k=10, filter=filter, exact=each) for each in (None, True))
            assert (quick.method.exact, exact.method.exact) == (False, True)
            assert quick.images == exact.images
            both = np.intersect1d(quick.positions, exact.positions)
            shares.append(len(both) / 10)
            known = dict(zip(exact.positions.tolist(), exact.scores.tolist(), strict=True))
            for position, score in zip(quick.positions.tolist(), quick.scores.tolist(), strict=True):
                assert score == pytest.approx(known.get(position, score), abs=1e-5)
    assert np.mean(shares) > 0.85
