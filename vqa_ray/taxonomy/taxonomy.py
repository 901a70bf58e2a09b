"""A taxonomy (`tags.yaml`): which attributes an image is tagged with, and how scores become tags.

    attributes:
      - name: category                    # becomes the columns category and category_score
        question: "what product is this?"
        choices: [mug, t-shirt]           # or choice: phrase, where the model should read another word
        threshold: 0.3                    # a lower score gives null (or is left out of the list when multi)
        multi: false
        mode: choices                     # each choice is scored as the answer to the question
      - name: motif
        question: "is there {choice} on the product?"
        choices: {dog: "a dog", cat: "a cat"}
        mode: yes_no                      # asked once per choice; the score is P(yes)
        multi: true

What comes out of an image:

- `<name>` and `<name>_score`: the best choice and its score. Below the threshold `<name>` is null and `<name>_score`
  still tells how near the best choice came. With `multi` both are lists, best first, of what reached the threshold.
- `tags`: every choice given, as `attribute:choice` ("colour:orange" is not "fruit:orange"), the notation of faceted
  search engines. An attribute's name holds no colon, so the first one parts the two.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.schema import tag_schema
from vqa_ray.taxonomy.image_tags import Choices, ImageTags

PLACEHOLDER = "{choice}"
YES_NO = ("yes", "no")
DEFAULT_THRESHOLD = {"choices": 0.0, "yes_no": 0.5}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME_LIMIT = 64


class ChoiceVocabulary(Protocol):
    """A test of whether an answer can be scored: a `VqaModel`, or its vocabulary alone."""

    def known_choices(self, choices: Sequence[str]) -> list[bool]: ...


@runtime_checkable
class SuggestsChoices(ChoiceVocabulary, Protocol):
    """A closed vocabulary that can name the words nearest to a choice that it lacks."""

    def suggest(self, choices: Sequence[str]) -> str: ...


class Attribute(BaseModel):
    """One attribute of a taxonomy; `choices` maps what is written to what the model reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(description="column name; <name>_score is the column of its score")
    question: str = Field(description="asked of every image; holds {choice} when mode is yes_no")
    choices: dict[str, str] = Field(description="a list of choices, or choice: phrase the model reads in its place")
    threshold: float = Field(ge=0, le=1, description="lowest score that counts, 0..1")
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={}, description="choice: its own lowest score, where it differs from threshold"
    )
    multi: bool = Field(default=False, description="whether an image may have several of the choices, or none")
    mode: Literal["choices", "yes_no"] = Field(default="choices", description="one closed question, or one per choice")

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
        if not isinstance(given, list | dict) or not given:
            raise ValueError("a non-empty list of choices, or a mapping of choices to phrases, is needed")
        for text in [*given, *(given.values() if isinstance(given, dict) else ())]:
            if isinstance(text, bool):
                raise ValueError(f'YAML reads unquoted yes, no, on and off as {text}: write "yes" in quotes')
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"each must be text that is not empty, not {text!r} (numbers need quotes)")
        phrases = given.values() if isinstance(given, dict) else given
        twice = [phrase for phrase, times in Counter(phrases).items() if times > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} occurs more than once")
        return given if isinstance(given, dict) else {choice: choice for choice in given}

    @model_validator(mode="after")
    def _question_suits_mode(self) -> Attribute:
        if not self.question.strip():
            raise ValueError("question: must not be empty")
        if self.mode == "yes_no" and PLACEHOLDER not in self.question:
            raise ValueError(f"question: mode yes_no needs {PLACEHOLDER} in it, got {self.question!r}")
        if self.mode == "choices" and PLACEHOLDER in self.question:
            raise ValueError(f"question: {PLACEHOLDER} needs mode: yes_no; mode choices asks {self.question!r} once")
        return self

    @model_validator(mode="after")
    def _thresholds_are_of_choices(self) -> Attribute:
        for choice in self.thresholds:
            if choice not in self.choices:
                raise ValueError(f"thresholds: {choice!r} is not one of the choices")
        return self

    @property
    def columns(self) -> tuple[str, str]:
        """The two output columns."""
        return self.name, f"{self.name}_score"


@dataclass(frozen=True, slots=True)
class ClosedQuestion:
    """A question and the answers to score."""

    question: str
    choices: tuple[str, ...]


