"""BLIP-2 against stock transformers: the same tokens, the same scores, however questions are grouped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import tiny_blip
from tests.helpers.stock_generation import assert_equal_on_mixed_pairs, show_tokens, stock_tokens, tokens_of
from vqa_ray.models.blip.blip2 import Blip2
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.generation.prompts import Prompting
from vqa_ray.types import Image

KINDS = ("opt", "t5")
CHOICES = ("yes", "no", "golden retriever", "blue", "two dog cat")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def stock(kind: str) -> tuple[Any, Any]:
    return tiny_blip.blip2(kind)


@pytest.fixture(scope="module")
def directory(stock: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_blip.save(tmp_path_factory.mktemp("blip2"), stock)


@pytest.fixture(scope="module")
def engine(directory: Path) -> Blip2:
    return load(directory)


def load(directory: Path, **given: Any) -> Blip2:
    return Blip2.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32", **given)


def forced(model: Any, processor: Any, image: Image, question: str, choice: str) -> float:
    """The mean log-probability of a choice by one full forward pass of the stock model."""
    inputs = processor(images=image, text=Prompting().text(question), return_tensors="pt", do_resize=False)
    tokenizer = processor.tokenizer
    with torch.no_grad():
        if model.config.use_decoder_only_language_model:
            said = tokenizer(f" {choice}", add_special_tokens=False, return_tensors="pt").input_ids
            count = said.shape[1]
            ids = torch.cat([inputs.input_ids, said], dim=1)
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=inputs.pixel_values).logits
            logits = logits[:, -count - 1 : -1]
        else:
            said = tokenizer(choice, add_special_tokens=False, return_tensors="pt").input_ids
            start = torch.zeros(1, 1, dtype=torch.long)
            logits = model(**inputs, decoder_input_ids=torch.cat([start, said[:, :-1]], dim=1)).logits
    given = logits.log_softmax(-1).gather(-1, said[..., None])
    return float(given.mean())


def test_generates_the_tokens_of_stock_generate_on_100_mixed_pairs(
    engine: Blip2, stock: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_equal_on_mixed_pairs(engine, *stock, Prompting().text, monkeypatch)


def test_scores_choices_as_full_forward_passes_do(engine: Blip2, stock: tuple[Any, Any]) -> None:
    images = tiny_blip.random_images(6, seed=1)
    asked = [list(tiny_blip.QUESTIONS[: 1 + index % 4]) for index in range(6)]
    options = [[CHOICES if place % 2 == 0 else CHOICES[:2] for place, _ in enumerate(texts)] for texts in asked]
    scored = engine.score(images, asked, options)
    spread = []
    for image, texts, option, row in zip(images, asked, options, scored, strict=True):
        for question, choices, found in zip(texts, option, row, strict=True):
            means = torch.tensor([forced(*stock, image, question, choice) for choice in choices])
            np.testing.assert_allclose(found.scores, means.softmax(0), atol=1e-4)
            assert sum(found.scores) == pytest.approx(1)
            if choices == CHOICES:
                spread.append(found.scores)
    assert np.std(spread, axis=0).max() > 0.01, "the comparison means nothing if all scores are alike"


def test_yes_or_no_reads_the_prompt_once_and_generates_nothing(engine: Blip2, monkeypatch: pytest.MonkeyPatch) -> None:
    from vqa_ray.models.generation.causal import CausalDecoding
    from vqa_ray.models.generation.cross_attention import CrossDecoding

    def refuse(*_: object) -> None:
        raise AssertionError("a choice of one token must not be fed")

    for decoding in (CausalDecoding, CrossDecoding):
        monkeypatch.setattr(decoding, "decode", refuse)
    single = [word for word in ("a", "e", "i") if len(engine.backbone.choice_tokens(word)) == 1][:2]
    assert len(single) == 2
    scored = engine.score(tiny_blip.random_images(2), [["is it red?"]] * 2, [[tuple(single)]] * 2)
    assert all(math.isfinite(score) for (row,) in scored for score in row.scores)


def test_an_image_is_encoded_once_however_many_questions_it_brings(
    engine: Blip2, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = engine.backbone.encode
    monkeypatch.setattr(engine.backbone, "encode", lambda pixels: (encoded.append(len(pixels)), encode(pixels))[1])
    engine.answer(tiny_blip.random_images(3), [list(tiny_blip.QUESTIONS), ["a"], []], 1)
    assert sum(encoded) == 2, "the image without questions is not encoded at all"


def test_batches_equal_single_questions(engine: Blip2) -> None:
    images = tiny_blip.random_images(5, seed=2)
    together = engine.answer(images, [list(tiny_blip.QUESTIONS)] * 5, 1)
    for image, answers in zip(images, together, strict=True):
        for question, answer in zip(tiny_blip.QUESTIONS, answers, strict=True):
            (((alone,)),) = engine.answer([image], [[question]], 1)
            assert alone.answers[0][0] == answer.answers[0][0]
            assert alone.answers[0][1] == pytest.approx(answer.answers[0][1], abs=1e-5)


def test_the_score_is_the_mean_log_probability_of_the_tokens(engine: Blip2, stock: tuple[Any, Any]) -> None:
    model, processor = stock
    image = tiny_blip.random_images(1, seed=3)[0]
    for question in tiny_blip.QUESTIONS:
        (((answer,)),) = engine.answer([image], [[question]], 1)
        inputs = processor(images=image, text=Prompting().text(question), return_tensors="pt", do_resize=False)
        found = model.generate(
            **inputs, max_new_tokens=20, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        said = found.sequences[0, -len(found.logits) :]
        given = torch.stack(
            [logits[0].log_softmax(-1)[token] for logits, token in zip(found.logits, said, strict=True)]
        )
        assert answer.answers[0][1] == pytest.approx(float(given.mean().exp()), rel=1e-3)


@pytest.mark.parametrize("prompt", [None, "a photo of"])
def test_captions_equal_stock_generate(
    engine: Blip2, stock: tuple[Any, Any], kind: str, prompt: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tiny_blip.random_images(8, seed=4)
    texts = [caption.answers[0][0] for caption in engine.caption(images, prompt)]
    assert all(text.startswith(prompt or "") for text in texts)
    show_tokens(engine, monkeypatch)
    captions = engine.caption(images, prompt)
    for image, caption in zip(images, captions, strict=True):
        # Without a text stock T5 needs a bos token that it does not have; its tokenizer's reading of "" is LAVIS' way.
        text = "" if prompt is None and kind == "t5" else prompt
        if text is None:
            pixels = stock[1].image_processor(image, return_tensors="pt", do_resize=False).pixel_values
            ids = stock[0].generate(pixels, max_new_tokens=30, do_sample=False)[0]
            wanted = _up_to(ids[tiny_blip.QUERY_TOKENS + 1 :].tolist(), stock[0].config.text_config.eos_token_id)
        else:
            wanted = stock_tokens(*stock, image, text, max_new_tokens=30)
        said = caption.answers[0][0].removeprefix(prompt or "")
        assert [int(token) for token in said.split()] == wanted
    assert len({caption.answers[0][0] for caption in captions}) > 3


def _up_to(tokens: list[int], closing: int) -> list[int]:
    return tokens[: tokens.index(closing)] if closing in tokens else tokens


def test_beams_equal_stock_beams(directory: Path, stock: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    search = GenerationConfig(max_new_tokens=6, num_beams=3, length_penalty=-1.0)
    engine = load(directory, generation=search)
    images = tiny_blip.random_images(4, seed=5)
    asked = [list(tiny_blip.QUESTIONS[:3])] * 4
    several = engine.answer(images, asked, 2)
    assert all(len(answer.answers) == 2 for answers in several for answer in answers)
    show_tokens(engine, monkeypatch)
    for image, answers in zip(images, engine.answer(images, asked, 1), strict=True):
        for question, answer in zip(asked[0], answers, strict=True):
            wanted = stock_tokens(
                *stock, image, Prompting().text(question), max_new_tokens=6, num_beams=3, length_penalty=-1.0
            )
            assert tokens_of(answer) == wanted
            assert 0 < answer.answers[0][1] <= 1


def test_normalises_pixels_as_the_stock_processor(engine: Blip2, stock: tuple[Any, Any]) -> None:
    image = tiny_blip.random_images(1)[0]
    wanted = stock[1].image_processor(image, return_tensors="pt", do_resize=False).pixel_values
    found = engine.backbone._pixels(torch.from_numpy(image)[None])  # type: ignore[attr-defined]
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_loads_the_old_layout(engine: Blip2, directory: Path, tmp_path: Path) -> None:
    old = load(tiny_blip.to_old_layout(directory, tmp_path / "old"))
    images = tiny_blip.random_images(2)
    asked = [list(tiny_blip.QUESTIONS[:2])] * 2
    assert old.answer(images, asked, 1) == engine.answer(images, asked, 1)


def test_bfloat16_runs_and_mostly_agrees_on_yes_or_no(directory: Path, engine: Blip2) -> None:
    half = Blip2.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="bfloat16")
    images = tiny_blip.random_images(32, seed=6)
    asked, options = [["is it red?"]] * 32, [[("yes", "no")]] * 32
    pairs = zip(engine.score(images, asked, options), half.score(images, asked, options), strict=True)
    assert np.mean([(a.scores[0] > 0.5) == (b.scores[0] > 0.5) for (a,), (b,) in pairs]) >= 0.9
    assert half.answer(images[:2], asked[:2], 1)[0][0].answers


def test_nothing_to_answer_is_fine(engine: Blip2) -> None:
    assert engine.answer([], [], 1) == []
    assert engine.caption([], None) == []
    assert engine.answer(tiny_blip.random_images(1), [[]], 1) == [[]]
    assert engine.score([], [], []) == []
    assert engine.known_choices(["yes", " ", "zebra"]) == [True, False, True]
    ((scored,),) = engine.score(tiny_blip.random_images(1), [["a"]], [[("yes", "", "no")]])
    assert math.isnan(scored.scores[1])
    assert scored.scores[0] + scored.scores[2] == pytest.approx(1)
