"""Chat models on vLLM, with a stand-in for its engine that runs our own network; the real one is in tests/vllm."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from tests.helpers.tiny_chat import QUESTIONS, random_images, save_tiny_chat
from vqa_ray.errors import RequestError
from vqa_ray.models.chat import kept_answers
from vqa_ray.models.chat.kept_answers import KeptAnswers
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.chat.processor import ChatProcessor
from vqa_ray.models.chat.vllm_engine import Continuation, VllmEngine, VllmImages, VllmPrompt, _first_of_each_image
from vqa_ray.models.chat.vllm_model import VllmModel
from vqa_ray.models.chat.vllm_options import check_vllm, gpus_per_engine, parse_engine_options
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.stages.model_stage import bisect_failures

NEW_TOKENS = 8
GENERATION = GenerationConfig(max_new_tokens=NEW_TOKENS, caption_max_new_tokens=NEW_TOKENS)


class StandIn:
    """Expands the placeholders and continues prompts by transformers, as vLLM would."""

    context = 512

    def __init__(self, directory: Path, processor: ChatProcessor) -> None:
        from transformers import AutoModelForImageTextToText

        self.model = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32).eval()
        self.processor = processor
        self.ids: list[tuple[str, ...]] = []
        self.texts: dict[tuple[int, ...], str] = {}
        text_ids = processor.text_ids

        def remembered(prompt: str) -> tuple[int, ...]:
            return self.texts.setdefault(text_ids(prompt), prompt) and text_ids(prompt)

        processor.text_ids = remembered  # type: ignore[method-assign]

    def close(self) -> None:
        """Nothing runs."""

    def _inputs(self, prompt: VllmPrompt, behind: Sequence[int] = ()) -> dict[str, Any]:
        self.ids.append(prompt.image.ids)
        about = self.processor.about(tuple(np.asarray(image) for image in prompt.image.images))
        encoded = about.encode(self.texts[prompt.ids])
        ids = torch.tensor([[*encoded.ids, *behind]])
        kinds = {
            name: torch.cat([values, values.new_zeros(len(behind))])[None] for name, values in encoded.kinds.items()
        }
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **kinds, **about.tensors}

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[VllmPrompt], limit: int, stops: Sequence[int], penalty: float
    ) -> list[Continuation]:
        assert penalty == 1.0
        found = []
        for prompt in prompts:
            inputs = self._inputs(prompt)
            written = self.model.generate(
                **inputs, do_sample=False, max_new_tokens=limit, eos_token_id=list(stops), pad_token_id=stops[0]
            )[0, inputs["input_ids"].shape[1] :].tolist()
            found.append(Continuation(tuple(written), tuple(self._log_probabilities(prompt, written))))
        return found

    @torch.inference_mode()
    def _log_probabilities(self, prompt: VllmPrompt, tokens: Sequence[int]) -> list[float]:
        logits = self.model(**self._inputs(prompt, tokens)).logits[0, -len(tokens) - 1 : -1].log_softmax(dim=-1)
        return [float(value) for value in logits[range(len(tokens)), list(tokens)]]

    def mean_log_probabilities(
        self, prompts: Sequence[VllmPrompt], choices: Mapping[int, Sequence[Sequence[int]]]
    ) -> dict[int, list[float]]:
        return {
            prompt.index: [
                sum(self._log_probabilities(prompt, tokens)) / len(tokens) for tokens in choices[prompt.index]
            ]
            for prompt in prompts
        }


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return functools.cache(lambda family: save_tiny_chat(tmp_path_factory.mktemp(family), family))


def both(directory: Path) -> tuple[ChatModel, VllmModel]:
    checkpoint = Checkpoint.open(str(directory))
    ours = ChatModel.from_checkpoint(checkpoint, device="cpu", dtype="float32", generation=GENERATION)
    config = AutoConfig.from_pretrained(directory)
    processor = ChatProcessor.from_checkpoint(checkpoint, config)
    engine = StandIn(directory, processor)
    defaults = engine.model.generation_config
    return ours, VllmModel(engine, processor, GENERATION, config=config, defaults=defaults, label="model x")


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "smolvlm"])
def test_answers_captions_and_scores_equal_our_own_engine(directories: Any, family: str) -> None:
    ours, theirs = both(directories(family))
    images = random_images(3)
    asked = [QUESTIONS[:2]] * len(images)
    for mine, given in zip(ours.answer(images, asked, 1), theirs.answer(images, asked, 1), strict=True):
        assert [answer.answers[0][0] for answer in given] == [answer.answers[0][0] for answer in mine]
        assert [a.answers[0][1] for a in given] == pytest.approx([a.answers[0][1] for a in mine], abs=1e-4)
        assert [(a.finish_reason, a.warning, a.boxes) for a in given] == [
            (a.finish_reason, a.warning, a.boxes) for a in mine
        ]
    assert [each.answers[0][0] for each in theirs.caption(images, "a photo of")] == [
        each.answers[0][0] for each in ours.caption(images, "a photo of")
    ]
    choices = [[("yes", "no"), ("red", "green dogs", "")]] * len(images)
    for mine, given in zip(ours.score(images, asked, choices), theirs.score(images, asked, choices), strict=True):
        for one, other in zip(mine, given, strict=True):
            assert other.scores == pytest.approx(one.scores, abs=1e-4, nan_ok=True)


def test_an_image_has_one_id_and_another_image_another(directories: Any) -> None:
    _, model = both(directories("llava"))
    one, two = random_images(2)
    model.answer([one, one.copy(), two], [["a?", "b?"], ["c?"], ["d?"]], 1)
    engine = model._engine
    assert isinstance(engine, StandIn)
    assert len(set(engine.ids)) == 2


def test_calls_from_several_threads_do_not_meet_in_the_processor(directories: Any) -> None:
    _, model = both(directories("qwen2_vl"))
    sizes = [((28 * tall, 28 * wide),) for tall in range(1, 13) for wide in range(1, 13)]
    with ThreadPoolExecutor(8) as pool:
        measured = list(pool.map(model._measure, sizes))
    assert measured == [model._measure(size) for size in sizes]


def test_a_question_that_is_too_long_is_cut_as_by_our_own_engine(directories: Any) -> None:
    ours, theirs = both(directories("llava"))
    image, question = random_images(1), "is the dog red? " * 400
    theirs._engine.context = ours._context
    ((mine,),) = ours.answer(image, [[question]], 1)
    ((given,),) = theirs.answer(image, [[question]], 1)
    assert given.warning == mine.warning
    assert "question cut" in str(given.warning)
    assert given.answers[0][0] == mine.answers[0][0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("max_model_len", "wanted KEY=VALUE"),
        ("model=x", "model is decided by --model"),
        ("mm_processor_kwargs={max_pixels: 9}", "mm_processor_kwargs is decided by --max-pixels"),
        ("structured_outputs_config={backend: xgrammar}", "structured_outputs_config is decided by --schema"),
        ("dtype=half", "dtype is decided by --dtype"),
        ("limits={a: ", "cannot be read as YAML"),
        ("limits=2024-02-30", "cannot be read as YAML"),
        ("limits=" + "[" * 5000, "cannot be read as YAML"),
        ("tensor_parallel_size=two", "wanted a whole number of GPUs, at least 1"),
        ("pipeline_parallel_size=0", "wanted a whole number of GPUs, at least 1"),
        ("tensor_parallel_size=", "wanted a whole number of GPUs, at least 1"),
        ("data_parallel_size=2", "data_parallel_size is decided by --num-actors"),
        ("hf_token=secret", "hf_token=…: hf_token is decided by HF_TOKEN"),
        ("max_modellen=3", r"has no option max_modellen; did you mean max_model_len"),
    ],
)
def test_engine_options_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, given: str, message: str) -> None:
    known = frozenset({"max_model_len", "quantization", "limits", "tensor_parallel_size", "pipeline_parallel_size"})
    monkeypatch.setattr("vqa_ray.models.chat.vllm_options.engine_fields", lambda: known)
    with pytest.raises(RequestError, match=f"^--engine-option .*{message}"):
        parse_engine_options([given])
    with pytest.raises(RequestError, match=r"^--engine-option limits=2: limits is given twice; wanted once"):
        parse_engine_options(["limits=1", "limits=2"])


def test_engine_options_have_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqa_ray.models.chat.vllm_options.engine_fields", frozenset)
    given = [
        "max-model-len=512",
        "enforce_eager=true",
        "gpu_memory_utilization=0.5",
        "limit_mm_per_prompt={image: 9}",
    ]
    assert parse_engine_options(given) == {
        "max_model_len": 512,
        "enforce_eager": True,
        "gpu_memory_utilization": 0.5,
        "limit_mm_per_prompt": {"image": 9},
    }


def test_gpus_of_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqa_ray.models.chat.vllm_options.is_cpu_build", lambda: False)
    assert gpus_per_engine({}, None) == 1
    assert gpus_per_engine({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, None) == 4
    assert gpus_per_engine({}, 2.0) == 2
    with pytest.raises(RequestError, match=r"^--num-gpus 3: --engine-option spreads the engine over 2 GPUs"):
        gpus_per_engine({"tensor_parallel_size": 2}, 3.0)
    # One GPU would be taken and left idle.
    with pytest.raises(
        RequestError, match=r"^--num-gpus 2: --engine-option keeps the engine on 1 GPU; wanted the same"
    ):
        gpus_per_engine({"tensor_parallel_size": 1}, 2.0)
    assert gpus_per_engine({"tensor_parallel_size": 1}, 1.0) == gpus_per_engine({"tensor_parallel_size": 1}, None) == 1
    assert gpus_per_engine({"pipeline_parallel_size": 1}, 2.0) == 2
    with pytest.raises(RequestError, match="needs whole GPUs"):
        gpus_per_engine({}, 0.5)
    monkeypatch.setattr("vqa_ray.models.chat.vllm_options.is_cpu_build", lambda: True)
    assert gpus_per_engine({}, None) is None


@pytest.mark.parametrize(
    ("is_cpu", "device", "message"),
    [
        (True, "cpu", None),
        (True, None, None),
        (True, "cuda", "vLLM's build here is for CPUs; leave out --device"),
        (False, "cpu", r"vLLM's build here takes the GPUs that Ray gives it \(--num-gpus\); leave out --device"),
        (False, "cuda:1", "takes the GPUs"),
    ],
)
def test_a_device_that_the_build_is_not_for_is_refused(
    directories: Any, monkeypatch: pytest.MonkeyPatch, is_cpu: bool, device: str | None, message: str | None
) -> None:
    checkpoint = Checkpoint.open(str(directories("qwen2_vl")))
    monkeypatch.setattr("vqa_ray.models.chat.vllm_options.is_cpu_build", lambda: is_cpu)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    if message is None:
        check_vllm(checkpoint, None, device)
        return
    with pytest.raises(RequestError, match=f"^--engine vllm: --device {device}: .*{message}"):
        check_vllm(checkpoint, None, device)


def test_the_first_prompt_about_an_image_is_begun_before_the_others() -> None:
    """What it leaves in the engine's prefix cache is then there for them; other images do not wait."""
    prompts = [VllmPrompt(number, VllmImages((), (image,), (1, 1)), (number,)) for number, image in enumerate("aaba")]
    events: list[str] = []

    async def request(prompt: VllmPrompt, begun: asyncio.Event) -> int:
        events.append(f"sent {prompt.index}")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        events.append(f"begun {prompt.index}")
        begun.set()
        return prompt.index

    assert asyncio.run(_first_of_each_image(prompts, request)) == [0, 1, 2, 3]
    assert events.index("sent 2") < events.index("begun 0") < events.index("sent 1") < events.index("sent 3")


