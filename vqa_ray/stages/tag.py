"""The stage that tags images: DECODED tables in, TAG tables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.model_stage import assemble, bisect_failures, image_groups, kept_fields
from vqa_ray.taxonomy.image_tags import ImageTags
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.types import ChoiceScores


@dataclass(frozen=True, slots=True)
class TagConfig:
    """Configuration of `TagStage`.

    Attributes:
        model: the model, and how to load and prompt it.
        taxonomy: the attributes and choices.
        version: of the columns, see `schema.tag_schema`.
    """

    model: ModelOptions
    taxonomy: Taxonomy
    version: int = schema.COLUMNS_VERSION


@dataclass(frozen=True, slots=True)
class _Tagged:
    tags: ImageTags
    warning: str | None


class TagStage:
    """A `map_batches` callable that holds one loaded model and a taxonomy.

    All questions of an image go to the model in one call, and an image that several rows of a batch show goes once.

    Args:
        config: see `TagConfig`.
        attempt: the number of times these rows have been tried, this one included.

    Raises:
        ModelLoadError: the model cannot be loaded.
        RequestError: a choice is not in the model's vocabulary.
    """

    def __init__(self, config: TagConfig, attempt: int = 1) -> None:
        self._model = config.model.load()
        self._taxonomy = config.taxonomy
        self._taxonomy.check_against(self._model, config.model.reference)
        self._questions = self._taxonomy.questions()
        self._form = schema.tag_schema(self._taxonomy.columns, config.version)
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Tag a DECODED table (with kept columns): as many rows, in the same order."""

        def tag(rows: list[int]) -> list[_Tagged]:
            return self._tag(table, rows)

        tagged, failures = bisect_failures(tag, schema.ok_rows(table).tolist())
        output = schema.with_kept(self._form, kept_fields(table))
        return assemble(output, table, self._columns(tagged), failures, self._attempt)

    def _tag(self, table: pa.Table, rows: Sequence[int]) -> list[_Tagged]:
        """Tag each row; every distinct image is scored once."""
        groups = image_groups(table, rows)
        scores = self._model.score(
            [group.image for group in groups],
            [[each.question for each in self._questions]] * len(groups),
            [[each.choices for each in self._questions]] * len(groups),
        )
        by_row: dict[int, _Tagged] = {}
        for group, scored in zip(groups, scores, strict=True):
            tagged = _Tagged(self._taxonomy.tags([each.scores for each in scored]), _warning(scored))
            by_row |= dict.fromkeys(group.rows, tagged)
        return [by_row[row] for row in rows]

    def _columns(self, tagged: Mapping[int, _Tagged]) -> dict[str, Mapping[int, Any]]:
        columns: dict[str, Mapping[int, Any]] = {
            "tags": {row: list(each.tags.tags) for row, each in tagged.items()},
            "tag_scores": {row: tag_scores(each.tags) for row, each in tagged.items()},
            "warning": {row: each.warning for row, each in tagged.items()},
        }
        for attribute in self._taxonomy.attributes:
            for column in attribute.columns:
                columns[column] = {row: each.tags.columns[column] for row, each in tagged.items()}
        return columns


def tag_scores(tags: ImageTags) -> list[dict[str, str | float]]:
    """Return a cell of `schema.TAG_SCORES`."""
    return [
        {"attribute": attribute, "choice": choice, "score": score}
        for attribute, choices in tags.scores.items()
        for choice, score in choices
    ]


def _warning(scored: Sequence[ChoiceScores]) -> str | None:
    """Join the distinct warnings of an image's questions; None for none."""
    return "; ".join(dict.fromkeys(each.warning for each in scored if each.warning)) or None
