"""vLLM's engine beside our own: the same tokens and scores, an image encoded once, and failures that are told."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.helpers.tiny_chat import QUESTIONS, random_images
from tests.vllm.checkpoints import save
from tests.vllm.engines import GENERATION, OPTIONS, scores, texts
from vqa_ray.errors import ModelLoadError
from vqa_ray.images.resize import resize
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.chat.vllm_model import VllmModel
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.structured.filled import read_object
from vqa_ray.structured.parse import parse_schema

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

FAMILIES = ("llava", "qwen2_vl", "qwen2_5_vl", "smolvlm", "llava_onevision", "llava_next", "qwen3_vl", "idefics3")


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return functools.cache(lambda family: save(tmp_path_factory.mktemp(family), family))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def served(directories: Any, family: str) -> Iterator[VllmModel]:
    checkpoint = Checkpoint.open(str(directories(family)))
    model = VllmModel.from_checkpoint(checkpoint, dtype="float32", generation=GENERATION, engine_options=OPTIONS)
    yield model
    model.close()


@pytest.fixture(scope="module")
def ours(directories: Any, family: str) -> ChatModel:
    checkpoint = Checkpoint.open(str(directories(family)))
    return ChatModel.from_checkpoint(checkpoint, device="cpu", dtype="float32", generation=GENERATION)


def test_the_tokens_of_100_mixed_pairs_are_those_of_our_own_engine(served: VllmModel, ours: ChatModel) -> None:
    images = random_images(20)
    given, mine = (model.answer(images, [QUESTIONS] * 20, 1) for model in (served, ours))
    assert texts(given) == texts(mine)
    assert scores(given) == pytest.approx(scores(mine), abs=1e-3)
    assert len(set(texts(mine))) >= 60, "the comparison means nothing if the answers are alike"


def test_scores_of_choices_captions_and_boxes(served: VllmModel, ours: ChatModel) -> None:
    images = random_images(4, seed=3)
    asked = [QUESTIONS[:2]] * 4
    choices = [[("yes", "no"), ("red", "a green dog", "blue", "a green cat", "")]] * 4
    for mine, given in zip(ours.score(images, asked, choices), served.score(images, asked, choices), strict=True):
        for one, other in zip(mine, given, strict=True):
            assert other.scores == pytest.approx(one.scores, abs=1e-3, nan_ok=True)
    for prompt in (None, "a photo of"):
        mine, given = ours.caption(images, prompt), served.caption(images, prompt)
        assert [each.answers[0][0] for each in given] == [each.answers[0][0] for each in mine]


def test_the_image_is_seen(served: VllmModel) -> None:
    image = random_images(1, seed=5)[0]
    shown, black = served.answer([image, np.zeros_like(image)], [QUESTIONS] * 2, 1)
    assert scores([shown]) != pytest.approx(scores([black]), abs=1e-6)


def test_an_unknown_model_or_option_is_told_with_its_reason(directories: Any) -> None:
    checkpoint = Checkpoint.open(str(directories("llava")))
    with pytest.raises(ModelLoadError, match=r"--engine vllm: .*max_model_len"):
        VllmModel.from_checkpoint(checkpoint, dtype="float32", engine_options={**OPTIONS, "max_model_len": 100_000})


def test_an_image_is_encoded_once_whatever_its_questions_and_choices(directories: Any) -> None:
    checkpoint = Checkpoint.open(str(directories("qwen2_vl")))
    counted = {**OPTIONS, "disable_log_stats": False, "enable_logging_iteration_details": True}
    model = VllmModel.from_checkpoint(checkpoint, dtype="float32", generation=GENERATION, engine_options=counted)
    encoded = _count_encoder_inputs(model)
    images = random_images(6, seed=7)
    asked = [[f"{question} {number}" for question in QUESTIONS for number in (1, 2)]] * len(images)
    model.answer(images, asked, 1)
    assert sum(encoded) == len(images)
    model.score(images, asked, [[("yes", "no", "a green dog", "a green cat")] * 10] * len(images))
    assert sum(encoded) == len(images)
    model.close()


def test_a_bound_of_pixels_gives_both_engines_the_same_image_tokens(directories: Any) -> None:
    checkpoint = Checkpoint.open(str(directories("qwen2_vl"))).limited(28 * 28 * 2)
    ours = ChatModel.from_checkpoint(checkpoint, device="cpu", dtype="float32", generation=GENERATION)
    model = VllmModel.from_checkpoint(checkpoint, dtype="float32", generation=GENERATION, engine_options=OPTIONS)
    images = [resize(image, *checkpoint.transform.target_size(*image.shape[:2])) for image in random_images(10)]
    asked = [QUESTIONS[:1]] * len(images)
    read = _record_prompts(model)
    given, mine = model.answer(images, asked, 1), ours.answer(images, asked, 1)
    model.close()
    assert texts(given) == texts(mine)
    prompts = [prompt.encoded.ids for prompt in ours._prompts(images, asked, None, 1)]
    assert sorted(read) == sorted(prompts)
    assert {ids.count(ours._processor.image_token_id) for ids in prompts} == {1, 2}


def _record_prompts(model: VllmModel) -> list[tuple[int, ...]]:
    """Collect the prompts that the engine reads from now on, with the tokens of their images."""
    engine: Any = model._engine
    last, prompts = engine._last, []

    async def recording(*arguments: Any) -> Any:
        output = await last(*arguments)
        prompts.append(tuple(output.prompt_token_ids))
        return output

    engine._last = recording
    return prompts


def _count_encoder_inputs(model: VllmModel) -> list[int]:
    """Collect how many images the engine encodes at each of its steps from now on, by its own counters."""
    engine: Any = model._engine
    manager = engine._engine.logger_manager
    record, counts = manager.record, []

    def counting(*arguments: Any, **named: Any) -> Any:
        stats = named.get("scheduler_stats") or next(
            (each for each in arguments if hasattr(each, "iteration_details")), None
        )
        if stats is not None and stats.iteration_details is not None:
            counts.append(stats.iteration_details.num_encoder_inputs)
        return record(*arguments, **named)

    manager.record = counting
    return counts


def test_objects_are_those_of_our_own_engine(
    served: VllmModel, ours: ChatModel, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same tokens, and the same probabilities among those that the schema allows."""
    if family.startswith("llava"):
        pytest.skip("the bytes of this tokenizer are special tokens, which no object may hold")
    for model in (served, ours):
        monkeypatch.setattr(model, "generation", GenerationConfig(max_new_tokens=60))
    fields = {
        "colour": {"enum": ["red", "blue", "green"]},
        "pieces": {"type": "integer", "minimum": 0, "maximum": 99},
        "new": {"type": "boolean"},
        "code": {"type": "string", "pattern": "^[a-f]{2}-[0-9]$"},
    }
    schema = parse_schema({"type": "object", "properties": fields, "required": list(fields)}, "s.json")
    images = [resize(image, 56, 56) for image in random_images(12)]
    prompts = [f"{question} colour, pieces, new, code" for question in itertools.islice(itertools.cycle(QUESTIONS), 12)]
    theirs, own = (model.fill(images, prompts, schema.wire) for model in (served, ours))
    assert [each.tokens for each in theirs] == [each.tokens for each in own]
    assert [each.finish_reason for each in theirs] == [each.finish_reason for each in own]
    assert {each.finish_reason for each in own} == {"stop"}
    for left, right in zip(theirs, own, strict=True):
        assert left.log_probabilities == pytest.approx(right.log_probabilities, abs=1e-3)
        assert read_object(schema, left).values == read_object(schema, right).values
    monkeypatch.setattr(served, "generation", GenerationConfig(max_new_tokens=9))
    cut = served.fill(images[:1], prompts[:1], schema.wire)[0]
    assert (cut.tokens, cut.finish_reason) == (own[0].tokens[:9], "length")
