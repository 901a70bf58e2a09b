"""`VllmModel.answer` against bare `LLM.generate` of the same vLLM; run in the environment of `make test-vllm`."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from benchmarks import checkpoints
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, rates, ratios, seconds
from tests.helpers.tiny_chat import save_chat, tiny_chat
from tests.helpers.tiny_chat_text import randomise
from vqa_ray.models.chat.processor import ChatProcessor
from vqa_ray.models.chat.vllm_model import VllmModel
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.types import Image

_ROUNDS = 3
_BATCH, _CALLS = 32, 2
# Images of a round by the number of their questions.
_IMAGES = {1: 128, 10: 64}
_SIDE = 112  # pixels: 16 image tokens
_TOKENS = 16
_LAYERS, _WIDTH, _HEADS = 8, 256, 8
_ENGINE = {"enforce_eager": True, "max_model_len": 512, "max_num_seqs": 128, "limit_mm_per_prompt": {"image": 1}}


def measure(settings: Settings) -> Measured:
    """Rows per second of both, on images that neither has seen before."""
    if importlib.util.find_spec("vllm") is None:
        return Measured([], ["vLLM is not installed"])
    from vllm import LLM

    directory = _qwen2_vl(settings.scratch / "qwen2_vl")
    checkpoint = Checkpoint.open(str(directory))
    generation = GenerationConfig(max_new_tokens=_TOKENS)
    ours = VllmModel.from_checkpoint(checkpoint, dtype="float32", generation=generation, engine_options=_ENGINE)
    stock = Stock(LLM(model=str(directory), dtype="float32", seed=0, **_ENGINE), directory, checkpoint)
    rounds, figures = settings.pick(_ROUNDS, 1), []
    for questions, images in _IMAGES.items():
        count = settings.pick(images, 4)
        asked = list(checkpoints.QUESTIONS[:questions])
        contestants: dict[str, Callable[[], float]] = {
            "ours": _timed(partial(_answer, ours, asked), count),
            "LLM.generate": _timed(partial(stock.answer, asked), count),
        }
        speed = {name: rates(count * questions, times) for name, times in by_turns(contestants, rounds).items()}
        label = f"vLLM, {questions} question{'s' if questions > 1 else ''} an image"
        figures += [figure(f"{label}: {name}", values, "rows/s") for name, values in speed.items()]
        figures.append(
            figure(f"{label}: ours to LLM.generate", ratios(speed["ours"], speed["LLM.generate"]), "×", at_least=0.9)
        )
    ours.close()
    return Measured(
        figures,
        [
            f"A Qwen2-VL of {_LAYERS} layers of {_WIDTH}, random weights, float32; images of {_SIDE}x{_SIDE}, new ones "
            f"each round, and {_TOKENS} new tokens.",
            f"Ours: batches of {_BATCH} images, {_CALLS} calls at a time, from arrays to answers with scores. "
            "LLM.generate: one call, from prompts as tokens and Pillow images to token ids.",
        ],
    )


def _qwen2_vl(directory: Path) -> Path:
    from transformers import Qwen2VLForConditionalGeneration

    model, processor = tiny_chat("qwen2_vl")
    config, text, vision = model.config, model.config.text_config, model.config.vision_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = _WIDTH, 4 * _WIDTH, _LAYERS
    text.num_attention_heads = text.num_key_value_heads = _HEADS
    text.layer_types = ["full_attention"] * _LAYERS
    text.rope_parameters["mrope_section"] = [4, 6, 6]
    vision.depth, vision.embed_dim, vision.hidden_size, vision.mlp_ratio = 4, _WIDTH // 2, _WIDTH, 4
    processor.image_processor.size = {"shortest_edge": 28 * 28, "longest_edge": _SIDE * _SIDE}
    return save_chat(directory, randomise(Qwen2VLForConditionalGeneration(config), 0, scale=0.06), processor)


class Stock:
    """Bare `LLM.generate` on prompts that were prepared before."""

    def __init__(self, llm: Any, directory: Path, checkpoint: Checkpoint) -> None:
        from transformers import AutoConfig
        from vllm import SamplingParams

        self._llm = llm
        self._processor = ChatProcessor.from_checkpoint(checkpoint, AutoConfig.from_pretrained(directory))
        self._sampling = SamplingParams(temperature=0.0, max_tokens=_TOKENS)

    def answer(self, asked: Sequence[str], images: Sequence[Image]) -> Callable[[], object]:
        """Prepare the prompts, and return the call that continues them."""
        ids = [list(self._processor.text_ids(self._processor.prompt(question))) for question in asked]
        shown = [PillowImage.fromarray(image) for image in images]
        prompts = [
            {"prompt_token_ids": prompt, "multi_modal_data": {"image": image}} for image in shown for prompt in ids
        ]
        return partial(self._llm.generate, prompts, self._sampling, use_tqdm=False)


def _answer(model: VllmModel, asked: Sequence[str], images: Sequence[Image]) -> Callable[[], object]:
    def answer(batch: Sequence[Image]) -> object:
        return model.answer(batch, [asked] * len(batch), 1)

    def answered() -> object:
        with ThreadPoolExecutor(_CALLS) as pool:
            return list(pool.map(answer, [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]))

    return answered


def _timed(prepare: Callable[[Sequence[Image]], Callable[[], object]], count: int) -> Callable[[], float]:
    """Return a turn: new images, whose preparation is not timed."""
    batches = _new_images(count)

    def turn() -> float:
        return seconds(prepare(next(batches)))()

    return turn


def _new_images(count: int) -> Iterator[list[Image]]:
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        yield list(rng.integers(0, 256, (count, _SIDE, _SIDE, 3), dtype=np.uint8))
