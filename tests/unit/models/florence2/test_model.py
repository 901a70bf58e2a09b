"""Florence-2 against stock transformers: tokens, scores, captions, text and boxes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.tiny_blip import random_images
from tests.helpers.tiny_florence2 import florence2, save, stock_tokens
from vqa_ray.errors import ModelLoadError, RowError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.florence2.model import Florence2
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.types import Image

NEW_TOKENS = 8
QUESTIONS = (
    "<CAPTION>",
    "<OD>",
    "<CAPTION_TO_PHRASE_GROUNDING> a red dog",
    "what colour is it?",
    "is there a cat on the left of the dog?",
)
CHOICES = ("yes", "no", "a red dog on the left")


@pytest.fixture(scope="module")
def built() -> tuple[Any, Any]:
    model, processor = florence2()
    with torch.no_grad():
        # So that some texts end before the limit.
        model.lm_head.weight[processor.tokenizer.eos_token_id] *= -1.3
    return model, processor


@pytest.fixture(scope="module")
def directory(built: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("florence2"), built)


def load(directory: Path, **search: Any) -> Florence2:
    generation = GenerationConfig(NEW_TOKENS, NEW_TOKENS, **search)
    return Florence2.from_checkpoint(
        Checkpoint.open(str(directory)), device="cpu", dtype="float32", generation=generation
    )


def show_tokens(engine: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_text", lambda tokens: " ".join(map(str, tokens)))


def pairs() -> tuple[list[Image], list[list[str]]]:
    """12 images with 33 questions of mixed lengths among them."""
    return random_images(12, seed=3), [list(QUESTIONS[: 1 + number % 5]) for number in range(12)]


def test_tokens_equal_stock_generate_on_mixed_pairs(
    built: tuple[Any, Any], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(directory)
    show_tokens(engine, monkeypatch)
    images, asked = pairs()
    answered = engine.answer(images, asked, 1)
    ends, texts = set(), set()
    for image, questions, answers in zip(images, asked, answered, strict=True):
        for question, answer in zip(questions, answers, strict=True):
            tokens = [int(token) for token in answer.answers[0][0].split()]
            assert tokens == stock_tokens(built, image, question, NEW_TOKENS), question
            assert answer.finish_reason == ("length" if len(tokens) == NEW_TOKENS else "stop")
            ((alone,),) = engine.answer([image], [[question]], 1)
            assert alone.answers[0][0] == answer.answers[0][0], "the rows of a batch change each other"
            assert alone.answers[0][1] == pytest.approx(answer.answers[0][1], rel=1e-3)
            ends.add(answer.finish_reason)
            texts.add(tuple(tokens))
    assert ends == {"stop", "length"}, "some texts must end early, and some not"
    assert len(texts) > 12, "the comparison means nothing if questions and images do not matter"


@torch.inference_mode()
def forced(built: tuple[Any, Any], image: Image, question: str, tokens: list[int]) -> float:
    """The mean log-probability of a text by one forward pass of the stock model, behind the tokens that open it."""
    model, processor = built
    inputs = processor(images=image, text=question, return_tensors="pt", do_resize=False)
    opened = torch.tensor([[2, 0, *tokens[:-1]]])
    logits = model(**inputs, decoder_input_ids=opened).logits[0, 1:].log_softmax(-1)
    return float(logits.gather(-1, torch.tensor(tokens)[:, None]).mean())


def test_scores_are_means_of_log_probabilities(
    built: tuple[Any, Any], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(directory)
    images, asked = pairs()
    scored = engine.score(images, asked, [[CHOICES] * len(questions) for questions in asked])
    tokenize = built[1].tokenizer
    for image, questions, row in zip(images[:5], asked, scored, strict=False):
        for question, found in zip(questions, row, strict=True):
            tokens = [tokenize(choice, add_special_tokens=False)["input_ids"] for choice in CHOICES]
            means = torch.tensor([forced(built, image, question, each) for each in tokens])
            assert found.scores == pytest.approx(means.softmax(0).tolist(), abs=1e-4)
    show_tokens(engine, monkeypatch)
    ((answer,),) = engine.answer(images[:1], [[QUESTIONS[3]]], 1)
    # Two tokens cannot repeat a group of three, so that nothing was ruled out.
    engine.generation = GenerationConfig(2, 2)
    ((short,),) = engine.answer(images[:1], [[QUESTIONS[3]]], 1)
    tokens = [int(token) for token in short.answers[0][0].split()]
    assert short.answers[0][1] == pytest.approx(math.exp(forced(built, images[0], QUESTIONS[3], tokens)), rel=1e-3)
    assert answer.answers[0][0].startswith(short.answers[0][0])


def test_captions_and_beams_equal_stock(
    built: tuple[Any, Any], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_images(4, seed=5)
    for beams in (1, 3):
        engine = load(directory, num_beams=beams)
        show_tokens(engine, monkeypatch)
        for image, caption in zip(images, engine.caption(images), strict=True):
            wanted = stock_tokens(built, image, "<CAPTION>", NEW_TOKENS, num_beams=beams)
            assert [int(token) for token in caption.answers[0][0].split()] == wanted


def test_an_answer_names_what_its_boxes_hold(built: tuple[Any, Any], directory: Path) -> None:
    engine, processor = load(directory), built[1]
    first, second = "a dog<loc_52><loc_333><loc_932><loc_774>", "two cats<loc_425><loc_504><loc_474><loc_516>"
    written = f"{first}{second}<loc_0><loc_1><loc_9><loc_9>"
    tokens = processor.tokenizer(written, add_special_tokens=False)["input_ids"]
    assert engine._text(tokens) == "a dog, two cats"
    marked = processor.tokenizer("<od>the <b> on the left</od>", add_special_tokens=False)["input_ids"]
    assert engine._text(marked) == "the <b> on the left"
    own = processor.post_process_generation(text=written, task="<OD>", image_size=(1000, 1000))["<OD>"]
    boxes = engine._boxes("Locate the objects with category name in the image.", tokens)
    assert [box.label for box in boxes] == own["labels"]
    assert [[int(1000 * value) for value in (box.x0, box.y0, box.x1, box.y1)] for box in boxes] == own["bboxes"]
    assert len(engine._boxes("What is the text in the image, with regions?", tokens)) == 1


def test_a_phrase_that_names_no_place_has_no_box(built: tuple[Any, Any], directory: Path) -> None:
    engine, processor = load(directory), built[1]
    written = "the image<loc_0><loc_0><loc_900><loc_900>a red dog<loc_52><loc_333><loc_932><loc_774>"
    task = "<CAPTION_TO_PHRASE_GROUNDING>"
    own = processor.post_process_generation(text=written, task=task, image_size=(1000, 1000))[task]
    tokens = processor.tokenizer(written, add_special_tokens=False)["input_ids"]
    boxes = engine._boxes("Locate the phrases in the caption: the image of a red dog", tokens)
    assert [box.label for box in boxes] == own["labels"] == ["a red dog"]
    assert len(engine._boxes("Locate the image in the image.", tokens)) == 2


def test_a_question_may_not_spell_the_image(directory: Path) -> None:
    with pytest.raises(RowError, match="spells the token that stands for the image"):
        load(directory).answer(random_images(1), [["is <image> red?"]], 1)


def test_a_processor_that_crops_is_refused(built: tuple[Any, Any], tmp_path: Path) -> None:
    model, processor = built
    processor.image_processor.do_center_crop = True
    try:
        directory = save(tmp_path, (model, processor))
    finally:
        processor.image_processor.do_center_crop = False
    with pytest.raises(ModelLoadError, match="the image processor crops images"):
        load(directory)
