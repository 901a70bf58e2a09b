"""How free texts end: the finish reason, the warning of a cut one, and the default limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import tiny_blip
from tests.helpers.tiny_chat import QUESTIONS, random_images, save_tiny_chat
from vqa_ray.errors import RequestError
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.fake.model import FakeModel
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.registry import FAKES, FAMILIES
from vqa_ray.models.transforms.square import SquareTransform
from vqa_ray.types import Answer

LIMIT = 6


@pytest.fixture(scope="module", params=["llava", "idefics2"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_chat(tmp_path_factory.mktemp("chat"), request.param)


def chat(directory: Path, closing: tuple[int, ...] | None = None, **generation: Any) -> ChatModel:
    config = GenerationConfig(**{"max_new_tokens": LIMIT, "caption_max_new_tokens": LIMIT, **generation})
    model = ChatModel.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32", generation=config)
    if closing is not None:
        model._eos_token_ids = closing
    return model


def written(model: ChatModel) -> list[Answer]:
    images = random_images(6, seed=2)
    return [answer for answers in model.answer(images, [QUESTIONS] * len(images), 1) for answer in answers]


@pytest.mark.parametrize("beams", [1, 2])
def test_a_chat_answer_says_how_it_ended(directory: Path, beams: int) -> None:
    cut = written(chat(directory, num_beams=beams))
    model = chat(directory, num_beams=beams)
    stopped = written(chat(directory, (*model._eos_token_ids, *range(50, 250)), num_beams=beams))
    assert {answer.finish_reason for answer in (*cut, *stopped)} == {"stop", "length"}
    for answer in (*cut, *stopped):
        told = f"text cut at {LIMIT} tokens; --max-new-tokens allows more"
        assert answer.warning == (told if answer.finish_reason == "length" else None)


def test_an_answer_that_closes_with_its_last_token_was_not_cut(directory: Path) -> None:
    free = chat(directory)
    prompts = free._prompts(random_images(1), [[QUESTIONS[0]]], None, LIMIT)
    monkey: list[int] = []
    decode = free._processor.decode
    free._processor.decode = lambda ids, special=False: (monkey.extend(ids), decode(ids, special=special))[1]  # type: ignore[method-assign,assignment]
    (answer,) = free._answers(prompts, LIMIT)
    assert answer.finish_reason == "length"
    last = monkey[LIMIT - 1]
    first = monkey[:LIMIT].index(last)
    closed = chat(directory, (last,))
    (again,) = closed._answers(closed._prompts(random_images(1), [[QUESTIONS[0]]], None, first + 1), first + 1)
    assert again.finish_reason == "stop"
    assert again.warning is None


@pytest.mark.parametrize("beams", [1, 3])
def test_blip_2_says_how_answers_and_captions_ended(tmp_path: Path, beams: int) -> None:
    directory = tiny_blip.save(tmp_path, tiny_blip.blip2("opt"))
    engine: Any = ModelOptions(str(directory), dtype="float32", num_beams=beams).load()
    limit = engine.generation.max_new_tokens
    answers = [
        each for per in engine.answer(tiny_blip.random_images(8), [list(tiny_blip.QUESTIONS)] * 8, 1) for each in per
    ]
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}
    for answer in answers:
        assert (answer.warning is not None) == (answer.finish_reason == "length")
        assert answer.warning in (None, f"text cut at {limit} tokens; --max-new-tokens allows more")
    captions = engine.caption(tiny_blip.random_images(4), None)
    assert all(caption.finish_reason in ("stop", "length") for caption in captions)


def opened(name: str, **config: Any) -> Checkpoint:
    family = next(each for each in FAMILIES if each.name == name and "answer" in each.tasks)
    return Checkpoint("m", family, SquareTransform(224), {"model_type": name, **config})


@pytest.mark.parametrize(
    ("name", "options", "config", "limits"),
    [
        ("llava", {}, {}, (256, 256)),
        ("llava", {}, {"text_config": {"max_position_embeddings": 300}}, (150, 150)),
        ("llava", {"max_new_tokens": 299}, {"text_config": {"max_position_embeddings": 300}}, (299, 299)),
        ("qwen2_vl", {}, {"max_position_embeddings": 32768}, (256, 256)),
        ("instructblip", {}, {}, (256, 256)),
        ("blip-2", {}, {}, (20, 256)),
        ("blip-2", {"prompt_template": "lavis"}, {}, (10, 256)),
        ("blip-2", {"prompt_template": "lavis", "max_new_tokens": 40}, {}, (40, 40)),
        ("blip", {}, {}, (20, 256)),
    ],
)
def test_default_limits(name: str, options: dict[str, Any], config: dict[str, Any], limits: tuple[int, int]) -> None:
    found = ModelOptions.of(opened(name, **config), **options).generation()
    assert (found.max_new_tokens, found.caption_max_new_tokens) == limits


def test_the_fake_model_is_cut_as_asked() -> None:
    model = ModelOptions("fake:", max_new_tokens=2).load()
    assert isinstance(model, FakeModel)
    image = torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()
    (caption,) = model.caption([image], None)
    assert caption.answers[0][0] == "a black"
    assert (caption.finish_reason, caption.warning) == ("length", "text cut at 2 tokens; --max-new-tokens allows more")
    ((answer,),) = model.answer([image], [["what colour is it?"]], 1)
    assert (answer.finish_reason, answer.warning) == ("stop", None)
    assert Checkpoint.open("fake:").family is FAKES["fake:"]


def test_a_limit_that_leaves_no_room_is_refused_with_both_numbers(tmp_path: Path) -> None:
    directory = tiny_blip.save(tmp_path, tiny_blip.blip2("opt"))
    with pytest.raises(RequestError, match=r"^--max-new-tokens 5000: model .* holds 64 tokens .* at most 63$"):
        ModelOptions(str(directory), max_new_tokens=5000).generation()
