"""Licences of cards, and the card of a finished training that is given another name or a licence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from tests.unit.report.trained import trained
from vqa_ray.report.amended_card import amended_card
from vqa_ray.report.licences import licence_fields, licence_of
from vqa_ray.report.model_card import render_card
from vqa_ray.report.training_summary import Trained
from vqa_ray.training.config import CONTRASTIVE


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ("apache-2.0", {"license": "apache-2.0"}),
        ("Apache 2.0", {"license": "apache-2.0"}),
        ("MIT", {"license": "mit"}),
        ("Acme internal\nuse", {"license": "other", "license_name": "Acme internal use"}),
        (None, {}),
    ],
)
def test_licences_are_named_as_the_hub_names_them(given: str | None, fields: dict[str, str]) -> None:
    assert licence_fields(given) == fields


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# x", "apache-2.0"),
        ("---\r\nlicense:\r\n- mit\r\n---\r\n", "mit"),
        ("---\nlicense: [mit, gpl]\n---\n", None),
        ("---\nlicense: other\nlicense_name: ours\n---\n", "ours"),
        ("---\nlicense: 3\n---\n", None),
        ("---\n: [\n---\n", None),
        ("# x\n---\nlicense: mit\n---\n", None),
        ("", None),
    ],
)
def test_the_licence_of_a_base_is_read_from_its_card(card: str, licence: str | None) -> None:
    assert licence_of(card) == licence


@pytest.mark.parametrize(
    "made",
    [trained("mine"), trained("my model_2", adapter=True, base_model="a/b"), trained("runs", task=CONTRASTIVE)],
    ids=["answers", "adapter", "captions"],
)
def test_an_amended_card_is_the_one_that_would_have_been_written(made: Trained) -> None:
    card = amended_card(render_card(made), name="acme/shelf", licence="mit")
    assert card == render_card(replace(made, name="acme/shelf", license="mit"))
    assert ModelCard(card).data.license == "mit"
    assert amended_card(card, name="acme/shelf", licence="mit") == card
    assert amended_card(card) == card
    assert ModelCard(amended_card(card, licence="In words")).data.to_dict()["license_name"] == "In words"


def test_a_card_of_somebody_else_keeps_its_text() -> None:
    assert amended_card("Words.\n", name="acme/shelf", licence="mit") == "---\nlicense: mit\n---\nWords.\n"
