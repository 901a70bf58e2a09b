"""An attribute of a taxonomy, and the levels of choices that it is asked in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, InstanceOf, field_validator, model_validator

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.predicates.grammar import ExpressionError
from vqa_ray.taxonomy.choice import Choice, choice_of, nodes, parse_choices
from vqa_ray.taxonomy.condition import Condition

PLACEHOLDER = "{choice}"
YES_NO = ("yes", "no")
DEFAULT_THRESHOLD = {"choices": 0.0, "yes_no": 0.5}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME_LIMIT = 64
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True, slots=True)
class ClosedQuestion:
    """A question and the answers to score."""

    question: str
    choices: tuple[str, ...]


class Shortlist(BaseModel):
    """The choices nearest to an image by an encoder: the only ones that the model is asked about."""

    model_config = _STRICT

    model: str = Field(min_length=1, description="a dual encoder: bundled:catalog-clip, a CLIP, a SigLIP")
    k: int = Field(default=32, ge=1, description="choices to keep per image")
    template: str = Field(default=PLACEHOLDER, description="text that the encoder reads; holds {choice}")

    @field_validator("template")
    @classmethod
    def _holds_a_choice(cls, template: str) -> str:
        if PLACEHOLDER not in template:
            raise ValueError(f"needs {PLACEHOLDER} in it")
        return template


class Attribute(BaseModel):
    """One attribute of a taxonomy; `choices` maps what is written to what the model reads."""

    model_config = _STRICT

    name: str = Field(description="column name; <name>_score is the column of its score")
    question: str = Field(description="asked of every image; holds {choice} when mode is yes_no")
    choices: dict[str, str | InstanceOf[Choice]] = Field(
        description="a list of choices, or choice: phrase the model reads in its place; see vqa_ray.taxonomy.choice"
    )
    threshold: float = Field(ge=0, le=1, description="lowest score that counts, 0..1")
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={}, description="choice: its own lowest score, where it differs from threshold"
    )
    multi: bool = Field(default=False, description="whether an image may have several of the choices, or none")
    mode: Literal["choices", "yes_no"] = Field(default="choices", description="one closed question, or one per choice")
    when: str | None = Field(default=None, description="condition on other attributes: asked only where it holds")
    model: str | None = Field(default=None, min_length=1, description="answers in place of the run's model")
    shortlist: Shortlist | None = Field(default=None, description="asks about the choices nearest to an image alone")

    @model_validator(mode="before")
    @classmethod
    def _default_threshold(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("threshold") is None:
            mode = given.get("mode", "choices")
            return {**given, "threshold": DEFAULT_THRESHOLD.get(mode, 0.0) if isinstance(mode, str) else 0.0}
        return given

    @field_validator("name")
    @classmethod
    def _column_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:
            raise ValueError(f"a column name is letters, digits and _, not a digit first, at most {_NAME_LIMIT}")
        return name

    @field_validator("choices", mode="before")
    @classmethod
    def _choices(cls, given: Any) -> Any:
        return parse_choices(given)

    @field_validator("when")
    @classmethod
    def _reads_as_condition(cls, when: str | None) -> str | None:
        if when is not None:
            try:
                Condition.parse(when)
            except ExpressionError as error:
                raise ValueError(str(error)) from error
        return when

    @model_validator(mode="after")
    def _questions_suit_mode(self) -> Attribute:
        questions = [choice.question for _, choice in nodes(self.choices) if choice.question is not None]
        for question in (self.question, *questions):
            if not question.strip():
                raise ValueError("question: must not be empty")
            if self.mode == "yes_no" and PLACEHOLDER not in question:
                raise ValueError(f"question: mode yes_no needs {PLACEHOLDER} in it, got {question!r}")
            if self.mode == "choices" and PLACEHOLDER in question:
                raise ValueError(f"question: {PLACEHOLDER} needs mode: yes_no; mode choices asks {question!r} once")
        return self

    @model_validator(mode="after")
    def _parts_suit_each_other(self) -> Attribute:
        scored = {path[-1] for path, choice in nodes(self.choices) if choice.below is None}
        for choice in self.thresholds:
            if choice not in scored:
                raise ValueError(f"thresholds: {choice!r} is not one of the choices")
        if self.multi and self.has_children:
            raise ValueError("children: an attribute with multi: true has no choices below others")
        if self.shortlist is not None and self.shortlist.k > (leaves := len(self.levels[0].choices)):
            raise ValueError(f"shortlist: k is {self.shortlist.k}; it is at most the number of choices, {leaves}")
        return self

    @cached_property
    def has_children(self) -> bool:
        """Whether there are choices below others."""
        return any(choice_of(each).children for each in self.choices.values())

    @property
    def columns(self) -> tuple[str, str]:
        """The two output columns that every attribute has."""
        return self.name, f"{self.name}_score"

    @property
    def further_columns(self) -> list[pa.Field]:
        """The output columns of a path, of the reason for no value, and of the rank in a shortlist."""
        form = {
            "path": pa.list_(pa.string()) if self.has_children else None,
            "reason": pa.string() if self.when is not None else None,
            "rank": pa.int32() if self.shortlist is not None else None,
        }
        return [pa.field(f"{self.name}_{kind}", value) for kind, value in form.items() if value is not None]

    @property
    def all_columns(self) -> list[str]:
        """The names of all its output columns."""
        return [*self.columns, *(each.name for each in self.further_columns)]

    @cached_property
    def condition(self) -> Condition | None:
        """What `when` says; None for an attribute that every image has."""
        return None if self.when is None else Condition.parse(self.when)

    @cached_property
    def paths(self) -> Mapping[str, tuple[str, ...]]:
        """Choice → the choices on the path to it, itself last."""
        return {path[-1]: path for path, _ in nodes(self.choices)}

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The levels, that of the attribute first; of a shortlist one alone, with all choices that have none below."""
        if self.shortlist is None:
            return tuple(_levels(self, None, self.question, self.choices))
        leaves = {path[-1]: choice for path, choice in nodes(self.choices) if not choice.children}
        return (_level(self, None, self.question, leaves),)

    @cached_property
    def levels_below(self) -> Mapping[str, Level]:
        """Choice → the level below it."""
        return {level.parent: level for level in self.levels if level.parent is not None}

    @property
    def choice_facts(self) -> list[Any]:
        """The choices, for a fingerprint."""
        return [[name, each if isinstance(each, str) else each.facts] for name, each in self.choices.items()]

    @property
    def facts(self) -> dict[str, Any]:
        """The options that change a tag and that taxonomies of before did not have; empty for none."""
        shortlist = None if self.shortlist is None else self.shortlist.model_dump()
        given = {"when": self.when, "model": self.model, "shortlist": shortlist}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Level:
    """Choices of an attribute that are asked together.

    Attributes:
        attribute: the name of the attribute.
        parent: the choice that they stand below; None at the top.
        mode: see `Attribute`.
        question: see `Attribute`.
        choices: choice → phrases that the model reads, of each choice that it is asked about.
        rules: (bound, choice) of the choices that are given where all others score below the bound, ascending.
    """

    attribute: str
    parent: str | None
    mode: str
    question: str
    choices: Mapping[str, tuple[str, ...]]
    rules: tuple[tuple[float, str], ...] = ()

    def questions(self, names: Sequence[str] | None = None) -> list[ClosedQuestion]:
        """Return what to ask about an image.

        Args:
            names: the choices to ask about; None for all.
        """
        phrases = [phrase for name in names or self.choices for phrase in self.choices[name]]
        if self.mode == "choices":
            return [ClosedQuestion(self.question, tuple(phrases))]
        return [ClosedQuestion(self.question.replace(PLACEHOLDER, phrase), YES_NO) for phrase in phrases]

    def scored(self, answers: Iterator[Sequence[float]], names: Sequence[str] | None = None) -> list[tuple[str, float]]:
        """Return (choice, score) in the taxonomy's order; of synonyms the best score counts.

        Args:
            answers: the scores of the choices of each question, in the order of `questions`.
            names: see `questions`.

        Raises:
            RowError: `model_error` when a score is not a finite number.
        """
        asked = names or list(self.choices)
        count = sum(len(self.choices[name]) for name in asked)
        by_phrase = (
            list(next(answers))
            if self.mode == "choices"
            else [probability_of_yes(*next(answers)) for _ in range(count)]
        )
        waiting = iter(by_phrase)
        scores = [(name, [next(waiting) for _ in self.choices[name]]) for name in asked]
        for name, of_phrases in scores:
            if wrong := [score for score in of_phrases if not math.isfinite(score)]:
                raise RowError(ErrorCode.MODEL_ERROR, f"the model's score of {self.attribute}:{name} is {wrong[0]}")
        return [(name, float(np.float32(max(of_phrases)))) for name, of_phrases in scores]


def _levels(
    attribute: Attribute, parent: str | None, question: str, choices: Mapping[str, str | Choice]
) -> Iterator[Level]:
    yield _level(attribute, parent, question, choices)
    for name, value in choices.items():
        choice = choice_of(value)
        if choice.children:
            yield from _levels(attribute, name, choice.question or question, choice.children)


def _level(attribute: Attribute, parent: str | None, question: str, choices: Mapping[str, str | Choice]) -> Level:
    parts = {name: choice_of(value) for name, value in choices.items()}
    rules = sorted((choice.below, name) for name, choice in parts.items() if choice.below is not None)
    asked = {name: choice.phrases for name, choice in parts.items() if choice.below is None}
    return Level(attribute.name, parent, attribute.mode, question, asked, tuple(rules))


def probability_of_yes(yes: float, no: float) -> float:
    """P(yes) over {yes, no}: yes / (yes + no).

    ViLT's scores are independent sigmoids, so only their ratio says which of the two answers it prefers; a generative
    model's are probabilities already and the formula is theirs. 0 when both scores are 0.
    """
    return yes / (yes + no) if yes + no != 0 else 0.0
