"""MathVista: mathematics in images, with options or with a number, a list or a text as the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqa_ray.evaluation.edit_distance import edit_distance
from vqa_ray.evaluation.protocol import JudgedRows, Judgement, Protocol, Roles
from vqa_ray.evaluation.spelled_list import listed, texts_of

_QUOTED = re.compile(r'The answer is "(.*)"\.')
_IN_BRACKETS = re.compile(r"\(([a-zA-Z])\)")
# Answers of more characters than this, and than twice the longest option, are explanations, not extracted answers.
_LONGEST_EXTRACTION = 200
_LONGEST_QUOTED = 10_000
_STATED_NUMBER = re.compile(r"(?i:\banswer(?:\s+is)?\s*[:=]?)\s*[*$(]*(-?(?:\d[\d,]*+(?:\.\d++)?|\.\d++))(?!\w*\d)")
_STATED_LETTER = re.compile(r"(?i:\banswer(?:\s+is)?\s*[:=]?)\s*[*$(]*([A-Z])\b(?!['’])")
_NUMBERS = ("integer", "float")
_GROUPS = (
    *("question_type", "answer_type", "language", "source", "category"),
    *("task", "context", "grade", "skills"),
)


class MathVista(Protocol):
    """The percentage of answers that, brought into the form of the right one, equal it.

    An option is chosen by its letter in brackets or alone, else by the smallest edit distance; numbers are rounded to
    the precision of the question. The official script has GPT-4 extract the answer from explanations; here
    "The answer is "…".", "answer is (B)" and "answer: 12" are read, and other explanations are unparsed.
    """

    name = "mathvista"
    title = "MathVista"
    source = (
        "Lu et al., MathVista (2023); lupantech/MathVista evaluation/calculate_score.py @e999481e and, without GPT-4, "
        "extract_answer.py @0a520c46"
    )
    truth: ClassVar[Roles] = {"answer": ("truth", "answer")}
    optional: ClassVar[Roles] = {
        "choices": ("choices", "options"),
        "precision": ("precision",),
        **{role: (role, f"metadata.{role}", f"metadata_{role}") for role in _GROUPS},
    }
    groups = _GROUPS
    # A question has several skills; each is a part.
    units = ("skills",)
    scale = 100.0

    def judge(self, prediction: Any, truth: Mapping[str, Any]) -> Judgement:
        choices = _choices(truth.get("choices"))
        right = str(truth["answer"])
        if (truth.get("question_type") or ("multi_choice" if choices else "free_form")) == "multi_choice":
            if right not in choices:
                raise ValueError(f"the answer {right[:60]!r} is none of the options, which are {_join(choices)}")
            said = self.choose(prediction, choices)
        else:
            kind = str(truth.get("answer_type") or _type_of(right))
            precision = _precision(truth.get("precision")) if kind == "float" else 0
            said = _in_form(self.number(prediction) if kind in _NUMBERS else _quoted(prediction), kind, precision)
        return Judgement(float(said == right), said, right)

    def choose(self, text: str, choices: Sequence[str]) -> str | None:
        """Return the option that a text chooses; None of an empty text, and of an explanation that states no letter."""
        text = _quoted(text).strip()
        if len(text) <= max(_LONGEST_EXTRACTION, 2 * max(map(len, choices))):
            return _nearest(text, choices) if text else None
        stated = _STATED_LETTER.findall(text)
        return _lettered(stated[-1], choices) if stated else None

    def number(self, text: str) -> float | None:
        """Return the number that a text is, or the last that it states as its answer."""
        number = _number(text)
        if number is None and (stated := _STATED_NUMBER.findall(text)):
            number = _number(stated[-1].replace(",", ""))
        return number

    def parts(self, rows: JudgedRows) -> Mapping[str, npt.NDArray[np.bool_]]:
        """See `Protocol.parts`: the skills, of which a question has several."""
        stated, codes = rows.codes("skills")
        skills = [set(_skills(text)) for (text,) in stated]
        return {skill: np.array([skill in each for each in skills])[codes] for skill in sorted(set().union(*skills))}

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        return self.judge("", truth)


class MathVistaOfficial(MathVista):
    """MathVista as the official script scores the answers that GPT-4 extracted: a guess where nothing can be read.

    An empty answer chooses the shortest option, an explanation the one of the smallest edit distance.
    """

    name = "mathvista-official"
    title = "MathVista (official, of extracted answers)"

    def choose(self, text: str, choices: Sequence[str]) -> str:
        """Return the option that is nearest to a text."""
        return _nearest(text.strip(), choices)

    def number(self, text: str) -> float | None:
        """Return the number that a text is."""
        return _number(text)

    def judge_absent(self, truth: Mapping[str, Any]) -> Judgement:
        """See `Protocol.judge_absent`; nothing is guessed."""
        return MathVista().judge("", truth)


def _skills(text: str) -> list[str]:
    """Return the skills of a text that joins or spells them."""
    return [skill for each in texts_of(text) or text.split(";") if (skill := each.strip())]


def _choices(stated: Any) -> list[str]:
    return [] if stated is None else [str(each) for each in listed(stated)]


def _join(choices: Sequence[str]) -> str:
    return ", ".join(map(repr, choices))[:200] or "not there"


def _nearest(text: str, choices: Sequence[str]) -> str:
    """Return the option of the letter in brackets or alone, else the first of those of the smallest edit distance.

    A letter in brackets goes before everything, also where "(b)" is the wording of option D.
    """
    if bracketed := _IN_BRACKETS.search(text):
        text = bracketed[1].upper()
    return _lettered(text, choices) or min(choices, key=lambda choice: edit_distance(choice, text))


def _lettered(letter: str, choices: Sequence[str]) -> str | None:
    letters = ascii_uppercase[: len(choices)]
    return choices[letters.index(letter)] if len(letter) == 1 and letter in letters else None


def _in_form(value: str | float | None, kind: str, precision: int) -> str | None:
    """Return a value in the form of the right answer: a whole number, a rounded one, or as it is."""
    try:
        if isinstance(value, float):
            value = str(int(value) if kind == "integer" else round(value, precision))
    except (ValueError, OverflowError):
        return None
    return value or None


def _precision(stated: Any) -> int:
    try:
        return int(float(stated))
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a decimal answer needs its precision, the number of decimals") from None


def _number(text: str) -> float | None:
    try:
        return float(_quoted(text))
    except ValueError:
        return None


def _quoted(text: str) -> str:
    found = _QUOTED.search(text) if len(text) <= _LONGEST_QUOTED else None
    return found[1] if found else text


def _type_of(right: str) -> str:
    """Return the type of a right answer whose truth states none."""
    if re.fullmatch(r"-?\d+", right):
        return "integer"
    return "float" if re.fullmatch(r"-?\d*\.\d+", right) else "text"
