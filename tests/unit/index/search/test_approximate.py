"""Asking an approximate index: more and more until enough may be hits, and how much of the truth it finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.helpers.indexes import random_vectors, write_index
from vqa_ray.index.reader import Index
from vqa_ray.index.search import approximate
from vqa_ray.index.search.approximate import nearest, recall
from vqa_ray.index.search.candidates import Candidates
from vqa_ray.index.search.exact import Block
from vqa_ray.index.search.scoring import Query, Scorer
from vqa_ray.index.search.searcher import FEW_IMAGES, Searcher

ROWS, DIMENSION = 400, 12


class Probing:
    """Finds what lies in some partitions of the rows: position modulo their number."""

    def __init__(self, embeddings: npt.NDArray[np.float32], probes: int = 8, partitions: int = 8) -> None:
        self._embeddings = embeddings
        self._probes, self._partitions = probes, partitions
        self.asked: list[tuple[int, int]] = []

    @property
    def parameters(self) -> Mapping[str, int]:
        return {"probes": self._probes, "partitions": self._partitions}

    def nearest(
        self, vectors: npt.NDArray[np.float32], k: int, *, probes: int = 8
    ) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
        self.asked.append((k, probes))
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        near = np.flatnonzero(np.arange(len(self._embeddings)) % self._partitions < probes)
        found = []
        for vector in vectors:
            scores = (self._embeddings[near] @ vector).astype(np.float32)
            order = np.argsort(-scores)[:k]
            found.append((scores[order], near[order]))
        return found


EMBEDDINGS = random_vectors(ROWS, DIMENSION)
IDS = np.arange(ROWS)[::-1].copy()
SCORER = Scorer(Query(random_vectors(1, DIMENSION, seed=1)[0], random_vectors(1, DIMENSION, seed=2)[0]), 1, DIMENSION)


def test_without_a_filter_k_are_asked_for_and_their_scores_are_those_of_the_query() -> None:
    ann = Probing(EMBEDDINGS)
    fetched = nearest(ann, SCORER, IDS, np.ones(ROWS, np.bool_), 10)
    assert fetched is not None
    assert ann.asked == [(10, 8)]
    exact = SCORER.scores(EMBEDDINGS)
    assert fetched.best.positions.tolist() == np.argsort(-exact)[:10].tolist()
    np.testing.assert_allclose(fetched.best.scores, exact[fetched.best.positions], atol=1e-6)
    assert fetched.best.ids.tolist() == IDS[fetched.best.positions].tolist()


def test_more_is_fetched_until_enough_is_let_through() -> None:
    exact = SCORER.scores(EMBEDDINGS)
    worst_half = np.argsort(exact)[: ROWS // 2]
    mask = np.zeros(ROWS, np.bool_)
    mask[worst_half] = True
    ann = Probing(EMBEDDINGS, probes=2)
    assert nearest(ann, SCORER, IDS, mask, 5) is None, "640 of 400 rows: looking at each is as quick"
    assert ann.asked == [(10, 2), (40, 8), (160, 8)]
    few = Probing(EMBEDDINGS, probes=2)
    every_second = np.arange(ROWS) % 2 == 0
    found = nearest(few, SCORER, IDS, every_second, 5)
    assert found is not None
    assert every_second[found.best.positions].all()


def test_recall_counts_what_is_as_good_as_the_exact_ones() -> None:
    blocks = [
        Block(EMBEDDINGS[start:stop], IDS[start:stop], np.arange(start, stop)) for start, stop in [(0, 7), (7, ROWS)]
    ]
    queries = random_vectors(20, DIMENSION, seed=3)
    assert recall(Probing(EMBEDDINGS), queries, blocks, 10) == 1.0
    half = recall(Probing(EMBEDDINGS, probes=4), queries, blocks, 10)
    exact = np.argsort(-(queries @ EMBEDDINGS.T), axis=1)[:, :10]
    assert half == pytest.approx(np.mean(exact % 8 < 4))
    assert 0.2 < half < 0.8


def test_recall_of_fewer_rows_than_k() -> None:
    few = EMBEDDINGS[:4]
    assert recall(Probing(few), random_vectors(3, DIMENSION), [Block(few, IDS[:4], np.arange(4))], 10) == 1.0


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Index, Probing]:
    """An index whose approximate one is asked from 10 images on."""
    index = write_index(tmp_path / "index", EMBEDDINGS)
    ann = Probing(EMBEDDINGS)
    monkeypatch.setattr("vqa_ray.index.search.searcher.open_ann", lambda *_: ann)
    monkeypatch.setattr("vqa_ray.index.search.searcher.FEW_IMAGES", 10)
    return index, ann


def test_a_search_is_exact_where_few_images_may_be_hits_or_it_is_asked_for(asked: tuple[Index, Probing]) -> None:
    index, ann = asked
    searcher, query = Searcher(index), Query(random_vectors(1, DIMENSION, seed=1)[0])
    quick = searcher.search(query, top_k=5)
    assert (quick.method.exact, quick.method.parameters) == (False, {"probes": 8, "partitions": 8})
    exactly = searcher.search(query, top_k=5, exact=True)
    assert exactly.method.exact
    assert quick.positions.tolist() == exactly.positions.tolist()
    few = searcher.search(query, top_k=5, filter=np.arange(ROWS) < 9)
    assert few.method.exact
    assert len(few.positions) == 5
    assert len(ann.asked) == 1
    assert FEW_IMAGES > 1_000


def test_what_an_approximate_index_cannot_give_is_searched_exactly(
    asked: tuple[Index, Probing], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, ann = asked
    monkeypatch.setattr(approximate, "_MOST_FETCHED", 20)
    query = Query(random_vectors(1, DIMENSION, seed=1)[0])
    hits = Searcher(index).search(query, top_k=50, exact=False)
    assert hits.method.exact
    assert len(hits.positions) == 50
    assert not ann.asked


def test_an_approximate_index_that_fails_is_told_and_done_without(
    asked: tuple[Index, Probing], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index, ann = asked

    def fail(*arguments: object, **options: object) -> None:
        raise OSError("a file of it is gone")

    monkeypatch.setattr(ann, "nearest", fail)
    with caplog.at_level("WARNING", "vqa_ray"):
        hits = Searcher(index).search(Query(random_vectors(1, DIMENSION, seed=1)[0]), top_k=5)
    assert hits.method.exact
    assert len(hits.positions) == 5
    assert "search is exact, because the approximate index failed (a file of it is gone)" in caplog.text


def test_all_images_are_found_where_k_is_larger(asked: tuple[Index, Probing]) -> None:
    index, _ = asked
    hits = Searcher(index).search(Query(random_vectors(1, DIMENSION, seed=1)[0]), top_k=10_000)
    assert len(hits.positions) == ROWS
    assert sorted(hits.positions.tolist()) == np.flatnonzero(Candidates(index).mask()).tolist()
