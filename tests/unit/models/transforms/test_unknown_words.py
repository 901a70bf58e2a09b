"""Words that a tokenizer turns into its unknown token are named in the warning of the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import tiny_blip
from tests.helpers.tiny import random_images, save_tiny_vilt
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.transforms.unknown_words import unknown_warning, unknown_words
from vqa_ray.models.vilt.model import Vilt


class Words:
    """A tokenizer of three words that counts its calls."""

    unk_token_id = 0

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        self.calls += 1
        return {"input_ids": [{"is": 1, "it": 2, "red?": 3}.get(word, 0) for word in text.split()]}


def test_unknown_words_are_named_in_order_each_once() -> None:
    assert unknown_words(Words(), "is it red?") == ()
    assert unknown_words(Words(), "is zorp it flim zorp") == ("zorp", "flim")
    assert unknown_warning(Words(), "is it red?") is None
    assert unknown_warning(Words(), "is it zorp flim") == "the model does not know 'zorp', 'flim'"
    many = unknown_warning(Words(), " ".join(f"w{number}" for number in range(9)) + " " + "x" * 80)
    assert many == "the model does not know 'w0', 'w1', 'w2', 'w3', 'w4' and 5 more"
    assert len(unknown_warning(Words(), "x" * 80) or "") < 80


def test_a_tokenizer_without_an_unknown_token_knows_all() -> None:
    tokenizer = Words()
    tokenizer.unk_token_id = None  # type: ignore[assignment]
    assert unknown_words(tokenizer, "zorp") == ()
    assert tokenizer.calls == 0


def test_vilt_names_them_and_asks_once_per_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelOptions(str(save_tiny_vilt(tmp_path)), device="cpu", dtype="float32").load()
    assert isinstance(model, Vilt)
    images = random_images(3)
    question = "is it \U0001f415 \u0647\u0644 red?"
    answers = model.answer(images, [[question, "is it red?"]] * 3, 1)
    assert [[answer.warning for answer in each] for each in answers] == [
        ["the model does not know '\U0001f415', '\u0647\u0644'", None]
    ] * 3
    assert model._question.cache_info().misses == 2
    ((scored,),) = model.score(images[:1], [[question]], [[("yes", "no")]])
    assert scored.warning == answers[0][0].warning


def test_blip_names_them(tmp_path: Path) -> None:
    model = ModelOptions(str(tiny_blip.save(tmp_path, tiny_blip.blip("vqa"))), device="cpu", dtype="float32").load()
    ((answer, known),) = model.answer(tiny_blip.random_images(1), [["is it \U0001f415?", "is it red?"]], 1)
    assert (answer.warning or "").startswith("the model does not know '\U0001f415?'")
    assert "know" not in (known.warning or "")
