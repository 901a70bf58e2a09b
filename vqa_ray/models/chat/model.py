"""Chat models: LLaVA, Qwen-VL, Idefics and others that transformers loads as `AutoModelForImageTextToText`.

A question becomes a prompt by the checkpoint's own chat template, its image in front of it, or all its images. In the
families of `SHARING_A_PREFIX`, everything up to the image's last token is read once per image, whatever the number of
its questions: vision, projection and the language model's keys and values. The others are asked as transformers asks
them.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch

from vqa_ray.models.chat import independent as chat_plain
from vqa_ray.models.chat import shared_prefix as chat_prefix
from vqa_ray.models.chat.base import BaseChatModel, ChatWording, load_processor
from vqa_ray.models.chat.batching import ImageTensors, Prompt, batches
from vqa_ray.models.chat.host_arguments import CountedImages, read_less
from vqa_ray.models.chat.processor import ChatProcessor
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.weights import load_weights
from vqa_ray.models.generation.config import GenerationConfig, eos_token_ids, join_warnings
from vqa_ray.models.generation.decoding import Generated, greedy, mean_log_probabilities
from vqa_ray.models.generation.processed import processed
from vqa_ray.models.generation.prompt_budget import PromptTruncator
from vqa_ray.models.generation.structured import SchemaWriter
from vqa_ray.models.layers.device import choose_device, choose_dtype
from vqa_ray.models.layers.linear import freeze_linears
from vqa_ray.models.layers.microbatch import run_passes
from vqa_ray.models.registry import SHARING_A_PREFIX
from vqa_ray.types import ImageOrImages, Turn, WrittenObject

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Memory that keys, values and scores of one pass may take; on CUDA half of what is free.
_CPU_BYTES = 512 * 2**20
# Choices that are read at once.
_CHOICES_PER_PASS = 64


class ChatModel(BaseChatModel[Prompt]):
    """A loaded chat model; implements `GenerativeModel`.

    Args:
        model: `*ForConditionalGeneration`, on its device and in its dtype.
        processor: its chat template, tokenizer and image processor.
        generation: limits and search.
        label: who is named in an error, `model DIRECTORY`.
    """

    def __init__(self, model: Any, processor: ChatProcessor, generation: GenerationConfig, label: str) -> None:
        super().__init__(processor, generation, str(model.config.model_type))
        text = model.config.get_text_config()
        defaults = model.generation_config
        self.shares_prefix = model.config.model_type in SHARING_A_PREFIX
        self._searches = generation.num_beams > 1
        # In `generate` KOSMOS-2 counts padding among the positions of a row.
        self._one_by_one = self._searches and model.config.model_type == "kosmos-2"
        self._model = model.eval()
        self._context: int = getattr(text, "max_position_embeddings", None) or 2**31
        self._eos_token_ids = eos_token_ids(defaults.eos_token_id, processor.tokenizer.eos_token_id, label)
        self._token_bytes = _cache_bytes(text, model.dtype)
        self._vocabulary, self._label = int(text.vocab_size), label
        self._score_bytes = 4 * self._vocabulary
        self._bytes_per_pass = _free_bytes(model.device)
        self._counted_images = CountedImages(model.device)
        read_less(model)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        dtype: str | None = None,
        compile: bool = False,
        generation: GenerationConfig | None = None,
    ) -> ChatModel:
        """Load the weights of a checkpoint.

        Without a named device, a model is spread over all CUDA devices of the process.

        Raises:
            ModelLoadError: weights, processor or chat template are missing or do not fit, or transformers has no chat
                model of its type.
        """
        from transformers import AutoModelForImageTextToText

        path, label = checkpoint.directory, checkpoint.label
        chosen = choose_device(device)
        spread = device is None and chosen.type == "cuda" and torch.cuda.device_count() > 1
        if compile:
            logger.warning("%s: --compile has no effect on chat models", label)
        _, processor = load_processor(checkpoint)
        loading_kwargs = {"device_map": "auto"} if spread else {}
        precision = choose_dtype(dtype, chosen, checkpoint.config, label)
        model = load_weights(AutoModelForImageTextToText, path, precision, **loading_kwargs)
        model = model if spread else model.to(chosen)
        freeze_linears(model)
        return cls(model, processor, generation or GenerationConfig(), label)

    def fill(
        self, images: Sequence[ImageOrImages], prompts: Sequence[str], schema: Mapping[str, Any]
    ) -> list[WrittenObject]:
        """See `StructuredModel.fill`; a repetition penalty does not count, as an object repeats by its nature."""
        limit = self.generation.max_new_tokens
        asked = self._prompts(images, [[prompt] for prompt in prompts], None, limit)

        def work(part: Sequence[Prompt]) -> list[WrittenObject]:
            warnings = [prompt.warning for prompt in part]
            if self.shares_prefix:
                return self._writer.write(chat_prefix.read(self._model, part, limit), schema, limit, warnings)
            ends, plain = self._eos_token_ids, {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
            decoding = chat_plain.read(self._model, part, ends, max_new_tokens=limit, **plain)
            return self._writer.write(decoding, schema, limit, warnings, drops_rows=False)

        found = self._run(asked, limit, work)
        return [found[prompt.index] for prompt in asked]

    @functools.cached_property
    def _writer(self) -> SchemaWriter:
        return SchemaWriter(self._processor.tokenizer, self._vocabulary, self._eos_token_ids, self._label)

    def _prompts(
        self,
        images: Sequence[ImageOrImages],
        questions: Sequence[Sequence[str]],
        contexts: Sequence[Sequence[Sequence[Turn]]] | None,
        extra_tokens: int,
        opening: str = "",
    ) -> list[Prompt]:
        earlier = contexts if contexts is not None else [[()] * len(asked) for asked in questions]
        prompts: list[Prompt] = []
        for image, asked, turns in zip(images, questions, earlier, strict=True):
            about = self._processor.about(image)
            wording = ChatWording(self._processor, opening, about.count)
            fit = PromptTruncator(about.tokens, wording, max(1, self._context - extra_tokens))
            fitted = [fit.fit(question, said) for question, said in zip(asked, turns, strict=True)]
            tensors = ImageTensors(about.tensors, about.count, about.size)
            for question, each in zip(asked, fitted, strict=True):
                encoded = about.encode(each.text)
                split = self._processor.image_end(encoded.ids) if self.shares_prefix else 0
                warning = join_warnings(each.warning, self._unknown(question))
                prompts.append(Prompt(len(prompts), tensors, encoded, split, warning))
        return prompts

    def _generate(self, prompts: Sequence[Prompt], limit: int) -> dict[int, Generated]:
        search, defaults = self.generation, self._model.generation_config

        def work(part: Sequence[Prompt]) -> list[Generated]:
            if self.shares_prefix and not self._searches:
                written = [prompt.encoded.ids for prompt in part]
                decoding = processed(chat_prefix.read(self._model, part, limit), defaults, written)
                return greedy(decoding, self._eos_token_ids, limit)
            return chat_plain.generate(
                self._model,
                part,
                self._eos_token_ids,
                # KOSMOS-2's `generate` leaves its generation config out.
                repetition_penalty=defaults.repetition_penalty,
                no_repeat_ngram_size=defaults.no_repeat_ngram_size,
                max_new_tokens=limit,
                num_beams=search.num_beams,
                length_penalty=search.length_penalty,
            )

        return self._run(prompts, limit * search.num_beams, work)

    def _choice_means(
        self, prompts: Sequence[Prompt], choices: Mapping[int, Sequence[Sequence[int]]], longest: int
    ) -> dict[int, list[float]]:
        def work(part: Sequence[Prompt]) -> list[list[float]]:
            options = [choices[prompt.index] for prompt in part]
            if not self.shares_prefix:
                return chat_plain.mean_log_probabilities(self._model, part, options)
            return mean_log_probabilities(chat_prefix.read(self._model, part, longest), options, _CHOICES_PER_PASS)

        return self._run(prompts, longest, work)

    @torch.inference_mode()
    def _run(
        self, prompts: Sequence[Prompt], extra_tokens: int, work: Callable[[Sequence[Prompt]], list[T]]
    ) -> dict[int, T]:
        """`work` on all prompts in passes that fit, as {prompt index: result}."""
        found: dict[int, T] = {}

        def one_pass(part: Sequence[Prompt]) -> None:
            with self._counted_images.checked():
                found.update(zip([prompt.index for prompt in part], work(part), strict=True))

        def cost(prompt: Prompt, first: bool) -> int:
            tokens = len(prompt.encoded.ids) + extra_tokens + (prompt.split if first else 0)
            scores = 1 if self.shares_prefix and not self._searches else extra_tokens
            return tokens * self._token_bytes + self._score_bytes * scores

        halved = run_passes(batches(prompts, cost, 0 if self._one_by_one else self._bytes_per_pass), one_pass)
        self._bytes_per_pass = max(self._bytes_per_pass >> min(halved, 1), 1)
        return found


def _cache_bytes(text: Any, dtype: torch.dtype) -> int:
    """Bytes of keys and values per token."""
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 2 * int(text.num_hidden_layers) * int(heads) * int(width) * dtype.itemsize


def _free_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return _CPU_BYTES
    return int(torch.cuda.mem_get_info(device)[0]) // 2
