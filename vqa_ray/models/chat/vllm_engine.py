"""vLLM's asynchronous engine behind plain calls: requests in, continuations and log-probabilities out.

The engine runs in processes of its own and batches all requests that are under way, whichever call they came from; so
two calls at a time keep it busy while the images of the next are prepared.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import uuid
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image as PillowImage

from vqa_ray.errors import ErrorCode, ModelLoadError, RowError
from vqa_ray.models.chat.kept_answers import KeptAnswers
from vqa_ray.models.chat.vllm_options import held_to
from vqa_ray.models.chat.vllm_start import last_lines, reason, start
from vqa_ray.models.chat.vllm_watch import EngineWatch

T = TypeVar("T")

# How a request ends that vLLM has not answered, be it in part: an image that its cache has lost, a grammar that fails.
_UNANSWERED, _ATTEMPTS = ("error", "abort"), 3

# Tokens whose log-probabilities vLLM gives for one request (`MAX_LOGPROB_TOKEN_IDS`).
TOKENS_PER_REQUEST = 128


@dataclass(frozen=True, slots=True, eq=False)
class VllmImages:
    """The images of a prompt.

    Attributes:
        images: upright RGB.
        ids: of their contents, so that the engine encodes an image once however many prompts show it.
        size: (height, width) in pixels as the model sees the first.
    """

    images: tuple[PillowImage.Image, ...]
    ids: tuple[str, ...]
    size: tuple[int, int]

    @property
    def count(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True, eq=False)
class VllmPrompt:
    """One question of one image or several, see `base.ChatPrompt`.

    Attributes:
        index: its place among all questions of the call.
        image: the images.
        ids: its tokens, one placeholder for each image; the engine expands them.
        warning: what was left out, or None.
    """

    index: int
    image: VllmImages
    ids: tuple[int, ...]
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Continuation:
    """What the engine wrote.

    Attributes:
        tokens: the closing one included where it was reached.
        log_probabilities: of each token.
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]


