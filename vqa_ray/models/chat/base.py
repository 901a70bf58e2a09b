"""What chat models have in common, whatever engine runs them: answers, captions and scores of choices."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from vqa_ray.errors import ModelLoadError, one_line
from vqa_ray.models import score_meanings
from vqa_ray.models.chat.processor import ChatProcessor
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.boxes import THOUSANDTHS, find_boxes
from vqa_ray.models.generation.choices import choice_scores, flatten_choices
from vqa_ray.models.generation.config import GenerationConfig, finish_warning
from vqa_ray.models.generation.decoding import Generated
from vqa_ray.models.layers.microbatch import group_by_image
from vqa_ray.models.transforms.unknown_words import unknown_warning
from vqa_ray.types import Answer, Box, ChoiceScores, Image, ImageOrImages, Turn

# What a plain caption is asked for.
CAPTION_REQUEST = "Describe the image in one sentence."


class ShownImages(Protocol):
    """The images of a prompt: how many, and the (height, width) in pixels of the first as the model sees it."""

    @property
    def count(self) -> int: ...
    @property
    def size(self) -> tuple[int, int]: ...


class ChatPrompt(Protocol):
    """One question of one image or several; see `batching.Prompt`."""

    @property
    def index(self) -> int: ...
    @property
    def image(self) -> ShownImages: ...
    @property
    def warning(self) -> str | None: ...


P = TypeVar("P", bound=ChatPrompt)


class BaseChatModel(ABC, Generic[P]):
    """A chat model without its engine; with one, a `GenerativeModel`.

    Args:
        processor: its chat template, tokenizer and image processor.
        generation: limits and search.
        model_type: of config.json.
    """

    score_meaning = score_meanings.GENERATIVE

    def __init__(self, processor: ChatProcessor, generation: GenerationConfig, model_type: str) -> None:
        self.generation = generation
        self._processor = processor
        self._unknown = functools.lru_cache(maxsize=65_536)(functools.partial(unknown_warning, processor.tokenizer))
        self._relative_json = model_type.startswith("qwen3")

    def answer(
        self,
        images: Sequence[ImageOrImages],
        questions: Sequence[Sequence[str]],
        top_k: int,
        contexts: Sequence[Sequence[Sequence[Turn]]] | None = None,
    ) -> list[list[Answer]]:
        """See `GenerativeModel.answer`; one answer each.

        Raises:
            RowError: `row_malformed` when a question names the image token or does not fit the model at all.
        """
        del top_k
        limit = self.generation.max_new_tokens
        prompts = self._prompts(images, questions, contexts, limit)
        return group_by_image(self._answers(prompts, limit), questions)

    def caption(self, images: Sequence[Image], prompt: str | None = None) -> list[Answer]:
        """See `GenerativeModel.caption`: the model is asked for one sentence, and `prompt` put into its mouth."""
        limit = self.generation.caption_max_new_tokens
        request, usual = self._processor.caption_request or (CAPTION_REQUEST, "")
        opening = " ".join((prompt or usual).split())
        prompts = self._prompts(images, [[request]] * len(images), None, limit, opening)
        return self._answers(prompts, limit, self._processor.choice_ids(opening))

    def score(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        """See `VqaModel.score`: a softmax over the choices of the mean log-probability of their tokens.

        Raises:
            RowError: see `answer`.
        """
        said = [tuple(map(self._processor.choice_ids, option)) for option in flatten_choices(questions, choices)]
        longest = max((len(tokens) for option in said for tokens in option), default=1)
        prompts = self._prompts(images, questions, None, longest)
        known = {number: tokens for number, option in enumerate(said) if (tokens := list(filter(None, option)))}
        means = self._choice_means([prompt for prompt in prompts if prompt.index in known], known, longest)
        warnings = {prompt.index: prompt.warning for prompt in prompts}
        return group_by_image(choice_scores(said, means, warnings), questions)

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        """Return whether each choice has text; the model can write any text."""
        return [bool(self._processor.choice_ids(choice)) for choice in choices]

    @abstractmethod
    def _prompts(
        self,
        images: Sequence[ImageOrImages],
        questions: Sequence[Sequence[str]],
        contexts: Sequence[Sequence[Sequence[Turn]]] | None,
        extra_tokens: int,
        opening: str = "",
    ) -> list[P]:
        """Return the prompts of all questions, in their order, each short enough for `extra_tokens` behind it."""

    @abstractmethod
    def _generate(self, prompts: Sequence[P], limit: int) -> Mapping[int, Generated]:
        """Continue prompts by at most `limit` tokens: {prompt index: continuation}."""

    @abstractmethod
    def _choice_means(
        self, prompts: Sequence[P], choices: Mapping[int, Sequence[Sequence[int]]], longest: int
    ) -> Mapping[int, Sequence[float]]:
        """Return the mean log-probability of each choice behind its prompt, by prompt index.

        Args:
            prompts: some, each with choices.
            choices: prompt index → token ids of its choices.
            longest: tokens of the longest choice.
        """

    def _answers(self, prompts: Sequence[P], limit: int, opening: Sequence[int] = ()) -> list[Answer]:
        found = self._generate(prompts, limit)
        return [self._answer(found[prompt.index], prompt, opening, limit) for prompt in prompts]

    def _answer(self, generated: Generated, prompt: P, opening: Sequence[int], limit: int) -> Answer:
        tokens = (*opening, *generated.tokens)
        text = self._processor.decode(tokens)
        finish = generated.finish_reason
        return Answer(
            ((text, math.exp(generated.log_probability)),),
            finish_warning(finish, limit, prompt.warning),
            self._boxes(tokens, prompt),
            finish,
        )

    def _boxes(self, tokens: Sequence[int], prompt: P) -> tuple[Box, ...]:
        if prompt.image.count > 1:
            # They do not say which of the images they are in.
            return ()
        height, width = (THOUSANDTHS, THOUSANDTHS) if self._relative_json else prompt.image.size
        return find_boxes(self._processor.decode(tokens, special=True), height, width)


def load_processor(checkpoint: Checkpoint) -> tuple[Any, ChatProcessor]:
    """Load the config, of transformers, and the processor of a chat checkpoint.

    Raises:
        ModelLoadError: one of them is missing or does not fit.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(checkpoint.directory, local_files_only=True)
        return config, ChatProcessor.from_checkpoint(checkpoint, config)
    except ModelLoadError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelLoadError(f"{checkpoint.label}: {reason}") from error
    except StrictDataclassError as error:
        raise ModelLoadError(f"{checkpoint.label}: config.json: {one_line(error, 240)}") from error


class ChatWording:
    """The chat template as `PromptTruncator` asks for it."""

    def __init__(self, processor: ChatProcessor, opening: str, images: int) -> None:
        self._processor = processor
        self._opening = opening
        self._images = images

    def text(self, question: str, turns: Sequence[Turn]) -> str:
        """Return the prompt of a question after earlier turns."""
        return self._processor.prompt(question, turns, self._opening, self._images)
