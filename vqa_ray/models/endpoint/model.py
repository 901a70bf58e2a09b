"""A model behind an OpenAI-compatible endpoint; implements `GenerativeModel`."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.models import score_meanings
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.endpoint import messages
from vqa_ray.models.endpoint.batch import BatchRequests, BatchResults
from vqa_ray.models.endpoint.client import Client
from vqa_ray.models.endpoint.completion import Completion
from vqa_ray.models.endpoint.family import model_name
from vqa_ray.models.endpoint.first_token import choice_probabilities, named
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.endpoint.question import Question, expected_tokens
from vqa_ray.models.generation.choices import flatten_choices
from vqa_ray.models.generation.config import GenerationConfig, finish_warning, join_warnings
from vqa_ray.types import Answer, ChoiceScores, Image, ImageOrImages, Turn, Usage, WrittenObject, total_usage

T = TypeVar("T")

CAPTION_REQUEST = "Describe the image in one sentence."
# For the JSON around a choice, white space included.
_FRAME_TOKENS = 128
UNSCORED = "no score: the endpoint gives no log-probabilities"


class Asker(Protocol):
    """What a model needs of a client."""

    def ask(self, questions: Sequence[Question]) -> list[Completion | RowError]:
        """See `Client.ask`."""
        ...

    def close(self) -> None:
        """See `Client.close`."""
        ...


class EndpointModel:
    """A model behind an endpoint.

    Args:
        client: asks the endpoint, or the results of a batch.
        name: the model's name there.
        generation: limits; one beam.
        options: the encoding of images.
    """

    score_meaning = score_meanings.ENDPOINT

    def __init__(self, client: Asker, name: str, generation: GenerationConfig, options: EndpointOptions) -> None:
        self._client, self._name, self._generation = client, name, generation
        self._encoding = options.image_encoding

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        endpoint: EndpointOptions,
        generation: GenerationConfig | None = None,
        device: str | None = None,
        dtype: str | None = None,
        compile: bool = False,
    ) -> EndpointModel:
        """Make the client; nothing is asked yet.

        Args:
            checkpoint: an `openai:` model.
            endpoint: its address and limits.
            generation: limits.
            device: decided by the server.
            dtype: decided by the server.
            compile: decided by the server.

        Raises:
            RequestError: the environment lacks the key.
        """
        del device, dtype, compile
        client: Asker
        if endpoint.results is None:
            client = Client(endpoint, checkpoint.label)
        else:
            client = BatchResults(endpoint.results, endpoint.budget) if endpoint.results else BatchRequests()
        return cls(client, model_name(checkpoint.reference), generation or GenerationConfig(), endpoint)

    def answer(
        self,
        images: Sequence[ImageOrImages],
        questions: Sequence[Sequence[str]],
        top_k: int,
        contexts: Sequence[Sequence[Sequence[Turn]]] | None = None,
    ) -> list[list[Answer]]:
        """See `GenerativeModel.answer`; one answer each.

        Raises:
            RowError: of the first question that the endpoint did not answer.
        """
        del top_k
        limit = self._generation.max_new_tokens
        asked = self._questions(images, questions, contexts, limit)
        return _by_image([_answer(completion, limit) for completion in self._ask(asked)], questions)

    def caption(self, images: Sequence[Image], prompt: str | None = None) -> list[Answer]:
        """See `GenerativeModel.caption`: the model is asked to begin with `prompt`.

        Raises:
            RowError: of the first image that the endpoint did not describe.
        """
        limit = self._generation.caption_max_new_tokens
        opening = " ".join((prompt or "").split())
        request = f'{CAPTION_REQUEST} Begin with the words "{opening}".' if opening else CAPTION_REQUEST
        asked = self._questions(images, [[request]] * len(images), None, limit)
        return [_answer(completion, limit, opening) for completion in self._ask(asked)]

    def score(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        """See `VqaModel.score` and `score_meanings.ENDPOINT`.

        Raises:
            RowError: of the first question that the endpoint did not answer with one of its choices.
        """
        flat = flatten_choices(questions, choices)
        options = [[choice for choice in option if choice.strip()] for option in flat]
        rest = iter(options)
        worded = [
            [f"{question}\nAnswer with exactly one of these: {', '.join(next(rest))}." for question in asked]
            for asked in questions
        ]
        longest = max((len(choice) for option in options for choice in option), default=1)
        requests = self._questions(images, worded, None, 16 + longest, top_logprobs=messages.TOP_LOGPROBS)
        first = self._ask(requests)
        used = [written.usage for written in first]
        found = [
            choice_probabilities(option, written.first) or named(option, written.text)
            for option, written in zip(options, first, strict=True)
        ]
        open_ones = [number for number, scores in enumerate(found) if scores is None]
        held = [_held(requests[number], options[number]) for number in open_ones]
        for number, written in zip(open_ones, self._ask(held), strict=True):
            found[number] = _chosen(options[number], written)
            used[number] = total_usage((used[number], written.usage))
        scores = [_in_place(*each) for each in zip(flat, [each or () for each in found], used, strict=True)]
        return _by_image(scores, questions)

    def fill(
        self, images: Sequence[ImageOrImages], prompts: Sequence[str], schema: Mapping[str, Any]
    ) -> list[WrittenObject]:
        """See `StructuredModel.fill`; the server holds the model to the schema by `response_format`.

        Raises:
            RowError: of the first image that the endpoint did not answer.
        """
        limit, held = self._generation.max_new_tokens, messages.held_to("object", schema)
        asked = self._questions(images, [[prompt] for prompt in prompts], None, limit, response_format=held)
        return [_object(completion, limit) for completion in self._ask(asked)]

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        """Return whether each choice has text; the model can write any text."""
        return [bool(choice.strip()) for choice in choices]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _questions(
        self,
        images: Sequence[ImageOrImages],
        questions: Sequence[Sequence[str]],
        contexts: Sequence[Sequence[Sequence[Turn]]] | None,
        limit: int,
        **more: Any,
    ) -> list[Question]:
        earlier = contexts if contexts is not None else [[()] * len(asked) for asked in questions]
        requests = []
        for image, asked, turns in zip(images, questions, earlier, strict=True):
            several = image if isinstance(image, tuple) else (image,)
            shown = [messages.data_uri(each, self._encoding) for each in several]
            pixels = sum(each.shape[0] * each.shape[1] for each in several)
            for question, said in zip(asked, turns, strict=True):
                characters = len(question) + sum(map(len, (text for turn in said for text in turn)))
                body = messages.chat(self._name, shown, question, said, limit) | more
                requests.append(Question(body, expected_tokens(characters, pixels), limit))
        return requests

    def _ask(self, questions: Sequence[Question]) -> list[Completion]:
        answered = []
        for each in self._client.ask(questions):
            if isinstance(each, RowError):
                raise each
            answered.append(each)
        return answered


def _by_image(flat: Iterable[T], questions: Sequence[Sequence[object]]) -> list[list[T]]:
    rest = iter(flat)
    return [[next(rest) for _ in asked] for asked in questions]


def _answer(completion: Completion, limit: int, opening: str = "") -> Answer:
    known = completion.log_probabilities
    score = math.exp(sum(known) / len(known)) if known else math.nan
    warning = None if known else UNSCORED
    if not completion.text.casefold().startswith(opening.casefold()):
        warning = join_warnings(warning, f"the model did not begin with {opening!r}")
    finish, text = completion.finish_reason, ((completion.text, score),)
    return Answer(text, finish_warning(finish, limit, warning), (), finish, not known, completion.usage)


def _object(completion: Completion, limit: int) -> WrittenObject:
    written = completion.written.rstrip()
    text = written.encode()
    ends = list(itertools.accumulate(map(len, completion.tokens)))
    # Behind the text, some servers list the token that closes it.
    count = ends.index(len(text)) + 1 if len(text) in ends else 0
    tokens, known = completion.tokens[:count], (completion.log_probabilities or ())[:count]
    is_scored = bool(known) and b"".join(tokens) == text
    finish = completion.finish_reason or "stop"
    warning = finish_warning(finish, limit, None if is_scored else UNSCORED)
    return WrittenObject(
        written, tokens if is_scored else (), known if is_scored else None, finish, warning, completion.usage
    )


def _held(question: Question, option: Sequence[str]) -> Question:
    body = {name: value for name, value in question.body.items() if name not in ("logprobs", "top_logprobs")}
    body |= {"response_format": messages.one_of(option), "max_tokens": body["max_tokens"] + _FRAME_TOKENS}
    return Question(body, question.prompt_tokens, question.answer_tokens + _FRAME_TOKENS)


def _chosen(option: Sequence[str], completion: Completion) -> tuple[float, ...]:
    try:
        choice = json.loads(completion.text)["choice"]
    except (ValueError, KeyError, TypeError, RecursionError):
        choice = completion.text
    scores = named(option, str(choice))
    if scores is None:
        raise RowError(ErrorCode.ENDPOINT_FAILED, f"the model answered {completion.text!r}, none of the choices")
    return scores


def _in_place(option: Sequence[str], scores: Sequence[float], usage: Usage | None) -> ChoiceScores:
    """Return scores of the choices with text, and NaN for those without, in the order of all."""
    rest = iter(scores)
    return ChoiceScores(tuple(next(rest) if choice.strip() else math.nan for choice in option), usage=usage)
