"""Chat models on vLLM: the prompts, scores and boxes of `ChatModel`, read and continued by vLLM's engine."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from PIL import Image as PillowImage

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.chat.base import BaseChatModel, ChatWording, load_processor
from vqa_ray.models.chat.processor import ChatProcessor
from vqa_ray.models.chat.vllm_adapter import adapter_options
from vqa_ray.models.chat.vllm_engine import Continuation, VllmEngine, VllmImages, VllmPrompt
from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig, eos_token_ids, join_warnings
from vqa_ray.models.generation.decoding import Generated, ended
from vqa_ray.models.generation.prompt_budget import PromptTruncator
from vqa_ray.models.generation.structured import byte_tokenizer, written_object
from vqa_ray.types import FinishReason, Image, ImageOrImages, Turn, WrittenObject

# Sizes of images whose number of tokens is kept.
_SIZES = 4096


class Engine(Protocol):
    """What `VllmModel` asks of an engine; see `VllmEngine`."""

    context: int

    def generate(
        self,
        prompts: Sequence[VllmPrompt],
        limit: int,
        stops: Sequence[int],
        penalty: float,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Continuation]: ...

    def mean_log_probabilities(
        self, prompts: Sequence[VllmPrompt], choices: Mapping[int, Sequence[Sequence[int]]]
    ) -> dict[int, list[float]]: ...

    def close(self) -> None: ...


class VllmModel(BaseChatModel[VllmPrompt]):
    """A chat model that vLLM runs; implements `GenerativeModel`. Calls may come from several threads.

    Args:
        engine: runs the model.
        processor: its chat template, tokenizer and image processor.
        generation: limits; one beam.
        config: of transformers.
        defaults: the checkpoint's generation config.
        label: who is named in an error, `model DIRECTORY`.
    """

    def __init__(
        self,
        engine: Engine,
        processor: ChatProcessor,
        generation: GenerationConfig,
        *,
        config: Any,
        defaults: Any,
        label: str,
    ) -> None:
        super().__init__(processor, generation, str(config.model_type))
        self._label = label
        self._engine = engine
        self._penalty = float(getattr(defaults, "repetition_penalty", None) or 1.0)
        self._stops = eos_token_ids(defaults.eos_token_id, processor.tokenizer.eos_token_id, label)
        # The processor remembers images for one prompt at a time.
        self._measuring = threading.Lock()
        self._sized = functools.lru_cache(maxsize=_SIZES)(self._measure)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        dtype: str | None = None,
        compile: bool = False,
        generation: GenerationConfig | None = None,
        engine_options: Mapping[str, Any] | None = None,
    ) -> VllmModel:
        """Start an engine with the weights of a checkpoint.

        Args:
            checkpoint: of a chat family.
            device: decided by vLLM's build.
            dtype: None for vLLM's own choice.
            compile: as vLLM does by itself.
            generation: limits.
            engine_options: further arguments of vLLM's engine, which go before ours.

        Raises:
            ModelLoadError: the processor does not fit, vLLM does not serve the model, or its engine cannot start.
        """
        from transformers import GenerationConfig as Defaults

        del device, compile
        path, label = checkpoint.directory, checkpoint.label
        config, processor = load_processor(checkpoint)
        try:
            file = path / "generation_config.json"
            defaults = Defaults.from_pretrained(path) if file.is_file() else Defaults.from_model_config(config)
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"{label}: {(str(error).splitlines() or [type(error).__name__])[0]}") from error
        options = {
            "model": str(path),
            "dtype": dtype or "auto",
            "enable_prefix_caching": True,
            # Log-probabilities after the repetition penalty, as our own engine gives them.
            "logprobs_mode": "processed_logprobs",
            "generation_config": "vllm",
            "seed": 0,
            "disable_log_stats": True,
            # Images come in this size; the engine sets memory aside for no larger ones.
            **({"mm_processor_kwargs": {"size": checkpoint.kept_size}} if checkpoint.kept_size else {}),
            **adapter_options(adapter_of(path)),
            **(engine_options or {}),
        }
        engine = VllmEngine(options, label, adapter_of(path))
        return cls(engine, processor, generation or GenerationConfig(), config=config, defaults=defaults, label=label)

    def close(self) -> None:
        """End the engine's processes."""
        self._engine.close()

    def fill(
        self, images: Sequence[ImageOrImages], prompts: Sequence[str], schema: Mapping[str, Any]
    ) -> list[WrittenObject]:
        """See `StructuredModel.fill`; a repetition penalty does not count, as an object repeats by its nature."""
        limit = self.generation.max_new_tokens
        asked = self._prompts(images, [[prompt] for prompt in prompts], None, limit)
        # The closing token, which follows an object, does not count here.
        stops = (*self._stops, self._processor.tokenizer.eos_token_id)
        found = self._engine.generate(asked, limit + 1, stops, 1.0, schema)
        return [
            self._object(written, stops, limit, prompt.warning) for prompt, written in zip(asked, found, strict=True)
        ]

    def _object(self, written: Continuation, stops: Sequence[int], limit: int, warning: str | None) -> WrittenObject:
        is_whole = written.tokens[-1] in stops
        count = len(written.tokens) - 1 if is_whole else limit
        finish: FinishReason = "stop" if is_whole else "length"
        return written_object(self._bytes, written.tokens[:count], written.log_probabilities[:count], finish, warning)

    @functools.cached_property
    def _bytes(self) -> Any:
        return byte_tokenizer(self._processor.tokenizer, 0, self._stops, self._label)

    def _prompts(
        self,
        images: Sequence[ImageOrImages],
        questions: Sequence[Sequence[str]],
        contexts: Sequence[Sequence[Sequence[Turn]]] | None,
        extra_tokens: int,
        opening: str = "",
    ) -> list[VllmPrompt]:
        earlier = contexts if contexts is not None else [[()] * len(asked) for asked in questions]
        prompts: list[VllmPrompt] = []
        for image, asked, turns in zip(images, questions, earlier, strict=True):
            several = image if isinstance(image, tuple) else (image,)
            wording = ChatWording(self._processor, opening, len(several))
            tokens, size = self._sized(tuple(each.shape[:2] for each in several))
            shown = VllmImages(tuple(map(PillowImage.fromarray, several)), tuple(map(_content_id, several)), size)
            fit = PromptTruncator(self._full_length(tokens), wording, max(1, self._engine.context - extra_tokens))
            for question, said in zip(asked, turns, strict=True):
                fitted = fit.fit(question, said)
                ids = fitted.ids[: len(fitted.ids) - tokens]
                warning = join_warnings(fitted.warning, self._unknown(question))
                prompts.append(VllmPrompt(len(prompts), shown, ids, warning))
        return prompts

    def _full_length(self, tokens: int) -> Callable[[str], tuple[int, ...]]:
        """Tokenise prompts, followed by as many fillers as the engine will add for their images."""
        return lambda text: (*self._processor.text_ids(text), *(0,) * tokens)

    def _measure(self, sizes: tuple[tuple[int, int], ...]) -> tuple[int, tuple[int, int]]:
        """Return the tokens that images of these sizes add to a prompt, and the first's size as the model sees it."""
        import numpy as np

        blank = tuple(np.zeros((*size, 3), np.uint8) for size in sizes)
        about = self._processor.about(blank)
        text = self._processor.prompt("a?", images=len(sizes))
        with self._measuring:
            return len(about.tokens(text)) - len(self._processor.text_ids(text)), about.size

    def _generate(self, prompts: Sequence[VllmPrompt], limit: int) -> dict[int, Generated]:
        found = self._engine.generate(prompts, limit, self._stops, self._penalty)
        return {prompt.index: self._ended(written) for prompt, written in zip(prompts, found, strict=True)}

    def _ended(self, written: Continuation) -> Generated:
        mean = sum(written.log_probabilities) / max(1, len(written.log_probabilities))
        return ended(written.tokens, mean, self._stops)

    def _choice_means(
        self, prompts: Sequence[VllmPrompt], choices: Mapping[int, Sequence[Sequence[int]]], longest: int
    ) -> dict[int, list[float]]:
        return self._engine.mean_log_probabilities(prompts, choices)


def _content_id(image: Image) -> str:
    """Return a digest of an image's pixels and shape."""
    digest = hashlib.blake2b(image.tobytes() if not image.flags.c_contiguous else image.data, digest_size=16)
    return f"{digest.hexdigest()}-{image.shape[0]}x{image.shape[1]}"
