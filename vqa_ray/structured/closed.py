"""Objects of closed fields, for models that score choices and write nothing: questions, and values by scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.structured.field import Field, Scalar
from vqa_ray.structured.filled import FilledObject, Scores, to_json
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.taxonomy.attribute import PLACEHOLDER, YES_NO, ClosedQuestion, probability_of_yes
from vqa_ray.taxonomy.taxonomy import ChoiceVocabulary, SuggestsChoices

_YES = 0.5


@dataclass(frozen=True)
class ClosedObject:
    """A schema whose fields are all enumerations, booleans, or arrays of enumerations, or objects of such fields.

    An enumeration is one closed question, a boolean a question of yes and no, an array one for each of its choices. The
    question is the field's description, or follows from its name.

    Raises:
        RequestError: a field that is not closed, by name.
    """

    schema: ObjectSchema

    @classmethod
    def of(cls, schema: ObjectSchema, label: str, where: str) -> ClosedObject:
        """Check the fields of a schema.

        Args:
            schema: of the object.
            label: the model's name and family, for the message.
            where: the name of the schema.
        """
        for path, field in schema.leaves():
            if not field.is_closed:
                raise RequestError(
                    f"{where}: field {path!r}: {label} chooses among given values and writes none; wanted an enum or a "
                    f"boolean, or a model that writes"
                )
        for field in _all_fields(schema.fields):
            if field.item and not field.item.choices:
                raise RequestError(
                    f"{where}: field {field.name!r}: {label} chooses among given values; wanted items of an enum"
                )
            least = field.limits.get("minItems", 0)
            if field.item and least > len(field.item.choices):
                raise RequestError(
                    f"{where}: field {field.name!r}: minItems {least}: {label} gives each of the "
                    f"{len(field.item.choices)} values of the enum once at most"
                )
        return cls(schema)

    @property
    def questions(self) -> list[ClosedQuestion]:
        """The questions for every image, in order."""
        return [question for field in self.schema.fields for question in _questions(field, "")]

    def check_against(self, model: ChoiceVocabulary, label: str, where: str) -> None:
        """Check that a model can score every choice.

        Raises:
            RequestError: names the choices that its closed vocabulary lacks.
        """
        for question in self.questions:
            phrases = list(question.choices)
            lacking = [each for each, known in zip(phrases, model.known_choices(phrases), strict=True) if not known]
            if lacking:
                near = f"; {model.suggest(lacking)}" if isinstance(model, SuggestsChoices) else ""
                raise RequestError(
                    f"{where}: {question.question!r}: {label} cannot answer {', '.join(map(repr, lacking[:5]))}{near}"
                )

    def fill(self, scores: Sequence[Sequence[float]], warning: str | None = None) -> FilledObject:
        """Return the object that follows from the scores of `questions`.

        Raises:
            RowError: `model_error` when a score is not a finite number.
        """
        waiting = iter(scores)
        filled = {field.name: _value(field, waiting) for field in self.schema.fields}
        values = {name: value for name, (value, _) in filled.items()}
        text = to_json(self.schema.fields, values)
        return FilledObject(values, {name: score for name, (_, score) in filled.items()}, text, warning)


def field_question(field: Field, parent: str = "") -> str:
    """Return the question of an enumeration, or that of an array about each of its choices, with a placeholder.

    Args:
        field: with choices, or with items that have them.
        parent: the words for the object that it belongs to; empty for the whole.
    """
    if field.item:
        return field.description if PLACEHOLDER in field.description else f"is it {PLACEHOLDER}?"
    of = f" of the {parent}" if parent else ""
    return field.description or f"what is the {field.name.replace('_', ' ')}{of}?"


def _all_fields(fields: Sequence[Field]) -> Iterator[Field]:
    for field in fields:
        yield field
        yield from _all_fields(field.fields)


def _questions(field: Field, parent: str) -> Iterator[ClosedQuestion]:
    name = field.name.replace("_", " ")
    if field.kind == "object":
        for each in field.fields:
            yield from _questions(each, name)
    elif field.item:
        for phrase in _phrases(field.item):
            yield ClosedQuestion(field_question(field).replace(PLACEHOLDER, phrase), YES_NO)
    elif field.choices:
        yield ClosedQuestion(field_question(field, parent), tuple(_phrases(field)))
    else:
        yield ClosedQuestion(field.description or f"is it {name}?", YES_NO)


def _phrases(field: Field) -> list[str]:
    return [field.phrases.get(each) or _word(each) for each in field.choices]


def _word(choice: Scalar) -> str:
    return YES_NO[not choice] if isinstance(choice, bool) else str(choice)


def _value(field: Field, waiting: Iterator[Sequence[float]]) -> tuple[Any, Scores]:
    if field.kind == "object":
        inner = {each.name: _value(each, waiting) for each in field.fields}
        return {name: value for name, (value, _) in inner.items()}, {name: score for name, (_, score) in inner.items()}
    if field.item:
        return _several(field, [probability_of_yes(*_finite(next(waiting))) for _ in field.item.choices])
    scores = _finite(next(waiting))
    if not field.choices:
        yes = probability_of_yes(*scores)
        return yes >= _YES, max(yes, 1 - yes)
    best = max(range(len(scores)), key=scores.__getitem__)
    total = math.fsum(scores)
    return field.choices[best], scores[best] / total if total else 0.0


def _several(field: Field, scores: Sequence[float]) -> tuple[list[Any], list[float]]:
    """Return the choices that are likelier than not, best first, as few and as many as the array allows."""
    assert field.item is not None
    ranked = sorted(range(len(scores)), key=lambda place: -scores[place])
    given = sum(score >= _YES for score in scores)
    kept = ranked[: min(max(given, field.limits.get("minItems", 0)), field.limits.get("maxItems", len(ranked)))]
    return [field.item.choices[place] for place in kept], [scores[place] for place in kept]


def _finite(scores: Sequence[float]) -> Sequence[float]:
    if not all(map(math.isfinite, scores)):
        raise RowError(ErrorCode.MODEL_ERROR, "the model gave a score that is not a number")
    return scores
