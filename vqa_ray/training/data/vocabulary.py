"""The answers to learn: made from the training rows, or read from a file. No torch."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import numpy.typing as npt

from vqa_ray.counted import counted
from vqa_ray.errors import RequestError, one_line
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.text_encoding import decode_text, other_encoding, text_lines
from vqa_ray.training.data.labelled_rows import LabelledRows

MAX_FILE_BYTES = 64 * 2**20
# (rows to train on, least count of an answer): 9 is dandelin/ViLT's, over the 650,000 rows of VQA v2. Few rows cannot
# spare any of their answers.
_LEAST_COUNTS = ((100_000, 9), (10_000, 4), (1_000, 2))


def usual_min_count(rows: LabelledRows) -> int:
    """How often an answer must be seen to be learnt, by the number of rows to train on; 1 to 9.

    It is lowered until two answers are left, where there are two.
    """
    least = next((count for size, count in _LEAST_COUNTS if len(rows) >= size), 1)
    votes = np.sort(answer_votes(rows))[::-1]
    second = int(votes[1]) if len(votes) > 1 else 1
    return max(1, min(least, second))


def answer_votes(rows: LabelledRows) -> npt.NDArray[np.int64]:
    """int64 (names of `rows.counts()`,): the rows that each answer is learnt from.

    Of what several annotators said, the majority of a row counts, as in the published recipe; labels that come with
    weights were chosen by whoever made them, and each counts.
    """
    counts = rows.counts()
    answers = counts.majority() if rows.weights is None else counts.answers
    return np.bincount(answers[answers >= 0], minlength=len(counts.names))


def build_vocabulary(rows: LabelledRows, *, min_count: int = 9, max_answers: int | None = None) -> AnswerVocabulary:
    """Make a vocabulary of the answers of rows, each as it is written most often, the most frequent first.

    Equally frequent answers are in alphabetical order; those that are the same when normalised are one.

    Args:
        rows: to train on.
        min_count: rows that must have it, see `answer_votes`. dandelin/ViLT takes 9, over VQA v2's train and val.
        max_answers: only so many of the most frequent; None for all.

    Raises:
        RequestError: no row has an answer, or fewer than two answers are left.
    """
    counts, votes = rows.counts(), answer_votes(rows)
    # A stable sort of what is in alphabetical order already.
    order = [int(at) for at in np.argsort(-votes, kind="stable") if votes[at] > 0]
    listed = ", ".join(f"{one_line(counts.spellings[at], 40)!r} ({counted(int(votes[at]), 'row')})" for at in order[:3])
    if not order:
        raise RequestError(f"none of the {len(rows)} rows to train on has an answer")
    if len(order) == 1:
        raise RequestError(f"there is only one answer to learn, {listed}; at least two different ones are needed")
    frequent = [at for at in order if votes[at] >= min_count][:max_answers]
    if len(frequent) < 2:
        raise RequestError(
            f"{len(frequent)} of {len(order)} answers are seen at least {min_count} times and may be learnt, at least "
            f"2 are needed; the most frequent are {listed}; give a smaller --min-answer-count"
        )
    return AnswerVocabulary([counts.spellings[at] for at in frequent])


def read_vocabulary(uri: str, encoding: str | None = None) -> AnswerVocabulary:
    """Read a text file with one answer a line, a JSON list of answers, or a JSON object {answer: index}.

    Raises:
        RequestError: it is not there or none of these, an answer is there twice, the indices have gaps, or there are
            fewer than two answers.
    """
    try:
        text = decode_text(read_bytes(uri, MAX_FILE_BYTES), encoding)
    except UnicodeDecodeError as error:
        hint = other_encoding(encoding)
        raise RequestError(f"{uri}: the answer vocabulary is not UTF-8 (byte {error.start + 1}){hint}") from error
    except store_failures() as error:
        raise RequestError(f"{uri}: the answer vocabulary cannot be read: {store_reason(error)}") from error
    answers = _json_answers(text, uri) if text.lstrip()[:1] in ("[", "{") else text_lines(text)
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
        answers = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{uri}: the answer vocabulary is not JSON: {one_line(error, 120)}") from error
    if isinstance(answers, list):
        wrong = [answer for answer in answers if not isinstance(answer, str)]
        if wrong:
            raise RequestError(f"{uri}: {one_line(repr(wrong[0]), 60)} is no answer; wanted is a list of strings")
        return list(answers)
    indices = sorted(index for index in answers.values() if type(index) is int)
    if indices != list(range(len(answers))):
        raise RequestError(f"{uri}: wanted is {{answer: index}} with the indices 0 to {len(answers) - 1}, each once")
    return sorted(answers, key=lambda answer: int(answers[answer]))
