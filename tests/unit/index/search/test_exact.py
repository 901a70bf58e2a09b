"""Search by looking at everything: the same scores and order however rows are cut, ties by id, NaN never."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.indexes import random_vectors, unit
from vqa_ray.errors import RequestError
from vqa_ray.index.search import exact
from vqa_ray.index.search.exact import Block, nearest
from vqa_ray.index.search.scoring import Query, Scorer


def block(embeddings: npt.NDArray[np.float32], ids: npt.NDArray[np.int64] | None = None) -> Block:
    places = np.arange(len(embeddings))
    return Block(embeddings, places if ids is None else ids, places)


def by_definition(query: Query, embeddings: npt.NDArray[np.float32], vectors: int) -> npt.NDArray[np.float64]:
    """The scores as the protocol of encoders words them."""
    images = embeddings.reshape(len(embeddings), vectors, -1).astype(np.float64)
    scores = []
    if query.text is not None:
        scores.append((images @ query.text).max(axis=1))
    if query.image is not None:
        own = query.image.reshape(vectors, -1).astype(np.float64)
        scores.append(np.einsum("nvd,qd->nqv", images, own).max(axis=2).mean(axis=1))
    return np.mean(scores, axis=0)


@pytest.mark.parametrize("vectors", [1, 4])
@pytest.mark.parametrize("asked", ["text", "image", "both"])
def test_scores_are_those_of_the_definition(vectors: int, asked: str) -> None:
    dimension = 8
    embeddings = random_vectors(50, dimension, vectors, seed=1)
    text = random_vectors(1, dimension, seed=2)[0] if asked != "image" else None
    image = random_vectors(1, dimension, vectors, seed=3)[0] if asked != "text" else None
    query = Query(text, image)
    scorer = Scorer(query, vectors, dimension)
    wanted = by_definition(query, embeddings, vectors)
    np.testing.assert_allclose(scorer.scores(embeddings), wanted, atol=1e-6)
    assert np.abs(scorer.quick(embeddings) - wanted).max() <= scorer.rounding
    best = nearest(scorer, [block(embeddings)], 5)
    assert best.positions.tolist() == np.argsort(-wanted)[:5].tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 60), st.data())
def test_shards_blocks_and_neighbours_change_nothing(
    seed: int, vectors: int, k: int, at_once: int, data: st.DataObject
) -> None:
    """Rows repeat, so that equal scores are common: they must be equal to the last bit wherever their rows stand."""
    rng = np.random.default_rng(seed)
    distinct = random_vectors(6, 24, vectors, seed)
    embeddings = distinct[rng.integers(0, len(distinct), 60)]
    ids = rng.integers(0, 30, 60)
    scorer = Scorer(Query(random_vectors(1, 24, seed=seed + 1)[0]), vectors, 24)
    whole = nearest(scorer, [block(embeddings, ids)], k)
    shards = np.split(rng.permutation(60), sorted(data.draw(st.lists(st.integers(0, 60), max_size=4))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_VALUES_AT_ONCE", at_once * vectors * 24)
        cut = nearest(scorer, [Block(embeddings[s], ids[s], s) for s in shards], k)
    assert all(np.array_equal(a, b) for a, b in zip(whole, cut, strict=True))
    order = np.lexsort((np.arange(60), ids, -scorer.scores(embeddings)))[:k]
    assert whole.positions.tolist() == order.tolist()


def test_a_row_that_is_not_a_number_is_never_found() -> None:
    embeddings = random_vectors(20, 4)
    embeddings[[0, 3, 19]] = np.nan
    scorer = Scorer(Query(embeddings[5].copy()), 1, 4)
    # NaN is sorted last.
    order = np.argsort(-scorer.scores(embeddings), kind="stable")[:17].tolist()
    for k in (1, 2, 5, 17, 20):
        assert nearest(scorer, [block(embeddings)], k).positions.tolist() == order[:k]


def test_the_highest_of_nearly_equal_rows_is_found_although_rounding_hides_it() -> None:
    query = unit(np.ones((1, 512)))[0]
    embeddings = np.repeat(query[None], 400, axis=0)
    # Less than what float32 products are off by, and seen in float64.
    embeddings[:, 0] -= np.linspace(0, 4e-6, 400).astype(np.float32)[::-1]
    scorer = Scorer(Query(query), 1, 512)
    wanted = np.argsort(
        -(embeddings.astype(np.float64) @ scorer.rows[0].astype(np.float64)).astype(np.float32), kind="stable"
    )
    assert nearest(scorer, [block(embeddings)], 3).positions.tolist() == wanted[:3].tolist()


def test_queries_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RequestError, match="needs a text, an image or both"):
        Scorer(Query(), 1, 4)
    with pytest.raises(RequestError, match="the query's text has 3 numbers, the index 4"):
        Scorer(Query(np.ones(3, np.float32)), 1, 4)
    with pytest.raises(RequestError, match="the query's image has 4 numbers, the index 2 × 4"):
        Scorer(Query(image=np.ones(4, np.float32)), 2, 4)
    with pytest.raises(RequestError, match="text holds a number that is not finite"):
        Scorer(Query(np.array([1, np.nan, 0, 0], np.float32)), 1, 4)
