"""The stage that tags images: DECODED tables in, TAG tables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.model_stage import ImageGroup, assemble, bisect_failures, image_groups, kept_fields
from vqa_ray.stages.tag_models import Size, TagModels, further_models
from vqa_ray.stages.usage import usage_columns, with_usage
from vqa_ray.taxonomy.attribute import ClosedQuestion, Level
from vqa_ray.taxonomy.image_tags import ChoiceScore, ImageTags
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.types import Usage


@dataclass(frozen=True, slots=True)
class TagConfig:
    """Configuration of `TagStage`.

    Attributes:
        model: the model, and how to load and prompt it.
        taxonomy: the attributes and choices.
        version: of the columns, see `schema.tag_schema`.
        further: the models that the taxonomy names, see `further_models`; None opens them.
    """

    model: ModelOptions
    taxonomy: Taxonomy
    version: int = schema.COLUMNS_VERSION
    further: Mapping[str, ModelOptions] | None = None


@dataclass(slots=True)
class _Asked:
    """What is known about an image.

    Attributes:
        scores: attribute → (choice, score) of the choices that were asked about.
        nearest: attribute → its shortlist, the nearest first.
        warnings: of the models.
        usages: of the models' answers.
        tags: by these scores.
    """

    tags: ImageTags
    scores: dict[str, list[ChoiceScore]] = field(default_factory=dict)
    nearest: dict[str, list[str]] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    usages: list[Usage | None] = field(default_factory=list)


class _Questions(NamedTuple):
    """What is asked about a level: its questions on some of its choices, on all of them for None."""

    level: Level
    names: Sequence[str] | None
    questions: Sequence[ClosedQuestion]


class TagStage:
    """A `map_batches` callable that holds the models of a taxonomy.

    Questions go to the models in waves: all that are known to apply to an image, of all images of a batch, then those
    that apply by these answers. So a question that does not apply is never asked, and a taxonomy without conditions or
    children is one wave. An image that several rows of a batch show goes once.

    Args:
        config: see `TagConfig`.
        attempt: the number of times these rows have been tried, this one included.

    Raises:
        ModelLoadError: a model cannot be loaded.
        RequestError: a choice is not in a model's vocabulary.
    """

    def __init__(self, config: TagConfig, attempt: int = 1) -> None:
        self._taxonomy = config.taxonomy
        further = further_models(self._taxonomy, config.model) if config.further is None else config.further
        self._models = TagModels(self._taxonomy, config.model, further)
        self._model_of = {each.name: each.model for each in self._taxonomy.attributes}
        self._whole = {
            (level.attribute, level.parent): _Questions(level, None, level.questions())
            for each in self._taxonomy.attributes
            if each.shortlist is None
            for level in each.levels
        }
        self._nothing = self._taxonomy.given({})
        form = self._taxonomy.output_schema(config.version)
        self._form = with_usage(form) if config.model.reports_usage else form
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Tag a DECODED table (with kept columns): as many rows, in the same order."""

        def tag(rows: list[int]) -> list[_Asked]:
            return self._tag(table, rows)

        tagged, failures = bisect_failures(tag, schema.ok_rows(table).tolist())
        output = schema.with_kept(self._form, kept_fields(table))
        return assemble(output, table, self._columns(tagged), failures, self._attempt)

    def _tag(self, table: pa.Table, rows: Sequence[int]) -> list[_Asked]:
        """Tag each row; every distinct image is asked about once."""
        groups = image_groups(table, rows)
        first = [group.rows[0] for group in groups]
        sizes = [(table["source_height"][row].as_py(), table["source_width"][row].as_py()) for row in first]
        found = [_Asked(self._nothing) for _ in groups]
        while waiting := {place: each.tags.open for place, each in enumerate(found) if each.tags.open}:
            for model in dict.fromkeys(self._model_of[level.attribute] for each in waiting.values() for level in each):
                of_model = {
                    place: [level for level in levels if self._model_of[level.attribute] == model]
                    for place, levels in waiting.items()
                }
                self._ask(model, groups, sizes, {place: levels for place, levels in of_model.items() if levels}, found)
            for place in waiting:
                found[place].tags = self._taxonomy.given(found[place].scores)
        by_row = {row: each for group, each in zip(groups, found, strict=True) for row in group.rows}
        return [by_row[row] for row in rows]

    def _ask(
        self,
        model: str | None,
        groups: Sequence[ImageGroup],
        sizes: Sequence[Size],
        waiting: Mapping[int, Sequence[Level]],
        found: Sequence[_Asked],
    ) -> None:
        """Ask a model about levels of images: place among the groups → levels."""
        images = [group.image for group in groups]
        for name, encoder in self._models.shortlists.items():
            places = [place for place, levels in waiting.items() if any(level.attribute == name for level in levels)]
            if places:
                nearest = encoder.nearest([images[place] for place in places], [sizes[place] for place in places])
                for place, names in zip(places, nearest, strict=True):
                    found[place].nearest[name] = names
        asked = {place: [self._questions(level, found[place]) for level in levels] for place, levels in waiting.items()}
        scored = self._models.score(
            model,
            [images[place] for place in asked],
            [sizes[place] for place in asked],
            [
                [_worded(question, groups[place]) for each in levels for question in each.questions]
                for place, levels in asked.items()
            ],
        )
        for (place, levels), answers in zip(asked.items(), scored, strict=True):
            scores = iter([each.scores for each in answers])
            for each in levels:
                found[place].scores.setdefault(each.level.attribute, []).extend(each.level.scored(scores, each.names))
            found[place].warnings |= {each.warning: None for each in answers if each.warning}
            found[place].usages += [each.usage for each in answers]

    def _questions(self, level: Level, asked: _Asked) -> _Questions:
        nearest = asked.nearest.get(level.attribute)
        if nearest is None:
            return self._whole[level.attribute, level.parent]
        ordered = self._models.shortlists[level.attribute].ordered(nearest)
        return _Questions(level, ordered, level.questions(ordered))

    def _columns(self, tagged: Mapping[int, _Asked]) -> dict[str, Mapping[int, Any]]:
        columns: dict[str, dict[int, Any]] = {
            "tags": {row: list(each.tags.tags) for row, each in tagged.items()},
            "tag_scores": {row: tag_scores(each.tags) for row, each in tagged.items()},
            "warning": {row: "; ".join(each.warnings) or None for row, each in tagged.items()},
            **usage_columns({row: each.usages for row, each in tagged.items()}),
        }
        for name in self._nothing.columns:
            columns[name] = {row: each.tags.columns[name] for row, each in tagged.items()}
        for name in self._models.shortlists:
            columns[f"{name}_rank"] = {row: _rank(each, name) for row, each in tagged.items()}
        return dict(columns)


def _worded(question: ClosedQuestion, group: ImageGroup) -> ClosedQuestion:
    text = group.word(question.question)
    return question if text == question.question else replace(question, question=text)


def _rank(asked: _Asked, attribute: str) -> int | None:
    """Return the place in the shortlist, from 1, of the choice with the best score; None where none was asked about."""
    scores = asked.scores.get(attribute)
    return asked.nearest[attribute].index(max(scores, key=lambda pair: pair[1])[0]) + 1 if scores else None


def tag_scores(tags: ImageTags) -> list[dict[str, str | float]]:
    """Return a cell of `schema.TAG_SCORES`."""
    return [
        {"attribute": attribute, "choice": choice, "score": score}
        for attribute, choices in tags.scores.items()
        for choice, score in choices
    ]
