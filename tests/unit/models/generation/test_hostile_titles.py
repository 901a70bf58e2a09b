"""A hostile title gives no orders to the models without a chat template either: ViLT, BLIP, BLIP-2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.hostile_titles import HARMLESS, HOSTILE
from tests.helpers.tiny import WORDS
from tests.helpers.tiny_blip import tokenizer_of
from tests.helpers.wordpiece import build_tokenizer
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.reserved_tokens import reserved_tokens
from vqa_ray.models.load import ModelOptions
from vqa_ray.row_text.config import TextConfig
from vqa_ray.row_text.template import word

QUESTION = "does the photo show {title}?"


def test_the_bundled_model_answers_as_it_answers_a_harmless_title() -> None:
    reference = "bundled:catalog-vilt"
    config = TextConfig(("title",), 16, reserved_tokens(Checkpoint.open(reference).directory))
    titles = [config.read("title", title)[0] for title in (HARMLESS, *HOSTILE)]
    image = np.full((384, 384, 3), (200, 40, 40), np.uint8)
    (answers,) = ModelOptions(reference).load().answer([image], [[word(QUESTION, {"title": t}) for t in titles]], 1)
    assert {answer.answers[0][0] for answer in answers} <= {"yes", "no"}
    harmless, *hostile = (answer.answers[0][0] for answer in answers)
    assert sum(answer != harmless for answer in hostile) == 0


@pytest.mark.parametrize("kind", ["opt", "t5", "bert"])
def test_a_title_brings_no_special_token(kind: str, tmp_path: Path) -> None:
    tokenizer = build_tokenizer(WORDS) if kind == "bert" else tokenizer_of(kind)
    tokenizer.save_pretrained(tmp_path)
    config = TextConfig(("title",), 24, reserved_tokens(tmp_path))
    own = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}

    def special(title: str) -> list[int]:
        text = word(QUESTION, {"title": config.read("title", title)[0]})
        return [token for token in tokenizer(text)["input_ids"] if token in own]

    assert [title[:60] for title in HOSTILE if special(title) != special(HARMLESS)] == []
