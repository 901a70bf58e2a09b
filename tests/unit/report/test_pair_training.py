"""Page and card of a contrastive training."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any

from tests.unit.report.trained import MARKUP, trained
from vqa_ray.report.model_card import render_card
from vqa_ray.report.training_page import natural, render_training
from vqa_ray.report.training_summary import Trained

RECALLS = {f"{way}@{k}": k / 20 for way in ("text_to_image", "image_to_text") for k in (1, 5, 10)}


def of_pairs(text: str = "plain", **given: Any) -> Trained:
    made = trained(text, task="contrastive", confusion=None)
    for place, record in enumerate(made.log.validations):
        counts = dict.fromkeys(RECALLS, 300)
        made.log.validations[place] = replace(record, accuracy_by_type=RECALLS, rows_by_type=counts)
    return replace(made, data=replace(made.data, answers=0), **given)


def test_the_page_speaks_of_recall() -> None:
    page = render_training(of_pairs())
    assert "validation mean recall, step 40" in page
    assert "Recall by direction" in page
    assert page.count("image_to_text@10") >= 2
    assert "accuracy" not in re.sub(
        r"<style>.*?</style>|id=\"[^\"]*\"|aria-labelledby=\"[^\"]*\"", "", page, flags=re.S
    )


def test_recalls_come_in_order_of_their_number() -> None:
    page = render_training(of_pairs())
    rows = re.findall(r'<th scope="row">(\w+@\d+|mean)</th>', page)
    assert rows == [*sorted(RECALLS, key=natural), "mean"]
    assert rows[:3] == ["image_to_text@1", "image_to_text@5", "image_to_text@10"]


def test_the_card_says_how_it_is_used() -> None:
    card = render_card(of_pairs(name="acme/clip"))
    assert "pipeline_tag: zero-shot-image-classification" in card
    assert "- recall" in card
    assert "vqa-ray index --input photos/ --output index/ --model acme/clip" in card
    (code,) = re.findall(r"```python\n(.*?)\n```", card, re.S)
    ast.parse(code)
    assert "**mean**" in card
    assert "answer" not in card.split("## Recipe")[0]


def test_nothing_of_the_data_is_markup() -> None:
    assert "<script>" not in render_training(of_pairs(MARKUP))
    body = render_card(of_pairs(MARKUP)).split("---\n", 2)[2]
    assert "<script>" not in re.sub(r"```.*?```", "", body, flags=re.S).replace(r"\<", "")
