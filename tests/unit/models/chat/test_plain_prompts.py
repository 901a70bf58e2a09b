"""KOSMOS-2 and Fuyu, whose processors set the image before a text: tokens, scores and boxes as in transformers."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as PillowImage

from tests.helpers.pillow_processors import with_pillow
from tests.helpers.tiny_chat import QUESTIONS, random_images, save_chat
from tests.helpers.tiny_families import tiny_family
from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.models.chat import model as engine_file
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.chat.processor import ChatProcessor
from vqa_ray.models.chat.prompt_adapters import ADAPTERS
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.generation.decoding import Generated
from vqa_ray.models.load import ModelOptions
from vqa_ray.types import Image

NEW_TOKENS = 8
CHOICES = ("yes", "no", "a red dog on the left")
Built = tuple[Any, Any, Path]


@pytest.fixture(scope="module", params=["kosmos-2", "fuyu"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def kosmos(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build("kosmos-2", tmp_path_factory)


def build(name: str, paths: pytest.TempPathFactory) -> Built:
    model, processor = tiny_family(name)
    with torch.no_grad():
        # So that some texts end before the limit.
        model.get_output_embeddings().weight[processor.tokenizer.eos_token_id] *= 25 if name == "kosmos-2" else 16
    return model, processor, save_chat(paths.mktemp(name), model, processor)


def load(directory: Path, **search: Any) -> ChatModel:
    generation = GenerationConfig(NEW_TOKENS, NEW_TOKENS, **search)
    return ChatModel.from_checkpoint(
        Checkpoint.open(str(directory)), device="cpu", dtype="float32", generation=generation
    )


def inputs_of(processor: Any, image: Image, question: str) -> Any:
    text = f"{question}\n" if hasattr(processor, "image_newline_token") else f"<grounding> Question: {question} Answer:"
    options = {"return_legacy_image_output": False} if hasattr(processor, "image_newline_token") else {}
    return processor(images=PillowImage.fromarray(image), text=text, return_tensors="pt", **options)


@torch.inference_mode()
def stock(model: Any, processor: Any, image: Image, question: str, **options: Any) -> tuple[list[int], float]:
    """Tokens of `generate` and their mean log-probability, each up to the closing token."""
    inputs = inputs_of(processor, image, question)
    given = model.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )
    tokens = given.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    end = processor.tokenizer.eos_token_id
    counted = tokens.index(end) + 1 if end in tokens else len(tokens)
    scores = [float(step[0].log_softmax(-1)[token]) for step, token in zip(given.scores, tokens, strict=False)]
    return tokens[:counted], sum(scores[:counted]) / counted


def show_tokens(engine: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine._processor, "decode", lambda ids, special=False: " ".join(map(str, ids)))


def pairs() -> tuple[list[Image], list[list[str]]]:
    """12 images of mixed sizes, with 33 questions of mixed lengths among them."""
    return random_images(12, seed=5), [list(QUESTIONS[: 1 + number % 5]) for number in range(12)]


@with_pillow
def test_tokens_and_scores_equal_stock_generate_on_mixed_pairs(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor, directory = built
    engine = load(directory)
    show_tokens(engine, monkeypatch)
    images, asked = pairs()
    answered = engine.answer(images, asked, 1)
    assert sum(map(len, asked)) >= 30
    ends = set()
    for image, questions, answers in zip(images, asked, answered, strict=True):
        for question, answer in zip(questions, answers, strict=True):
            tokens, mean = stock(model, processor, image, question)
            closed = tokens[-1] == processor.tokenizer.eos_token_id
            ((text, score),) = answer.answers
            assert [int(token) for token in text.split()] == (tokens[:-1] if closed else tokens)
            assert score == pytest.approx(math.exp(mean), rel=1e-3)
            assert answer.finish_reason == ("stop" if closed else "length")
            ends.add(answer.finish_reason)
    assert ends == {"stop", "length"}, "some texts must end early, and some not"
    assert len({answers[0].answers[0][0] for answers in answered}) > 4, "the image must matter"
    alone = [
        engine.answer([image], [[question]], 1)[0][0]
        for image, each in zip(images, asked, strict=True)
        for question in each
    ]
    for one, together in zip(alone, [answer for answers in answered for answer in answers], strict=True):
        assert one.answers[0][0] == together.answers[0][0]
        assert one.answers[0][1] == pytest.approx(together.answers[0][1], rel=1e-3)


@with_pillow
def test_choices_score_as_full_forward_passes_do(built: Built) -> None:
    model, processor, directory = built
    engine = load(directory)
    images, asked = pairs()
    scored = engine.score(images, asked, [[CHOICES] * len(questions) for questions in asked])
    for image, questions, row in zip(images[:4], asked, scored, strict=False):
        for question, found in zip(questions, row, strict=True):
            means = [forced(model, processor, image, question, engine._processor.choice_ids(each)) for each in CHOICES]
            assert found.scores == pytest.approx(torch.tensor(means).softmax(0).tolist(), abs=1e-4)


@torch.inference_mode()
def forced(model: Any, processor: Any, image: Image, question: str, choice: tuple[int, ...]) -> float:
    """The mean log-probability of a choice by one forward pass over prompt and choice."""
    inputs = dict(inputs_of(processor, image, question))
    behind = torch.tensor([choice])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], behind], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "image_embeds_position_mask" in inputs:
        place = inputs["image_embeds_position_mask"]
        inputs["image_embeds_position_mask"] = torch.cat([place, torch.zeros_like(behind)], dim=1)
    logits = model(**inputs).logits[0, -len(choice) - 1 : -1].log_softmax(-1)
    return float(logits.gather(-1, behind[0][:, None]).mean())


def test_the_dtype_of_the_weights_is_that_of_the_pixels(built: Built) -> None:
    """Fuyu multiplies pixels as its processor makes them, in float32."""
    checkpoint = Checkpoint.open(str(built[2]))
    engine = ChatModel.from_checkpoint(checkpoint, device="cpu", dtype="bfloat16", generation=GenerationConfig(4, 4))
    answers = engine.answer(random_images(2), [list(QUESTIONS[:2])] * 2, 1)
    assert all(0 < answer.answers[0][1] <= 1 for each in answers for answer in each)


def test_kosmos_beams_equal_stock(kosmos: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor, directory = kosmos
    engine = load(directory, num_beams=3)
    show_tokens(engine, monkeypatch)
    images, asked = random_images(4, seed=7), [list(QUESTIONS[:3])] * 4
    for image, answers in zip(images, engine.answer(images, asked, 1), strict=True):
        for question, answer in zip(QUESTIONS, answers, strict=False):
            tokens, _ = stock(model, processor, image, question, num_beams=3)
            closed = tokens[-1] == processor.tokenizer.eos_token_id
            assert [int(token) for token in answer.answers[0][0].split()] == (tokens[:-1] if closed else tokens)


@pytest.mark.parametrize("beams", [1, 3])
def test_kosmos_keeps_the_generation_config_that_its_own_generate_leaves_out(
    kosmos: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beams: int
) -> None:
    """The published checkpoint writes no group of three twice."""
    model, processor, directory = kosmos
    directory = shutil.copytree(directory, tmp_path / "model")
    settings = json.loads((directory / "generation_config.json").read_text())
    (directory / "generation_config.json").write_text(json.dumps(settings | {"no_repeat_ngram_size": 3}))
    engine = load(directory, num_beams=beams)
    show_tokens(engine, monkeypatch)
    images, asked = random_images(4, seed=7), [list(QUESTIONS[:3])] * 4
    changed = 0
    for image, answers in zip(images, engine.answer(images, asked, 1), strict=True):
        for question, answer in zip(QUESTIONS, answers, strict=False):
            wanted, _ = stock(model, processor, image, question, num_beams=beams, no_repeat_ngram_size=3)
            found = [int(token) for token in answer.answers[0][0].split()]
            assert found == [token for token in wanted if token != processor.tokenizer.eos_token_id]
            changed += wanted != stock(model, processor, image, question, num_beams=beams)[0]
    assert changed


def test_beams_of_fuyu_are_refused(tmp_path: Path) -> None:
    directory = save_chat(tmp_path, *tiny_family("fuyu"))
    options = ModelOptions.of(Checkpoint.open(str(directory)), num_beams=3)
    with pytest.raises(RequestError, match=r"^--num-beams 3: model .*: fuyu takes the likeliest token each time"):
        options.check()
    ModelOptions.of(Checkpoint.open(str(directory)), num_beams=1).check()


def test_kosmos_boxes_and_text_equal_its_own_post_processing(kosmos: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    _, processor, directory = kosmos
    engine = load(directory)
    written = (
        "a dog<phrase> the red dog</phrase><object><patch_index_0044><patch_index_0863></object> and"
        "<phrase> two cats</phrase><object><patch_index_0005><patch_index_0911></delimiter_of_multi_objects/>"
        "<patch_index_0033><patch_index_0039></object> on the left"
    )
    tokens = tuple(processor.tokenizer(written, add_special_tokens=False)["input_ids"])
    monkeypatch.setattr(engine_file, "greedy", lambda *_: [Generated(tokens, -0.5, "stop")])
    ((answer,),) = engine.answer(random_images(1), [["what is this?"]], 1)
    text, entities = processor.post_process_generation(processor.tokenizer.decode(tokens))
    assert answer.answers[0][0] == text
    assert text.split() == ["a", "dog", "the", "red", "dog", "and", "two", "cats", "on", "the", "left"]
    wanted = [(name, pytest.approx(box)) for name, _, boxes in entities for box in boxes]
    assert [(box.label, (box.x0, box.y0, box.x1, box.y1)) for box in answer.boxes] == wanted
    assert len(wanted) == 3


def test_a_question_may_not_hold_the_tokens_of_the_image(built: Built) -> None:
    engine = load(built[2])
    token = "|SPEAKER|" if "fuyu" in built[2].name else "</image>"
    with pytest.raises(RowError, match="a token of the model's own") as caught:
        engine.answer(random_images(1), [[f"is {token} red?"]], 1)
    assert caught.value.code == ErrorCode.ROW_MALFORMED


def test_kosmos_continues_a_prompt_of_its_own_form_as_it_is() -> None:
    adapter = ADAPTERS["kosmos-2"]
    assert adapter.word(" what is this? ") == "<grounding> Question: what is this? Answer:"
    asked = "<grounding> Describe this image in detail:"
    assert adapter.word(asked) == asked
    assert adapter.word(adapter.caption) == "<grounding>"


def test_a_processor_of_older_transformers_is_not_given_what_it_does_not_know() -> None:
    config, processor = tiny_family("fuyu")[0].config, tiny_family("fuyu")[1]
    given: list[dict[str, Any]] = []

    class Older(type(processor)):  # type: ignore[misc]
        def __call__(self, images: Any = None, text: Any = None, **options: Any) -> Any:
            given.append(options)
            made = super().__call__(images=images, text=text, **options)
            return {"image_patches" if name == "pixel_values" else name: value for name, value in made.items()}

    processor.__class__ = Older
    about = ChatProcessor(processor, config.image_token_id, "model x", ADAPTERS["fuyu"]).about(random_images(1)[0])
    assert about.tokens("a?\n")
    assert "image_patches" in about.tensors
    assert given == [{"return_tensors": "pt"}]


def test_the_patches_of_fuyu_are_those_of_its_torchvision_processor(tmp_path: Path) -> None:
    """The patches as `FuyuImageProcessor` cuts them, which needs torchvision."""
    processor = tiny_family("fuyu")[1]
    image = PillowImage.fromarray(random_images(1)[0]).resize((40, 30))
    made = processor(images=image, text="a", return_tensors="pt", return_legacy_image_output=False)
    # The name of transformers 5.19.
    found = made["image_patches" if "image_patches" in made else "pixel_values"]
    pixels = processor.image_processor([image], return_tensors="pt")["images"][0][..., :30, :40]
    cut = pixels.unfold(2, 10, 10).unfold(3, 10, 10).contiguous().view(1, 3, -1, 10, 10)
    assert torch.equal(found, cut.permute(0, 2, 3, 4, 1).reshape(12, 300))
