"""Adapters and refused prompts with the real engine of vLLM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tiny_adapter import merge, save_adapter
from tests.helpers.tiny_chat import QUESTIONS, random_images
from tests.vllm.checkpoints import save
from tests.vllm.engines import GENERATION, OPTIONS, scores, texts
from vqa_ray.errors import RowError
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.chat.vllm_engine import TOKENS_PER_REQUEST
from vqa_ray.models.chat.vllm_model import VllmModel
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.stages.model_stage import bisect_failures

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("qwen2_vl"), "qwen2_vl")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return save_adapter(tmp_path_factory.mktemp("adapters") / "adapter", base)


@pytest.fixture(scope="module")
def adapted(base: Path, adapter: Path) -> Iterator[VllmModel]:
    model = served(Checkpoint.open(str(base), lora=f"mine={adapter}"))
    yield model
    model.close()


def served(checkpoint: Checkpoint) -> VllmModel:
    return VllmModel.from_checkpoint(checkpoint, dtype="float32", generation=GENERATION, engine_options=OPTIONS)


def ours(directory: Path) -> ChatModel:
    checkpoint = Checkpoint.open(str(directory))
    return ChatModel.from_checkpoint(checkpoint, device="cpu", dtype="float32", generation=GENERATION)


def test_an_adapter_answers_as_the_merged_checkpoint(
    tmp_path: Path, base: Path, adapter: Path, adapted: VllmModel
) -> None:
    images = random_images(6)
    asked = [QUESTIONS] * len(images)
    merged = ours(merge(tmp_path / "merged", base, adapter))
    given, mine, plain = (model.answer(images, asked, 1) for model in (adapted, merged, ours(base)))
    assert texts(given) == texts(mine)
    assert scores(given) == pytest.approx(scores(mine), abs=1e-3)
    assert texts(given) != texts(plain)
    choices = [[("yes", "no")]] * len(images)
    first, second = (model.score(images, [["is it red?"]] * len(images), choices) for model in (adapted, merged))
    for one, other in zip(first, second, strict=True):
        assert one[0].scores == pytest.approx(other[0].scores, abs=1e-3)


def test_more_choices_than_one_request_gives(base: Path, adapter: Path, adapted: VllmModel, tmp_path: Path) -> None:
    merged = ours(merge(tmp_path / "merged", base, adapter))
    vocabulary = [word for word in merged._processor.tokenizer.get_vocab() if word.isalnum()]
    firsts: dict[int, str] = {}
    for word in sorted(vocabulary):
        tokens = merged._processor.choice_ids(word)
        if tokens:
            firsts.setdefault(tokens[0], word)
    choices = tuple(firsts.values())
    letters = [first + second for first in "abcdefghijkl" for second in "abcdefghijkl"]
    choices = choices if len(choices) > TOKENS_PER_REQUEST else tuple(dict.fromkeys([*choices, *letters]))
    images = random_images(2)
    arguments = (images, [["what is it?"]] * 2, [[choices]] * 2)
    for one, other in zip(adapted.score(*arguments), merged.score(*arguments), strict=True):
        assert one[0].scores == pytest.approx(other[0].scores, abs=1e-3)
    assert len(choices) > TOKENS_PER_REQUEST


def test_answers_beside_a_prompt_that_the_engine_refuses_are_written_once(adapted: VllmModel) -> None:
    engine: Any = adapted._engine
    last, sent = engine._last, []

    async def refusing(ids: Any, image: Any, params: Any, *more: Any) -> Any:
        sent.append(image.ids)
        return await last((10**9,) if image.ids == bad else ids, image, params, *more)

    images = random_images(9, seed=11)
    bad = adapted._prompts(images[4:5], [["what is it?"]], None, 1)[0].image.ids
    engine._last = refusing
    try:
        results, failures = bisect_failures(
            lambda rows: adapted.answer([images[row] for row in rows], [["what is it?"]] * len(rows), 1), range(9)
        )
    finally:
        engine._last = last
    assert sorted(results) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert failures[4].code == "model_error"
    assert len([ids for ids in sent if ids != bad]) == 8


def test_a_request_that_ends_in_an_error_is_sent_again_and_told(adapted: VllmModel, base: Path) -> None:
    engine: Any = adapted._engine
    running, sent = engine._engine, []

    class Failing:
        """vLLM, whose first requests end unanswered."""

        def __init__(self, times: int) -> None:
            self.times = times

        async def generate(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
            sent.append(arguments)
            async for output in running.generate(*arguments, **options):
                if len(sent) <= self.times:
                    output.outputs[0].token_ids, output.outputs[0].finish_reason = [], "error"
                yield output

    images = random_images(1, seed=12)
    arguments = (images, [["what is it?"]], 1)
    try:
        engine._engine = Failing(2)
        again = adapted.answer(*arguments)
        sent.clear()
        engine._engine = Failing(3)
        with pytest.raises(RowError, match="model_error: vLLM ended the request with 'error', 3 times"):
            adapted.score(images, [["what is it?"]], [[("yes", "no")]])
    finally:
        engine._engine = running
    assert texts(again) == texts(adapted.answer(*arguments))


def test_an_engine_ends_without_a_word_of_death(base: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = served(Checkpoint.open(str(base)))
    model.answer(random_images(1), [QUESTIONS[:1]], 1)
    capfd.readouterr()
    model.close()
    written = "".join(capfd.readouterr())
    assert "EngineDeadError" not in written
    assert "Traceback" not in written
