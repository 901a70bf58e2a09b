"""Captions say what is true, always the same way, and in many ways."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.catalog.captions import captions_for, with_article
from vqa_ray.catalog.product import CATEGORIES, COLOURS, MOTIFS, sample_product

_PATTERN_WORDS = {
    "checked": {"checked", "checkered", "checks"},
    "dotted": {"dotted", "spotted", "dots"},
    "plain": {"plain", "without"},
    "striped": {"striped", "stripes"},
    "zigzag": {"zigzag"},
}


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_what_a_caption_says_is_true(seed: int, index: int) -> None:
    product = sample_product(seed, index)
    for caption in captions_for(product, 6):
        words = set(re.findall(r"[\w-]+", caption))
        assert words & set(COLOURS) <= {product.colour}
        assert words & set(MOTIFS) <= {product.motif}
        assert words & set(CATEGORIES) <= {product.category}
        for pattern, names in _PATTERN_WORDS.items():
            said = words & (names - {"without"})
            assert not said or pattern == product.pattern
        assert caption == " ".join(caption.split()).lower()


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(0, 5), st.integers(0, 5))
def test_captions_are_always_the_same_and_fewer_are_the_first_of_more(seed: int, few: int, more: int) -> None:
    product = sample_product(seed, 3)
    assert captions_for(product, few) == captions_for(product, few + more)[:few]


def test_captions_vary_and_now_and_then_say_it_all() -> None:
    products = [sample_product(5, index) for index in range(300)]
    said = [caption for product in products for caption in captions_for(product, 5)]
    counted = Counter(said)
    assert len(counted) > 0.6 * len(said)
    whole = [
        caption
        for product in products
        for caption in captions_for(product, 5)
        if product.motif and {product.colour, product.category, product.motif} <= set(caption.split())
    ]
    assert len(whole) > 0.1 * len(said)


def test_articles() -> None:
    assert with_article("mug") == "a mug"
    assert with_article("orange umbrella") == "an orange umbrella"
    assert with_article("blue trousers") == "a pair of blue trousers"


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 captions"):
        captions_for(sample_product(1, 1), -1)