class Taxonomy(BaseModel):
    """All attributes; `vqa_ray.taxonomy.file.load_taxonomy` reads one from YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    attributes: list[Attribute] = Field(min_length=1, description="at least one attribute")

    @model_validator(mode="after")
    def _columns_are_apart(self) -> Taxonomy:
        # Case is ignored because SQL engines ignore it.
        owners = {name.casefold(): "is an output column of every run" for name in tag_schema([]).names}
        for attribute in self.attributes:
            for column in attribute.columns:
                if column.casefold() in owners:
                    raise ValueError(f"attribute {attribute.name!r}: column {column!r} {owners[column.casefold()]}")
            owners |= {column.casefold(): f"is taken by attribute {attribute.name!r}" for column in attribute.columns}
        return self

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """(name, multi) of each attribute: the argument of `schema.tag_schema`."""
        return [(attribute.name, attribute.multi) for attribute in self.attributes]

    def calibrated(self, thresholds: Mapping[str, float]) -> Taxonomy:
        """Return the same with other thresholds.

        Args:
            thresholds: `attribute`, or `attribute:choice` where an image may have several of an attribute.

        Raises:
            RequestError: none of them is of this taxonomy.
        """
        changed, used = [], 0
        for attribute in self.attributes:
            own = {
                c: thresholds[f"{attribute.name}:{c}"]
                for c in attribute.choices
                if f"{attribute.name}:{c}" in thresholds
            }
            least = thresholds.get(attribute.name, attribute.threshold)
            used += len(own) + (attribute.name in thresholds)
            changed.append(attribute.model_copy(update={"threshold": least, "thresholds": attribute.thresholds | own}))
        if not used:
            raise RequestError("the calibration holds none of the taxonomy's attributes")
        return Taxonomy(attributes=changed)

    @property
    def fingerprint(self) -> str:
        """A hash of all that can change a tag: 16 hex digits of a SHA-256."""
        facts = [
            [each.name, each.question, list(each.choices.items()), each.threshold, each.multi, each.mode]
            # Only where there are any, so that taxonomies from before keep their fingerprint.
            + ([sorted(each.thresholds.items())] if each.thresholds else [])
            for each in self.attributes
        ]
        return hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).hexdigest()[:16]

    def questions(self) -> list[ClosedQuestion]:
        """Return the questions for every image, in order; `tags` takes the scores in the same order."""
        return [question for attribute in self.attributes for question in _questions(attribute)]

    def check_kept(self, kept: Sequence[str]) -> None:
        """Check that the kept columns of the user and the columns of the attributes have different names.

        Raises:
            RequestError: a kept column has an attribute's column name.
        """
        taken = {column.casefold(): each.name for each in self.attributes for column in each.columns}
        for column in kept:
            if column.casefold() in taken:
                raise RequestError(
                    f"kept column {column!r}: attribute {taken[column.casefold()]!r} of the taxonomy makes a column"
                    " of that name; rename the attribute, or keep the column under another name: --keep NEW={column}"
                )

    def check_against(self, model: ChoiceVocabulary, reference: str, where: str = "tags.yaml") -> None:
        """Check that `model` can score every choice; another one would silently never be given.

        Raises:
            RequestError: names the choices the model's closed vocabulary lacks.
        """
        for attribute in self.attributes:
            phrases = list(YES_NO if attribute.mode == "yes_no" else attribute.choices.values())
            lacking = [each for each, known in zip(phrases, model.known_choices(phrases), strict=True) if not known]
            if lacking:
                named = ", ".join(repr(each) for each in lacking[:5]) + (" …" if len(lacking) > 5 else "")
                advice = (
                    "use a model that answers yes and no"
                    if attribute.mode == "yes_no"
                    else "map the choice to a word that it knows (choice: word), or use mode: yes_no"
                )
                near = f"; {model.suggest(lacking)}" if isinstance(model, SuggestsChoices) else ""
                raise RequestError(
                    f"{where}: attribute {attribute.name!r}: model {reference} cannot answer {named}"
                    f" ({len(lacking)} of {len(phrases)} choices){near}; {advice}"
                )

    def tags(self, scores: Sequence[Sequence[float]]) -> ImageTags:
        """Return the tags of one image.

        Args:
            scores: of each of `questions()`, in order, the scores of its choices.

        Raises:
            RowError: `model_error` when a score is not a finite number.
        """
        waiting = iter(scores)
        return self.given({attribute.name: _scored_choices(attribute, waiting) for attribute in self.attributes})

    def given(self, scores: Mapping[str, Choices]) -> ImageTags:
        """Return the tags of one image by the scores of its choices.

        Thresholds are compared in float32, as scores are kept.

        Args:
            scores: attribute → all its choices with their scores.
        """
        tags: list[str] = []
        columns: dict[str, Any] = {}
        for attribute in self.attributes:
            ranked = sorted(scores[attribute.name], key=lambda pair: -pair[1])
            least = attribute.thresholds
            given = [pair for pair in ranked if pair[1] >= np.float32(least.get(pair[0], attribute.threshold))]
            value_column, score_column = attribute.columns
            if attribute.multi:
                columns[value_column] = [choice for choice, _ in given]
                columns[score_column] = [score for _, score in given]
            else:
                given = given[:1]
                columns[value_column] = given[0][0] if given else None
                columns[score_column] = ranked[0][1]
            tags += [f"{attribute.name}:{choice}" for choice, _ in given]
        return ImageTags(tuple(tags), columns, scores)


def _questions(attribute: Attribute) -> list[ClosedQuestion]:
    phrases = tuple(attribute.choices.values())
    if attribute.mode == "choices":
        return [ClosedQuestion(attribute.question, phrases)]
    return [ClosedQuestion(attribute.question.replace(PLACEHOLDER, phrase), YES_NO) for phrase in phrases]


def _scored_choices(attribute: Attribute, waiting: Iterator[Sequence[float]]) -> list[tuple[str, float]]:
    """(choice, score) in the taxonomy's order."""
    if attribute.mode == "choices":
        scores = list(next(waiting))
    else:
        scores = [probability_of_yes(*next(waiting)) for _ in attribute.choices]
    for choice, score in zip(attribute.choices, scores, strict=True):
        if not math.isfinite(score):
            raise RowError(ErrorCode.MODEL_ERROR, f"the model's score of {attribute.name}:{choice} is {score}")
    return [(choice, float(np.float32(score))) for choice, score in zip(attribute.choices, scores, strict=True)]


def probability_of_yes(yes: float, no: float) -> float:
    """P(yes) over {yes, no}: yes / (yes + no).

    ViLT's scores are independent sigmoids, so only their ratio says which of the two answers it prefers; a generative
    model's are probabilities already and the formula is theirs. 0 when both scores are 0.
    """
    return yes / (yes + no) if yes + no != 0 else 0.0
