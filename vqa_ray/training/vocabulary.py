"""The answers to learn: made from the training rows, or read from a file. No torch."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

from vqa_ray.errors import RequestError, one_line
from vqa_ray.models.vocabulary import AnswerVocabulary
from vqa_ray.storage import read_bytes
from vqa_ray.training.labels import LabelledRows

MAX_FILE_BYTES = 64 * 2**20


def build_vocabulary(rows: LabelledRows, *, min_count: int = 9, max_answers: int | None = None) -> AnswerVocabulary:
    """The normalised majority answers of the rows, most frequent first, equally frequent ones in alphabetical order.

    Args:
        rows: to train on.
        min_count: rows whose majority answer it must be. dandelin/ViLT takes 9, over VQA v2's train and val.
        max_answers: only so many of the most frequent; None for all.

    Raises:
        RequestError: no row has an answer, or fewer than two answers are left.
    """
    counts = rows.counts()
    majority = counts.majority()
    votes = np.bincount(majority[majority >= 0], minlength=len(counts.names))
    # A stable sort of what is in alphabetical order already.
    order = [int(at) for at in np.argsort(-votes, kind="stable") if votes[at] > 0]
    told = ", ".join(f"{one_line(counts.names[at], 40)!r} ({votes[at]} rows)" for at in order[:3])
    if not order:
        raise RequestError(f"none of the {len(rows)} rows to train on has an answer")
    if len(order) == 1:
        raise RequestError(f"there is only one answer to learn, {told}; at least two different ones are needed")
    frequent = [at for at in order if votes[at] >= min_count][:max_answers]
    if len(frequent) < 2:
        raise RequestError(
            f"{len(frequent)} of {len(order)} answers are seen at least {min_count} times and may be learnt, at least "
            f"2 are needed; the most frequent are {told}; give a smaller --min-answer-count"
        )
    return AnswerVocabulary([counts.names[at] for at in frequent])


def read_vocabulary(uri: str) -> AnswerVocabulary:
    """Read a text file with one answer a line, a JSON list of answers, or a JSON object {answer: index}.

    Raises:
        RequestError: it is not there or none of these, an answer is there twice, the indices have gaps, or there are
            fewer than two answers.
    """
    try:
        text = read_bytes(uri, MAX_FILE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{uri}: the answer vocabulary is not UTF-8 (byte {error.start + 1})") from error
    except OSError as error:
        raise RequestError(f"{uri}: the answer vocabulary cannot be read: {one_line(error)}") from error
    answers = _json_answers(text, uri) if text.lstrip()[:1] in ("[", "{") else text.splitlines()
    stripped = [answer.strip() for answer in answers]
    labels = [answer for answer in stripped if answer]
    twice = [answer for answer, count in Counter(labels).items() if count > 1]
    if twice:
        raise RequestError(f"{uri}: the answer {one_line(twice[0], 60)!r} is there {labels.count(twice[0])} times")
    if len(labels) < 2:
        raise RequestError(f"{uri}: an answer vocabulary of {len(labels)} answers; at least 2 are needed")
    return AnswerVocabulary(labels)


def _json_answers(text: str, uri: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{uri}: the answer vocabulary is not JSON: {one_line(error, 120)}") from error
    if isinstance(found, list):
        wrong = [answer for answer in found if not isinstance(answer, str)]
        if wrong:
            raise RequestError(f"{uri}: {one_line(repr(wrong[0]), 60)} is no answer; wanted is a list of strings")
        return list(found)
    indices = sorted(index for index in found.values() if type(index) is int)
    if indices != list(range(len(found))):
        raise RequestError(f"{uri}: wanted is {{answer: index}} with the indices 0 to {len(found) - 1}, each once")
    return sorted(found, key=lambda answer: int(found[answer]))
