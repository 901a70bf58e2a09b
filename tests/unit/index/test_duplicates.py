"""Near-duplicates: all of them, as comparing everything with everything finds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.indexes import random_vectors, unit
from vqa_ray.errors import RequestError
from vqa_ray.index import duplicates
from vqa_ray.index.duplicates import groups, scores_to_first


def by_hand(alike: np.ndarray) -> list[list[int]]:
    """Connected components of a boolean matrix, those of more than one."""
    left, found = set(range(len(alike))), []
    while left:
        group, border = set(), {min(left)}
        while border:
            group |= border
            border = {int(j) for i in border for j in np.flatnonzero(alike[i])} - group
        left -= group
        if len(group) > 1:
            found.append(sorted(group))
    return found


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(0, 120),
    threshold=st.sampled_from([0.3, 0.8, 0.97, 1.0]),
    spread=st.sampled_from([0.05, 0.3]),
)
def test_cells_change_nothing(seed: int, rows: int, threshold: float, spread: float) -> None:
    drawn = np.random.default_rng(seed)
    centres = drawn.normal(size=(max(1, rows // 3), 6))
    vectors = unit(centres[drawn.integers(len(centres), size=rows)] + spread * drawn.normal(size=(rows, 6)))
    vectors[rows // 2 :] = vectors[: rows - rows // 2] if seed % 2 else vectors[rows // 2 :]
    alike = vectors @ vectors.T >= min(threshold, 1 - 1e-5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_CELL_ROWS", 10)
        patch.setattr(duplicates, "_BLOCK", 16)
        found = groups(vectors, 1, threshold)
    assert [group.tolist() for group in found] == by_hand(alike)


def test_only_what_is_near_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells are of use: far fewer pairs than all of them."""
    monkeypatch.setattr(duplicates, "_CELL_ROWS", 100)
    drawn = np.random.default_rng(0)
    vectors = unit(np.repeat(random_vectors(40, 32), 50, axis=0) + 0.05 * drawn.normal(size=(2_000, 32)))
    cells = list(duplicates._cells(vectors, np.float32(0.97)))
    assert sorted(np.concatenate([home for home, _ in cells]).tolist()) == list(range(2_000))
    assert sum(len(home) * len(near) for home, near in cells) < 0.3 * 2_000**2


def test_several_vectors_count_both_ways() -> None:
    a, b, c = (row.reshape(1, -1) for row in random_vectors(3, 8, seed=3))
    images = np.concatenate([np.hstack([a, b]), np.hstack([a, a]), np.hstack([b, a]), np.hstack([a, c])]).astype(
        np.float32
    )
    # The second holds only half of what the first holds; the third holds all, in another order.
    assert [group.tolist() for group in groups(images, 2, 0.99)] == [[0, 2]]
    scores = scores_to_first(images, 2, np.array([0, 1, 2]))
    assert scores == pytest.approx([1.0, (1 + (a @ b.T).item()) / 2, 1.0], abs=1e-5)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(RequestError, match="expected a score above 0 and at most 1"):
        groups(random_vectors(2, 3), 1, threshold)
