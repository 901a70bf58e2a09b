"""Captions: figures of pycocoevalcap 1.2 on the same words, and its words on plain captions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.judged_rows import judge_all, measure
from vqa_ray.evaluation.caption_words import caption_words
from vqa_ray.evaluation.registry import protocol

CASES = [
    (
        "'s sits with dog is with big red 's",
        {"captions": ["'s red big with is dog a with sits 's", "on with 's 's"]},
    ),
    (
        "small in red big cat red",
        {
            "captions": [
                "a sits with small in small is park red big cat man red",
                "on sits in runs in ball small is",
                "'s is in is the near",
            ]
        },
    ),
    (
        "with dog",
        {
            "captions": [
                "dog with",
                "with dog big dog in red a runs in in cat man man small",
                "is near 's sits ball the man runs a dog cat 's",
            ]
        },
    ),
]


def test_equals_coco_caption_on_the_same_words() -> None:
    rows = judge_all(made := protocol("caption"), CASES)
    assert 10 * rows.score == pytest.approx([1.2327589, 1.21971492, 0.99589924])
    assert made.measures(rows, np.ones(3)) == pytest.approx(
        {
            "cider": 1.149457683575079,
            "bleu_1": 0.9428731437439486,
            "bleu_2": 0.5039868947225827,
            "bleu_3": 0.27923275155545796,
            "bleu_4": 3.8862206575264966e-05,
            "rouge_l": 0.5808221701525675,
        }
    )
    assert "not by coco-caption's PTBTokenizer" in made.notes(rows)[0]


def test_a_caption_longer_than_its_references_has_no_brevity_penalty() -> None:
    found = measure(protocol("caption"), [("a red dog runs", {"captions": ["a red dog"]})])
    assert (found["bleu_1"], found["bleu_2"]) == pytest.approx((3 / 4, (3 / 4 * 2 / 3) ** 0.5))


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog's bed, isn't it?", "a dog 's bed is n't it"),
        ("Two t-shirts and a red/white flag.", "two t-shirts and a red/white flag"),
        ("The U.S. flag flies at 3:30 p.m. on Main St.", "the u.s. flag flies at 3:30 p.m. on main st."),
        (
            "Mr. Smith doesn't know 1,000 people (maybe 2.5%).",
            "mr. smith does n't know 1,000 people -lrb- maybe 2.5 % -rrb-",
        ),
        ("It costs $5.99 -- cheap!", "it costs $ 5.99 cheap"),
        ("I'm sure they've seen; we can't, I cannot.", "i 'm sure they 've seen we ca n't i can not"),
        ("the '90s “café” owner’s", "the '90s café owner 's"),
        ("dog.The cat,a man", "dog.the cat a man"),
        ("Point O. is -2.5 or a-1!!", "point o. is -2.5 or a-1 !!"),
        ("", ""),
    ],
)
def test_words_are_those_of_the_official_tokenizer(caption: str, words: str) -> None:
    assert caption_words(caption) == words.split()


def test_one_image_rows_without_a_prediction_and_bad_truth() -> None:
    made = protocol("caption")
    rows = judge_all(made, [("a red dog", {"captions": "a red dog"})])
    assert made.measures(rows, np.ones(1)) == pytest.approx(
        {"cider": 0.0, "rouge_l": 1.0, "bleu_1": 1.0, "bleu_2": 1.0, "bleu_3": 1.0, "bleu_4": 0.0}, abs=0.04
    )
    assert any("single image" in note for note in made.notes(rows))
    half = measure(
        protocol("caption"), [("a red dog", {"captions": ["a red dog"]}), (None, {"captions": ["a big cat"]})]
    )
    assert half["rouge_l"] == 0.5
    assert half["bleu_1"] == pytest.approx(np.exp(1 - 2))
    made.fit([{"captions": []}, {"captions": ["a dog"]}])  # passed over
    with pytest.raises(ValueError, match="no reference captions"):
        made.judge("a dog", {"captions": []})


TEXT = st.lists(st.sampled_from(["a", "red", "dog", "cat", "sits", "on", "the", "mat"]), min_size=1, max_size=8).map(
    " ".join
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=3)), min_size=2, max_size=5))
def test_scores_are_bounded_and_do_not_depend_on_the_order_of_references(pairs: list[tuple[str, list[str]]]) -> None:
    found = measure(protocol("caption"), [(said, {"captions": true}) for said, true in pairs])
    turned = measure(protocol("caption"), [(said, {"captions": true[::-1]}) for said, true in pairs])
    assert found == pytest.approx(turned)
    assert 0 <= found["cider"] <= 10
    assert all(0 <= value <= 1 + 1e-9 for name, value in found.items() if name != "cider")