def test_a_prompt_that_fails_keeps_no_other_waiting() -> None:
    prompts = [VllmPrompt(number, VllmImages((), ("a",), (1, 1)), (number,)) for number in range(2)]
    answered: list[int] = []

    async def request(prompt: VllmPrompt, begun: asyncio.Event) -> int:
        if prompt.index == 0:
            raise ValueError("too long")
        answered.append(prompt.index)
        return prompt.index

    refused, other = asyncio.run(_first_of_each_image(prompts, request))
    assert (str(refused), other, answered) == ("too long", 1, [1])


def test_prompts_beside_a_refused_one_are_answered_once() -> None:
    sent: list[str] = []
    kept = KeptAnswers()

    def answer(prompts: Sequence[str]) -> list[str]:
        def call(numbers: Sequence[int]) -> list[str | BaseException]:
            sent.extend(prompts[number] for number in numbers)
            return [ValueError("refused") if prompts[n] == "bad" else prompts[n].upper() for n in numbers]

        return kept.ask(prompts, call)

    results, failures = bisect_failures(
        lambda rows: answer([["a", "b", "bad", "a", "c"][row] for row in rows]), range(5)
    )
    assert results == {0: "A", 1: "B", 3: "A", 4: "C"}
    assert failures[2].message == "ValueError: refused"
    assert Counter(each for each in sent if each != "bad") == {"a": 2, "b": 1, "c": 1}, "twice in the first call"


