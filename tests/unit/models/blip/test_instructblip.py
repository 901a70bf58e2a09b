"""InstructBLIP against stock transformers: its Q-Former reads the question, so only vision is shared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import tiny_blip
from tests.helpers.stock_generation import assert_equal_on_mixed_pairs, show_tokens, stock_tokens, tokens_of
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.blip.instructblip import InstructBlip
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig

CHOICES = ("yes", "no", "golden retriever")


@pytest.fixture(scope="module", params=["llama", "t5"])
def stock(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return tiny_blip.instructblip(request.param)


@pytest.fixture(scope="module")
def directory(stock: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_blip.save(tmp_path_factory.mktemp("instructblip"), stock)


@pytest.fixture(scope="module")
def engine(directory: Path) -> InstructBlip:
    return load(directory)


def load(directory: Path, **given: Any) -> InstructBlip:
    return InstructBlip.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32", **given)


def test_generates_the_tokens_of_stock_generate_on_100_mixed_pairs(
    engine: InstructBlip, stock: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_equal_on_mixed_pairs(engine, *stock, str, monkeypatch)


def test_scores_choices_as_full_forward_passes_do(engine: InstructBlip, stock: tuple[Any, Any]) -> None:
    model, processor = stock
    images = tiny_blip.random_images(4, seed=1)
    scored = engine.score(images, [["is it red?", "a"]] * 4, [[CHOICES] * 2] * 4)
    spread = []
    for image, row in zip(images, scored, strict=True):
        for question, found in zip(("is it red?", "a"), row, strict=True):
            means = torch.tensor([forced(model, processor, image, question, choice) for choice in CHOICES])
            np.testing.assert_allclose(found.scores, means.softmax(0), atol=1e-4)
            spread.append(found.scores)
    assert np.std(spread, axis=0).max() > 0.01, "the comparison means nothing if all scores are alike"


def forced(model: Any, processor: Any, image: Any, question: str, choice: str) -> float:
    inputs = processor(images=image, text=question, return_tensors="pt", do_resize=False)
    with torch.no_grad():
        if model.config.use_decoder_only_language_model:
            said = processor.tokenizer(f" {choice}", add_special_tokens=False, return_tensors="pt").input_ids
            inputs["input_ids"] = torch.cat([inputs.input_ids, said], dim=1)
            inputs["attention_mask"] = torch.ones_like(inputs.input_ids)
            logits = model(**inputs).logits[:, -said.shape[1] - 1 : -1]
        else:
            said = processor.tokenizer(choice, add_special_tokens=False, return_tensors="pt").input_ids
            begun = torch.cat([torch.zeros(1, 1, dtype=torch.long), said[:, :-1]], dim=1)
            logits = model(**inputs, decoder_input_ids=begun).logits
    return float(logits.log_softmax(-1).gather(-1, said[..., None]).mean())


def test_vision_runs_once_per_image(engine: InstructBlip, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode = engine.backbone.encode
    monkeypatch.setattr(engine.backbone, "encode", lambda pixels: (seen.append(len(pixels)), encode(pixels))[1])
    engine.answer(tiny_blip.random_images(2), [list(tiny_blip.QUESTIONS)] * 2, 1)
    assert sum(seen) == 2


def test_beams_equal_stock_beams(directory: Path, stock: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(directory, generation=GenerationConfig(max_new_tokens=5, num_beams=3))
    show_tokens(engine, monkeypatch)
    images, asked = tiny_blip.random_images(2, seed=3), [list(tiny_blip.QUESTIONS[:3])] * 2
    for image, answers in zip(images, engine.answer(images, asked, 1), strict=True):
        for question, answer in zip(asked[0], answers, strict=True):
            assert tokens_of(answer) == stock_tokens(*stock, image, question, max_new_tokens=5, num_beams=3)


def test_without_the_tokenizer_of_its_q_former_it_is_refused(directory: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    shutil.rmtree(copy / "qformer_tokenizer")
    with pytest.raises(ModelLoadError, match="qformer_tokenizer/ is missing"):
        load(copy)