class VllmEngine:
    """A running engine.

    Args:
        options: of `vllm.AsyncEngineArgs`, the model among them.
        label: the model's name in an error, `model DIRECTORY`.
        adapter: the directory of a LoRA adapter for all requests; None without one.

    Raises:
        ModelLoadError: vLLM does not serve the model, takes none of an option or the adapter, or cannot start.
    """

    def __init__(self, options: Mapping[str, Any], label: str, adapter: Path | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vqa-ray-vllm", daemon=True)
        self._thread.start()
        self._watch = EngineWatch()
        with last_lines() as lines:
            try:
                self._engine, self._lora = self._call(start(options, adapter))
            except Exception as error:  # vLLM raises what its parts raise, from any of its processes.
                self._end()
                raise ModelLoadError(f"{label}: --engine vllm: {reason(error, lines)}") from error
        self._watch.engine_started()
        # Before the end of the interpreter, which would be reported as the engine's death.
        atexit.register(_close, weakref.ref(self))
        self._kept = KeptAnswers()
        self.context: int = self._engine.model_config.max_model_len

    def generate(
        self,
        prompts: Sequence[VllmPrompt],
        limit: int,
        stops: Sequence[int],
        penalty: float,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Continuation]:
        """Continue prompts with their likeliest tokens.

        Args:
            prompts: in any order; the first about an image is read before the others, which then share its work.
            limit: the most tokens of a continuation, the closing one included.
            stops: ids that end a text.
            penalty: the checkpoint's repetition penalty, 1 for none.
            schema: JSON Schema of the objects to write; None for free text.
        """

        def request(prompt: VllmPrompt, begun: asyncio.Event) -> Awaitable[Continuation]:
            params: dict[str, Any] = {"max_tokens": limit, "logprobs": 0}
            params |= {"repetition_penalty": penalty, "stop_token_ids": list(stops)}
            if schema is not None:
                params["structured_outputs"] = held_to(schema)
            return self._written(prompt, prompt.ids, params, begun)

        asked = (limit, tuple(stops), penalty, repr(schema))
        return self._answered(prompts, request, [asked] * len(prompts))

    def mean_log_probabilities(
        self, prompts: Sequence[VllmPrompt], choices: Mapping[int, Sequence[Sequence[int]]]
    ) -> dict[int, list[float]]:
        """Return the mean log-probability of each choice behind its prompt, by prompt index.

        The choices of a prompt are read as a tree: each distinct beginning of one is a request for the
        log-probabilities of the tokens that follow it.
        """

        async def request(prompt: VllmPrompt, begun: asyncio.Event) -> list[float]:
            options = [tuple(tokens) for tokens in choices[prompt.index]]
            following: dict[tuple[int, ...], dict[int, None]] = {}
            for tokens in options:
                for place, token in enumerate(tokens):
                    following.setdefault(tokens[:place], {})[token] = None
            root = await self._following(prompt, (), list(following.pop(())))
            begun.set()
            rest = [self._following(prompt, before, list(tokens)) for before, tokens in following.items()]
            found = dict(zip(((), *following), (root, *await asyncio.gather(*rest)), strict=True))
            return [
                sum(found[tokens[:place]][token] for place, token in enumerate(tokens)) / len(tokens)
                for tokens in options
            ]

        asked = [tuple(map(tuple, choices[prompt.index])) for prompt in prompts]
        means = self._answered(prompts, request, asked)
        return {prompt.index: mean for prompt, mean in zip(prompts, means, strict=True)}

    def _answered(
        self,
        prompts: Sequence[VllmPrompt],
        request: Callable[[VllmPrompt, asyncio.Event], Awaitable[T]],
        asked: Sequence[Hashable],
    ) -> list[T]:
        """Send requests, except those that a call which failed has had answered; `asked` is what tells them apart."""
        keys = [(prompt.ids, prompt.image.ids, each) for prompt, each in zip(prompts, asked, strict=True)]
        return self._kept.ask(
            keys, lambda numbers: self._call(_first_of_each_image([prompts[number] for number in numbers], request))
        )

    async def _following(self, prompt: VllmPrompt, before: Sequence[int], tokens: Sequence[int]) -> dict[int, float]:
        """Log-probabilities of `tokens` behind a prompt and the beginning of an answer."""
        found: dict[int, float] = {}
        for first in range(0, len(tokens), TOKENS_PER_REQUEST):
            wanted = list(tokens[first : first + TOKENS_PER_REQUEST])
            last = await self._last(
                (*prompt.ids, *before), prompt.image, {"max_tokens": 1, "logprob_token_ids": wanted}
            )
            told = last.outputs[0].logprobs[0]
            found |= {token: told[token].logprob for token in wanted}
        return found

    async def _written(
        self, prompt: VllmPrompt, ids: Sequence[int], params: Mapping[str, Any], begun: asyncio.Event
    ) -> Continuation:
        last = (await self._last(ids, prompt.image, params, begun)).outputs[0]
        tokens = tuple(last.token_ids)
        return Continuation(
            tokens, tuple(told[token].logprob for token, told in zip(tokens, last.logprobs, strict=True))
        )

    async def _last(
        self, ids: Sequence[int], image: VllmImages, params: Mapping[str, Any], begun: asyncio.Event | None = None
    ) -> Any:
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        kind = RequestOutputKind.FINAL_ONLY if begun is None or begun.is_set() else RequestOutputKind.CUMULATIVE
        # The ends of a text are those of the checkpoint's generation config, as with transformers.
        sampling = SamplingParams(temperature=0.0, ignore_eos=True, detokenize=False, output_kind=kind, **params)
        request = TokensPrompt(
            prompt_token_ids=list(ids),
            multi_modal_data={"image": list(image.images)},
            multi_modal_uuids={"image": list(image.ids)},
        )
        last: Any = None
        for _ in range(_ATTEMPTS):
            async for output in self._engine.generate(request, sampling, uuid.uuid4().hex, lora_request=self._lora):
                last = output
                if begun is not None:
                    begun.set()
            if last.outputs[0].finish_reason not in _UNANSWERED:
                return last
        reason = last.outputs[0].finish_reason
        raise RowError(ErrorCode.MODEL_ERROR, f"vLLM ended the request with {reason!r}, {_ATTEMPTS} times")

    def _call(self, work: Awaitable[T]) -> T:
        async def run() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def close(self) -> None:
        """End the engine's processes, if they have not ended."""
        if self._engine is None:
            return

        async def end() -> None:
            # It would report the end of the processes as the death of the engine.
            if self._engine.output_handler is not None:
                self._engine.output_handler.cancel()
                await asyncio.sleep(0)
            self._engine.shutdown()

        self._call(end())
        # It ends itself once more when it is dropped, which fails once parts of vLLM are gone.
        self._engine = None
        self._end()

    def _end(self) -> None:
        self._watch.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _close(engine: weakref.ref[VllmEngine]) -> None:
    kept = engine()
    if kept is not None:
        kept.close()


async def _first_of_each_image(
    prompts: Sequence[VllmPrompt], request: Callable[[VllmPrompt, asyncio.Event], Awaitable[T]]
) -> list[T | BaseException]:
    """Send the first prompt about each image, and the others once that one is read: what it left is then shared.

    Returns:
        The answer to each prompt, or the error that it raised.
    """
    about = Counter(prompt.image.ids for prompt in prompts)
    begun: dict[tuple[str, ...], asyncio.Event] = {}

    async def follow(prompt: VllmPrompt, event: asyncio.Event) -> T:
        await event.wait()
        return await request(prompt, event)

    async def lead(prompt: VllmPrompt, event: asyncio.Event) -> T:
        try:
            return await request(prompt, event)
        finally:
            event.set()

    sent: list[Awaitable[T]] = []
    for prompt in prompts:
        known = begun.get(prompt.image.ids)
        event = begun.setdefault(prompt.image.ids, asyncio.Event())
        if about[prompt.image.ids] == 1:
            # Nobody waits for its first token.
            event.set()
        sent.append(lead(prompt, event) if known is None else follow(prompt, event))
    return await asyncio.gather(*sent, return_exceptions=True)