def test_calls_that_fail_in_several_threads_do_not_meet_in_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "_MOST", 3)
    kept = KeptAnswers()

    def call(numbers: Sequence[int]) -> list[int | BaseException]:
        return [ValueError("refused") if number == 0 else number for number in numbers]

    def fail(thread: int) -> None:
        for _ in range(400):
            with pytest.raises(ValueError, match="refused"):
                kept.ask([f"bad {thread}", *range(8)], call)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(fail, range(8)))
    finally:
        sys.setswitchinterval(interval)


def test_many_following_tokens_are_asked_for_in_parts() -> None:
    parts: list[list[int]] = []

    async def last(ids: Sequence[int], image: object, params: Mapping[str, Any]) -> Any:
        wanted = params["logprob_token_ids"]
        parts.append(wanted)
        told = {token: SimpleNamespace(logprob=-float(token)) for token in wanted}
        return SimpleNamespace(outputs=[SimpleNamespace(logprobs=[told])])

    engine = object.__new__(VllmEngine)
    engine._last = last  # type: ignore[method-assign]
    prompt = VllmPrompt(0, VllmImages((), ("a",), (1, 1)), (7,))
    found = asyncio.run(engine._following(prompt, (), list(range(300))))
    assert found == {token: -float(token) for token in range(300)}
    assert [len(part) for part in parts] == [128, 128, 44]
