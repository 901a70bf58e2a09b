"""Search in an index: every way to read it gives the same hits, each image once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.helpers.indexes import random_vectors, write_index
from vqa_ray.errors import RequestError
from vqa_ray.index.search.candidates import Candidates
from vqa_ray.index.search.searcher import Query, Searcher, SearchMethod

DIMENSION = 16


def by_hand(embeddings: npt.NDArray[np.float32], query: npt.NDArray[np.float32], rows: list[int], k: int) -> list[int]:
    scores = embeddings.astype(np.float64) @ query.astype(np.float64)
    return sorted(rows, key=lambda row: (-scores[row], row))[:k]


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("files", [1, 5])
def test_hits_are_the_rows_with_the_highest_scores(tmp_path: Path, hold: bool, files: int) -> None:
    embeddings = random_vectors(90, DIMENSION)
    failed = [0, 7, 44, 89]
    index = write_index(tmp_path / "index", embeddings, files=files, failed=failed)
    searcher = Searcher(index, hold=hold)
    query = random_vectors(1, DIMENSION, seed=9)[0]
    rows = [row for row in range(90) if row not in failed]
    for k in (1, 10, 200):
        hits = searcher.search(Query(query), top_k=k)
        assert hits.positions.tolist() == by_hand(embeddings, query, rows, k)
        assert hits.scores == pytest.approx((embeddings @ query)[hits.positions], abs=1e-6)
        assert (hits.images, hits.method.exact, hits.method.recall) == (86, True, None)
    assert index.rows(["row_id"])["row_id"].take(hits.positions).to_pylist() == hits.positions.tolist()


@pytest.mark.parametrize("hold", [False, True])
def test_a_filter_leaves_out_rows_and_whole_files(tmp_path: Path, hold: bool) -> None:
    embeddings = random_vectors(60, DIMENSION)
    index = write_index(tmp_path / "index", embeddings, files=3, failed=[5])
    query = random_vectors(1, DIMENSION, seed=9)[0]
    allowed = [2, 5, 19, 40, 41, 59]
    filter = np.isin(np.arange(60), allowed)
    hits = Searcher(index, hold=hold).search(Query(query), top_k=10, filter=filter)
    assert hits.positions.tolist() == by_hand(embeddings, query, [row for row in allowed if row != 5], 10)
    assert hits.images == 5
    nothing = Searcher(index, hold=hold).search(Query(query), top_k=10, filter=np.zeros(60, np.bool_))
    assert (len(nothing.positions), nothing.images) == (0, 0)


def test_rows_of_one_image_are_one_hit(tmp_path: Path) -> None:
    """Same row_id and sha256: one hit, the first that the filter lets through. Same row_id, other image: two."""
    embeddings = random_vectors(8, DIMENSION)
    embeddings[[3, 6]] = embeddings[1]
    columns = {
        "row_id": [0, 5, 2, 5, 5, 7, 5, 8],
        "sha256": ["a", "same", "b", "same", "other", "c", "same", "d"],
    }
    index = write_index(tmp_path / "index", embeddings, columns=columns)
    query = Query(embeddings[1].copy())
    hits = Searcher(index).search(query, top_k=8)
    assert sorted(hits.positions.tolist()) == [0, 1, 2, 4, 5, 7]
    assert (hits.positions[0], hits.images) == (1, 6)
    without_first = np.arange(8) != 1
    assert Searcher(index).search(query, top_k=1, filter=without_first).positions.tolist() == [3]


def test_equal_scores_are_ordered_by_row_id(tmp_path: Path) -> None:
    embeddings = np.repeat(random_vectors(1, DIMENSION), 6, axis=0)
    index = write_index(tmp_path / "index", embeddings, columns={"row_id": [9, 3, 7, -1, 5, 4]})
    assert Searcher(index).search(Query(embeddings[0].copy()), top_k=4).positions.tolist() == [3, 1, 5, 4]


def test_several_vectors_per_image(tmp_path: Path) -> None:
    embeddings = random_vectors(30, DIMENSION, vectors=4)
    index = write_index(tmp_path / "index", embeddings, vectors=4)
    text, image = random_vectors(1, DIMENSION, seed=4)[0], random_vectors(1, DIMENSION, vectors=4, seed=5)[0]
    images = embeddings.reshape(30, 4, DIMENSION)
    by_text = (images @ text).max(axis=1)
    by_image = np.einsum("nvd,qd->nqv", images, image.reshape(4, DIMENSION)).max(axis=2).mean(axis=1)
    both = Searcher(index).search(Query(text, image), top_k=30)
    assert both.positions.tolist() == np.argsort(-(by_text + by_image)).tolist()


def test_an_index_without_vectors_has_no_hits(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index", random_vectors(3, DIMENSION), failed=[0, 1, 2])
    hits = Searcher(index).search(Query(random_vectors(1, DIMENSION)[0]), top_k=5)
    assert (len(hits.positions), hits.images) == (0, 0)


def test_vectors_that_are_no_numbers_are_never_hits(tmp_path: Path) -> None:
    embeddings = random_vectors(10, DIMENSION)
    embeddings[4] = np.nan
    index = write_index(tmp_path / "index", embeddings)
    hits = Searcher(index).search(Query(embeddings[2].copy()), top_k=10)
    assert len(hits.positions) == 9
    assert 4 not in hits.positions


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index", random_vectors(10, DIMENSION))
    with pytest.raises(RequestError, match="text has 8 numbers, the index 16: of another model"):
        Searcher(index).search(Query(random_vectors(1, 8)[0]), top_k=1)
    with pytest.raises(RequestError, match="the filter has 9 rows, the index 10"):
        Searcher(index).search(Query(random_vectors(1, DIMENSION)[0]), top_k=1, filter=np.ones(9, np.bool_))
    with pytest.raises(RequestError, match="no approximate index"):
        Searcher(index).search(Query(random_vectors(1, DIMENSION)[0]), top_k=1, exact=False)


def test_only_files_with_candidates_are_read(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index", random_vectors(40, DIMENSION), files=4)
    candidates = Candidates(index)
    (tmp_path / "index" / index.version.files[3].path).unlink()
    mask = candidates.mask(np.arange(40) < 30)
    assert sum(len(block.ids) for block in candidates.blocks(mask)) == 30


def test_the_method_of_a_search_in_words() -> None:
    asked = {"probes": 24, "partitions": 548}
    assert str(SearchMethod(True)) == "exact search"
    assert str(SearchMethod(False, asked)) == "approximate search (probes 24, partitions 548; recall not measured)"
    assert str(SearchMethod(False, asked, 0.975, 100, 10)) == (
        "approximate search (probes 24, partitions 548; recall@10 0.975 over 100 queries)"
    )
    assert str(SearchMethod(False, {"partitions": 0}, 1.0)) == (
        "approximate index without partitions: each image compared (partitions 0)"
    )
