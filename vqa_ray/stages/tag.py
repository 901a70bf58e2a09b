"""The stage that tags images: DECODED tables in, TAG tables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import RowError
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages import model_stage as batch
from vqa_ray.stages.answer import limit_threads
from vqa_ray.taxonomy.image_tags import ImageTags
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.types import ChoiceScores


@dataclass(frozen=True, slots=True)
class _Tagged:
    tags: ImageTags
    warning: str | None


class TagStage:
    """A `map_batches` callable that holds one loaded model and a taxonomy.

    All questions of an image go to the model in one call, and an image that several rows of a batch show goes once.

    Args:
        model: which one, and how it is loaded and asked.
        taxonomy: what to tag.
        version: of the columns, see `schema.tag_schema`.
        attempt: how many times these rows have been tried, counting this one.
        threads: CPU threads for the model; None leaves the process as it is.

    Raises:
        ModelLoadError: the model cannot be loaded.
        RequestError: the model cannot say one of the choices.
    """

    def __init__(
        self,
        model: ModelOptions,
        taxonomy: Taxonomy,
        *,
        version: int = schema.COLUMNS_VERSION,
        attempt: int = 1,
        threads: int | None = None,
    ) -> None:
        limit_threads(threads)
        self._model = model.load()
        taxonomy.check_against(self._model, model.reference)
        self._taxonomy = taxonomy
        self._questions = taxonomy.questions()
        self._form = schema.tag_schema(taxonomy.columns, version)
        self._attempt = attempt

    def __call__(self, table: pa.Table) -> pa.Table:
        """Tag a DECODED table (with kept columns): as many rows, in the same order."""

        def tag(rows: list[int]) -> list[_Tagged]:
            return self._tag(table, rows)

        results = batch.bisect_failures(tag, batch.ok_rows(table))
        tagged = {row: result for row, result in results.items() if not isinstance(result, RowError)}
        output = schema.with_kept(self._form, batch.kept_fields(table))
        return batch.assemble(output, table, self._columns(tagged), batch.failures_of(results), self._attempt)

    def _tag(self, table: pa.Table, rows: Sequence[int]) -> list[_Tagged]:
        """The tags of each row; every distinct image is scored once."""
        groups = batch.image_groups(table, rows)
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
    """A cell of `schema.TAG_SCORES`."""
    return [
        {"attribute": attribute, "choice": choice, "score": score}
        for attribute, choices in tags.scores.items()
        for choice, score in choices
    ]


def _warning(scored: Sequence[ChoiceScores]) -> str | None:
    """What the image's questions lived through, each warning once however many questions gave it."""
    return "; ".join(dict.fromkeys(each.warning for each in scored if each.warning)) or None
