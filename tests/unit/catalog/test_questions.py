from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_ray.catalog.product import CATEGORIES, COLOURS, MOTIFS, PATTERNS, Product, sample_product
from vqa_ray.catalog.questions import (
    ANSWERS,
    KINDS,
    NO,
    NOTHING,
    YES,
    CatalogQuestion,
    ask,
    truth,
)
from vqa_ray.taxonomy.file import parse_taxonomy

VALUES = {"category": CATEGORIES, "colour": tuple(COLOURS), "pattern": PATTERNS, "motif": (*MOTIFS, NOTHING)}
CLOSED = [kind for kind in KINDS if kind.startswith("is_")]
OPEN = [kind for kind in KINDS if not kind.startswith("is_")]


def one_of_each_kind(product: Product, rng: np.random.Generator) -> list[CatalogQuestion]:
    return [ask(product, kind, rng) for kind in KINDS]


@given(st.integers(0, 2**32), st.integers(0, 2**20))
def test_one_question_of_each_kind_with_an_answer_of_the_vocabulary(seed: int, index: int) -> None:
    product = sample_product(seed, index)
    questions = one_of_each_kind(product, np.random.default_rng(seed))
    assert [asked.kind for asked in questions] == list(KINDS)
    assert questions == one_of_each_kind(product, np.random.default_rng(seed))
    for asked in questions:
        assert asked.answer in ANSWERS
        assert asked.question.endswith("?")
        assert "{" not in asked.question


@pytest.mark.parametrize("kind", OPEN)
def test_an_open_question_is_answered_with_the_truth(kind: str) -> None:
    rng = np.random.default_rng(0)
    for index in range(50):
        product = sample_product(1, index)
        assert ask(product, kind, rng).answer == (getattr(product, kind) or NOTHING)


@pytest.mark.parametrize("kind", CLOSED)
def test_a_closed_question_is_answered_yes_exactly_if_it_names_the_truth(kind: str) -> None:
    attribute = kind.removeprefix("is_")
    others = {name for other, names in VALUES.items() if other not in (attribute, "category") for name in names}
    rng = np.random.default_rng(1)
    for index in range(600):
        product = sample_product(2, index)
        asked = ask(product, kind, rng)
        text = asked.question.replace(f"the {product.category}", "it").replace("the pair of trousers", "it")
        if re.search(r"nothing|without|no picture", text):
            named = NOTHING
        else:
            named = next(v for v in VALUES[attribute] if re.search(rf"\b{re.escape(v)}\b", text))
        assert (asked.answer == YES) == (named == truth(product, attribute)), asked
        assert not any(re.search(rf"\b{name}\b", text) for name in others if name != NOTHING), asked


@pytest.mark.parametrize("kind", CLOSED)
@pytest.mark.parametrize("motif", [None, "dog"])
def test_yes_and_no_come_equally_often_whatever_the_product(kind: str, motif: str | None) -> None:
    rng = np.random.default_rng(2)
    answers = Counter(ask(replace(sample_product(3, i), motif=motif), kind, rng).answer for i in range(3000))
    assert set(answers) == {YES, NO}
    assert 0.46 < answers[YES] / 3000 < 0.54


def test_a_dog_is_asked_for_on_cats_on_other_motifs_and_on_nothing() -> None:
    rng = np.random.default_rng(3)
    asked_on: dict[str, Counter[str]] = defaultdict(Counter)
    for index in range(12000):
        product = sample_product(4, index)
        asked = ask(product, "is_motif", rng)
        if "dog" in asked.question:
            asked_on[asked.answer][truth(product, "motif")] += 1
    assert set(asked_on[YES]) == {"dog"}
    assert set(asked_on[NO]) == {*MOTIFS, NOTHING} - {"dog"}
    assert asked_on[NO]["cat"] > 2 * asked_on[NO]["tree"]


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_at_least_four_wordings(kind: str) -> None:
    product = replace(sample_product(5, 0), category="mug", colour="red", pattern="plain", motif="dog")
    rng = np.random.default_rng(4)
    asked = [ask(product, kind, rng) for _ in range(400)]
    about_truth = {a.question for a in asked if a.answer != NO}
    # Wordings, not names for the product.
    assert len({re.sub(r"\b(it|the product|the mug)\b", "X", text) for text in about_truth}) >= 4


def test_what_product_it_is_is_never_given_away() -> None:
    rng = np.random.default_rng(5)
    product = replace(sample_product(5, 1), category="mug")
    for _ in range(300):
        assert "mug" not in ask(product, "category", rng).question
        closed = ask(product, "is_category", rng)
        assert ("mug" in closed.question) == (closed.answer == YES)


def test_answers_are_sorted_and_none_serves_two_kinds() -> None:
    assert list(ANSWERS) == sorted(ANSWERS)
    assert len(ANSWERS) == sum(map(len, VALUES.values())) + 2


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown question kind 'size': one of category, colour"):
        ask(sample_product(1, 1), "size", np.random.default_rng(0))


def test_the_default_taxonomy_asks_what_the_catalogue_asks() -> None:
    taxonomy = parse_taxonomy(files("vqa_ray.catalog").joinpath("tags.yaml").read_text(), "tags.yaml")
    rng = np.random.default_rng(6)
    products = (sample_product(6, index) for index in range(4000))
    every = {asked.question for product in products for asked in one_of_each_kind(product, rng)}
    assert [attribute.name for attribute in taxonomy.attributes] == list(VALUES)
    for attribute in taxonomy.attributes:
        assert set(attribute.choices) == set(VALUES[attribute.name]) - {NOTHING}
        for choice in attribute.choices:
            assert attribute.question.replace("{choice}", choice) in every
    motif = taxonomy.attributes[-1]
    assert motif.mode == "yes_no"
    assert motif.multi
