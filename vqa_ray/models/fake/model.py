"""A model without weights: answers follow from an image's mean colour and the question.

As `fake:boxes` it also points at the part of the image that has the colour it names.

It makes the whole pipeline runnable in seconds, for a first try on one's own data and for tests. Torch is not needed.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Sequence
from typing import Self

import numpy as np

from vqa_ray.models import score_meanings
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import NEW_TOKENS, GenerationConfig, finish_warning, join_warnings
from vqa_ray.models.generation.prompts import Prompting
from vqa_ray.types import Answer, Box, ChoiceScores, FinishReason, Image, Turn

MAX_QUESTION_CHARACTERS = 1_000

# A question that holds this word makes the model raise, as a real one may on an input it cannot take.
FAILURE = "FAKE_FAILURE"
# One that holds this word makes it hang.
HANG = "FAKE_HANG"
_LONG_S = 100_000.0

COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 70, 210),
    "yellow": (240, 220, 40),
    "brown": (120, 75, 40),
}
_FURTHEST = float(np.linalg.norm([255, 255, 255]))
_YES_NO_OPENINGS = ("is ", "are ", "does ", "do ", "has ", "have ", "can ", "was ", "were ")


class FakeModel:
    """Deterministic answers and scores; implements `GenerativeModel`.

    Args:
        prompting: how a question becomes what its answer follows from; the question alone by default.
        has_boxes: whether answers that name a colour, and captions, say where it is.
        max_new_tokens: words of an answer or caption; a longer one is cut.
    """

    score_meaning = score_meanings.FAKE

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        dtype: str | None = None,
        compile: bool = False,
        prompting: Prompting | None = None,
        generation: GenerationConfig | None = None,
    ) -> Self:
        """Make the model of a reference; it has no device, dtype or network to compile."""
        del device, dtype, compile
        limit = NEW_TOKENS if generation is None else generation.max_new_tokens
        return cls(prompting, has_boxes=checkpoint.family.has_boxes, max_new_tokens=limit)

    def __init__(
        self, prompting: Prompting | None = None, *, has_boxes: bool = False, max_new_tokens: int = NEW_TOKENS
    ) -> None:
        self._prompting = prompting or Prompting("{}")
        self._has_boxes = has_boxes
        self._max_new_tokens = max_new_tokens

    def answer(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        top_k: int,
        *,
        contexts: Sequence[Sequence[Sequence[Turn]]] | None = None,
    ) -> list[list[Answer]]:
        """Yes or no for a question that opens like one, else colours by their distance to the mean colour.

        The oldest turns of a context are dropped until the prompt has at most `MAX_QUESTION_CHARACTERS`.

        Raises:
            ValueError: a question holds `FAILURE`.
        """
        before = contexts if contexts is not None else [[()] * len(asked) for asked in questions]
        return [
            [self._answer(image, question, turns, top_k) for question, turns in zip(asked, said, strict=True)]
            for image, asked, said in zip(images, questions, before, strict=True)
        ]

    def caption(self, images: Sequence[Image], prompt: str | None) -> list[Answer]:
        """Name the colour that is nearest to the mean: "a red picture"."""
        captions = []
        for image in images:
            ((colour, score),) = self._answer(image, "", (), 1).answers
            text = f"{prompt or 'a'} {colour} picture"
            captions.append(self._written([(text, score)], None, self._boxes(image, colour)))
        return captions

    def score(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        """Score each choice, shaped like `questions`.

        Raises:
            ValueError: a question holds `FAILURE`.
        """
        return [
            [
                ChoiceScores(
                    tuple(_score(colour, self._prompting.text(question), choice) for choice in offered),
                    _warning(question),
                )
                for question, offered in zip(asked, choices_of_image, strict=True)
            ]
            for colour, asked, choices_of_image in zip(map(_mean_colour, images), questions, choices, strict=True)
        ]

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        """Every choice can be scored."""
        return [True for _ in choices]

    def _answer(self, image: Image, question: str, turns: Sequence[Turn], top_k: int) -> Answer:
        closed = question.strip().lower().startswith(_YES_NO_OPENINGS)
        candidates = ("yes", "no") if closed else tuple(COLOURS)
        kept = list(turns)
        while kept and len(self._prompting.text(question, kept)) > MAX_QUESTION_CHARACTERS:
            kept.pop(0)
        prompt, colour = self._prompting.text(question, kept), _mean_colour(image)
        scored = [(candidate, _score(colour, prompt, candidate)) for candidate in candidates]
        scored.sort(key=lambda pair: (-pair[1], pair[0]))
        dropped = len(turns) - len(kept)
        note = f"{dropped} of {len(turns)} earlier turns left out" if dropped else None
        warning = join_warnings(_warning(question), note)
        return self._written(scored[:top_k], warning, self._boxes(image, scored[0][0]))

    def _written(self, scored: Sequence[tuple[str, float]], warning: str | None, boxes: tuple[Box, ...]) -> Answer:
        """Make an answer of at most `max_new_tokens` words."""
        limit = self._max_new_tokens
        finish: FinishReason = "length" if len(scored[0][0].split()) > limit else "stop"
        cut = tuple((" ".join(text.split()[:limit]) if finish == "length" else text, score) for text, score in scored)
        return Answer(cut, finish_warning(finish, limit, warning), boxes, finish)

    def _boxes(self, image: Image, colour: str) -> tuple[Box, ...]:
        """Return the smallest box around all pixels that are nearer to a colour than to any other."""
        if not self._has_boxes or colour not in COLOURS:
            return ()
        names = list(COLOURS)
        distances = np.stack([np.linalg.norm(image.astype(np.float32) - COLOURS[name], axis=-1) for name in names])
        rows, columns = np.nonzero(distances.argmin(axis=0) == names.index(colour))
        if not len(rows):
            return ()
        height, width = image.shape[:2]
        edges = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
        return (Box(colour, *map(float, edges)),)


def _warning(question: str) -> str | None:
    if len(question) > MAX_QUESTION_CHARACTERS:
        return f"question cut to {MAX_QUESTION_CHARACTERS} of {len(question)} characters"
    return None


def _mean_colour(image: Image) -> tuple[int, int, int]:
    # Column by column first: numpy sums long rows fast, and rows of three numbers slowly.
    red, green, blue = (image.sum(axis=0, dtype=np.int64).sum(axis=0) // (image.shape[0] * image.shape[1])).tolist()
    return red, green, blue


def _score(colour: tuple[int, int, int], question: str, choice: str) -> float:
    if FAILURE in question:
        raise ValueError(f"the question holds {FAILURE}")
    if HANG in question:
        time.sleep(_LONG_S)
    if choice in COLOURS:
        squares = sum((one - other) ** 2 for one, other in zip(colour, COLOURS[choice], strict=True))
        return 1.0 - math.sqrt(squares) / _FURTHEST
    # "no" is the complement of "yes", everything else a hash: stable between processes, unlike hash().
    if choice == "no":
        return 1.0 - _score(colour, question, "yes")
    text = f"{colour}|{question[:MAX_QUESTION_CHARACTERS]}|{choice}"
    return zlib.crc32(text.encode()) / 2**32
