"""BLIP against stock transformers: answers, captions and scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import tiny_blip
from tests.helpers.stock_generation import assert_equal_on_mixed_pairs, show_tokens, stock_tokens, tokens_of
from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.blip.blip import Blip
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.types import Image

CHOICES = ("yes", "no", "golden retriever", "zebra")


@pytest.fixture(scope="module")
def answering() -> tuple[Any, Any]:
    return tiny_blip.blip("vqa")


@pytest.fixture(scope="module")
def describing() -> tuple[Any, Any]:
    return tiny_blip.blip("caption")


@pytest.fixture(scope="module")
def engine(answering: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return load(tiny_blip.save(tmp_path_factory.mktemp("blip"), answering))


def load(directory: Path, **given: Any) -> Blip:
    return Blip.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32", **given)


def test_generates_the_tokens_of_stock_generate_on_100_mixed_pairs(
    engine: Blip, answering: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_equal_on_mixed_pairs(engine, *answering, str, monkeypatch)


def forced(model: Any, processor: Any, image: Image, question: str, choice: str) -> float:
    """The mean log-probability of a choice by full forward passes of the stock parts."""
    inputs = processor(images=image, text=question, return_tensors="pt", do_resize=False)
    said = processor.tokenizer(choice, add_special_tokens=False, return_tensors="pt").input_ids
    begun = torch.cat([torch.full((1, 1), model.decoder_start_token_id), said[:, :-1]], dim=1)
    with torch.no_grad():
        seen = model.vision_model(pixel_values=inputs.pixel_values).last_hidden_state
        read = model.text_encoder(input_ids=inputs.input_ids, encoder_hidden_states=seen).last_hidden_state
        logits = model.text_decoder(input_ids=begun, encoder_hidden_states=read).logits
    return float(logits.log_softmax(-1).gather(-1, said[..., None]).mean())


def test_scores_choices_as_full_forward_passes_do(engine: Blip, answering: tuple[Any, Any]) -> None:
    images = tiny_blip.random_images(6, seed=1)
    asked = [list(tiny_blip.QUESTIONS[: 1 + index % 4]) for index in range(6)]
    scored = engine.score(images, asked, [[CHOICES] * len(texts) for texts in asked])
    spread = []
    for image, texts, row in zip(images, asked, scored, strict=True):
        for question, found in zip(texts, row, strict=True):
            means = torch.tensor([forced(*answering, image, question, choice) for choice in CHOICES])
            np.testing.assert_allclose(found.scores, means.softmax(0), atol=1e-4)
            spread.append(found.scores)
    assert np.std(spread, axis=0).max() > 0.01, "the comparison means nothing if all scores are alike"


@pytest.mark.parametrize("prompt", [None, "a photo of"])
def test_captions_equal_stock_generate(
    describing: tuple[Any, Any], tmp_path: Path, prompt: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(tiny_blip.save(tmp_path, describing))
    show_tokens(engine, monkeypatch)
    images = tiny_blip.random_images(8, seed=2)
    captions = engine.caption(images, prompt)
    for image, caption in zip(images, captions, strict=True):
        wanted = stock_tokens(*describing, image, prompt, max_new_tokens=30)
        said = caption.answers[0][0].removeprefix(prompt or "")
        assert [int(token) for token in said.split()] == wanted
    assert len({caption.answers[0][0] for caption in captions}) > 3


def test_beams_equal_stock_beams(answering: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(tiny_blip.save(tmp_path, answering), generation=GenerationConfig(max_new_tokens=6, num_beams=3))
    show_tokens(engine, monkeypatch)
    images, asked = tiny_blip.random_images(3, seed=3), [list(tiny_blip.QUESTIONS[:3])] * 3
    for image, answers in zip(images, engine.answer(images, asked, 1), strict=True):
        for question, answer in zip(asked[0], answers, strict=True):
            assert tokens_of(answer) == stock_tokens(*answering, image, question, max_new_tokens=6, num_beams=3)


def test_each_architecture_does_its_own(engine: Blip, describing: tuple[Any, Any], tmp_path: Path) -> None:
    captioning = load(tiny_blip.save(tmp_path, describing))
    image = tiny_blip.random_images(1)
    with pytest.raises(RequestError, match="describes images and does not answer"):
        captioning.answer(image, [["a"]], 1)
    with pytest.raises(RequestError, match="describes images and does not answer"):
        captioning.score(image, [["a"]], [[("yes", "no")]])
    with pytest.raises(RequestError, match="answers questions and does not describe"):
        engine.caption(image, None)


def test_another_architecture_is_refused(answering: tuple[Any, Any], tmp_path: Path) -> None:
    directory = tiny_blip.save(tmp_path, answering)
    config = json.loads((directory / "config.json").read_text("utf-8"))
    config["architectures"] = ["BlipForImageTextRetrieval"]
    (directory / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelLoadError, match="architecture BlipForImageTextRetrieval of blip is not supported"):
        load(directory)
