from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.catalog.product import (
    CATEGORIES,
    COLOURS,
    LONG_SIDE_LIMIT_PX,
    MOTIFS,
    PATTERNS,
    SHORT_SIDE_PX,
    sample_product,
)

MANY = [sample_product(3, index) for index in range(3000)]


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**31))
def test_a_product_depends_on_its_arguments_alone(seed: int, index: int) -> None:
    product = sample_product(seed, index)
    assert product == sample_product(seed, index)
    assert product.image_id == f"product-{seed}-{index}"
    assert product.category in CATEGORIES
    assert product.colour in COLOURS
    assert product.pattern in PATTERNS
    assert product.motif is None or product.motif in MOTIFS
    assert SHORT_SIDE_PX[0] <= min(product.width, product.height)
    assert max(product.width, product.height) <= LONG_SIDE_LIMIT_PX
    assert 1 <= product.jpeg_quality <= 95


def test_seeds_and_indices_give_different_catalogues() -> None:
    assert len({sample_product(seed, index).render_seed for seed in range(20) for index in range(20)}) == 400


def test_there_is_enough_variety() -> None:
    assert len(CATEGORIES) >= 12
    assert len(COLOURS) == 10
    assert len(PATTERNS) == 5
    assert len(MOTIFS) == 8
    assert {"dog", "cat"} <= set(MOTIFS)


@pytest.mark.parametrize("attribute", ["category", "colour", "pattern"])
def test_values_come_equally_often(attribute: str) -> None:
    counts = Counter(getattr(product, attribute) for product in MANY)
    expected = len(MANY) / len(counts)
    assert all(0.7 * expected < count < 1.3 * expected for count in counts.values())


def test_about_45_percent_have_no_motif_and_the_others_share_the_motifs() -> None:
    counts = Counter(product.motif for product in MANY)
    assert 0.42 < counts.pop(None) / len(MANY) < 0.48
    assert set(counts) == set(MOTIFS)
    assert min(counts.values()) > 0.7 * sum(counts.values()) / len(MOTIFS)


def test_shapes_of_images_and_encodings_vary() -> None:
    ratios = {round(product.width / product.height, 1) for product in MANY}
    assert {1.0, 1.3, 0.8, 1.5, 0.7, 1.8} <= ratios
    encodings = Counter(product.encoding for product in MANY)
    assert 0.15 < encodings["png"] / len(MANY) < 0.25
    assert encodings["png"] + encodings["jpeg"] == len(MANY)


def test_colours_are_far_apart() -> None:
    for one, other in combinations(COLOURS, 2):
        assert np.linalg.norm(np.subtract(COLOURS[one], COLOURS[other])) > 85, (one, other)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        sample_product(-1, 0)
