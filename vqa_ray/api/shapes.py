"""Results in the shape of what was given: one image or several, one question, a list, or a list for each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

from vqa_ray.api.checked import checked_questions
from vqa_ray.api.images import is_one_image
from vqa_ray.errors import RequestError, RowError

T = TypeVar("T")
OnError: TypeAlias = Literal["return", "raise"]
Ask: TypeAlias = Callable[[Sequence[object], Sequence[Sequence[str]]], Sequence[Sequence[T | RowError]]]


def per_image(images: Any, ask: Callable[[Sequence[object]], Sequence[T | RowError]], errors: OnError) -> Any:
    """Return a result for an image, or a list of them for several.

    Args:
        images: one or several.
        ask: images → a result each.
        errors: `return` or `raise`.

    Raises:
        RowError: the first one, with `errors="raise"`.
    """
    _check_errors(errors)
    is_one = is_one_image(images)
    shown = [images] if is_one else list(images)
    found = list(ask(shown) if shown else ())
    _raise_first(errors, [[each] for each in found])
    return found[0] if is_one else found


def per_question(images: Any, questions: Any, ask: Ask[T], errors: OnError) -> Any:
    """Return a result per image and question, nested as images and questions are.

    Args:
        images: one or several.
        questions: one, a list for every image, or a list of a list for each image.
        ask: images and the questions of each → a result for each question of each image.
        errors: `return` or `raise`.

    Raises:
        RequestError: a question is blank, or there are not as many lists of questions as images.
        RowError: the first one, with `errors="raise"`.
    """
    _check_errors(errors)
    is_one = is_one_image(images)
    shown = [images] if is_one else list(images)
    asked = _questions_of_each(questions, len(shown))
    found = [list(results) for results in (ask(shown, asked) if shown else ())]
    _raise_first(errors, found)
    rows: list[Any] = [each[0] for each in found] if isinstance(questions, str) else list(found)
    return rows[0] if is_one else rows


def _questions_of_each(questions: Any, images: int) -> list[tuple[str, ...]]:
    if isinstance(questions, str) or not any(isinstance(each, list | tuple) for each in questions):
        return [checked_questions(questions)] * images
    if len(questions) != images:
        raise RequestError(
            f"questions holds {len(questions)} lists for {images} images; wanted is a list for each image"
        )
    return [checked_questions(each, f"questions[{index}]") for index, each in enumerate(questions)]


def _check_errors(errors: str) -> None:
    if errors not in ("return", "raise"):
        raise RequestError(f"errors is {errors!r}; allowed are 'return' and 'raise'")


def _raise_first(errors: OnError, found: Sequence[Sequence[object]]) -> None:
    if errors == "return":
        return
    for index, results in enumerate(found):
        error = next((each for each in results if isinstance(each, RowError)), None)
        if error is not None:
            raise RowError(error.code, f"images[{index}]: {error.message}" if len(found) > 1 else error.message)
