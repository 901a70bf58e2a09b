"""Decide the tags of a written `tag` table again from its scores, without a model or images.

Where other thresholds make an attribute apply, or lead to a choice with choices below it, that the run did not ask
about, the tags end there, and the row's `warning` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.errors import RequestError, RunError
from vqa_ray.stages.tag import tag_scores
from vqa_ray.taxonomy.attribute import Attribute
from vqa_ray.taxonomy.image_tags import ChoiceScore, ImageTags
from vqa_ray.taxonomy.taxonomy import Taxonomy

KEPT_SCORES = schema.TAG_SCORES.name
_SHOWN = 5

Scores = Mapping[tuple[str, str], float]


class Rethreshold:
    """A callable that gives a table of a `tag` run the tags of another taxonomy, or of other thresholds.

    Args:
        taxonomy: the attributes, choices and thresholds; the run must have a score of each choice.
        columns: the schema of the run; the user's kept columns stay as they are.

    Raises:
        RequestError: the run has no scores, or a kept column has the name of an attribute's column.
    """

    def __init__(self, taxonomy: Taxonomy, columns: pa.Schema) -> None:
        if KEPT_SCORES not in columns.names:
            raise RequestError(
                f"the run has no column {KEPT_SCORES!r}: an earlier version made it, without the score of every "
                "choice; run `vqa-ray tag` on the images again"
            )
        kept = list(columns)[columns.get_field_index(schema.SOURCE_KEY.name) + 1 :]
        taxonomy.check_kept([field.name for field in kept])
        self._taxonomy = taxonomy
        self.schema = schema.with_kept(taxonomy.output_schema(), kept)
        self._ranks = [f"{each.name}_rank" for each in taxonomy.attributes if each.shortlist is not None]

    def check(self, table: pa.Table, where: str) -> bool:
        """Check the first tagged row for a score of every choice that was to be asked; False where no row is tagged.

        Raises:
            RequestError: names the choices without a score, and the choices with one.
        """
        cells = table.filter(pc.equal(table["status"], schema.STATUS_OK))[KEPT_SCORES].drop_null()
        if not len(cells):
            return False
        scores = _scores(cells[0].as_py())
        for attribute in self._taxonomy.attributes:
            lacking = _lacking(attribute, scores)
            if lacking:
                known = [choice for name, choice in scores if name == attribute.name]
                others = dict.fromkeys(name for name, _ in scores)
                has = (
                    f"its choices there are {_named(known)}" if known else f"its attributes are {_named(list(others))}"
                )
                raise RequestError(
                    f"{where}: attribute {attribute.name!r}: the run has no score of {_named(lacking)}; {has}; "
                    "run `vqa-ray tag` for new choices"
                )
        return True

    def __call__(self, table: pa.Table) -> pa.Table:
        """Decide the tags of a table: as many rows, in the same order; failed rows stay as they are.

        Raises:
            RunError: a tagged row lacks the score of a choice.
        """
        tagged = [
            self._given(cell, key) if status == schema.STATUS_OK else None
            for cell, status, key in zip(
                table[KEPT_SCORES].to_pylist(),
                table["status"].to_pylist(),
                table[schema.SOURCE_KEY.name].to_pylist(),
                strict=True,
            )
        ]
        warnings = [_warning(each, was) for each, was in zip(tagged, table["warning"].to_pylist(), strict=True)]
        made: dict[str, list[Any]] = {
            "warning": warnings,
            "tags": [None if each is None else list(each.tags) for each in tagged],
            KEPT_SCORES: [None if each is None else tag_scores(each) for each in tagged],
        }
        for column in self._taxonomy.given({}).columns:
            made[column] = [None if each is None else each.columns[column] for each in tagged]
        # The shortlist is that of the run; a run without one has no rank.
        made |= {name: [None] * len(tagged) for name in self._ranks if name not in table.column_names}
        arrays = [
            pa.array(made[field.name], field.type) if field.name in made else table[field.name] for field in self.schema
        ]
        return pa.table(arrays, schema=self.schema)

    def _given(self, cell: Sequence[Mapping[str, Any]] | None, key: int) -> ImageTags:
        scores = _scores(cell or ())
        by_attribute: dict[str, list[ChoiceScore]] = {}
        for attribute in self._taxonomy.attributes:
            if lacking := _lacking(attribute, scores):
                raise RunError(f"row {key} of the run has no score of {attribute.name}:{lacking[0]}")
            places = [(attribute.name, choice) for choice in attribute.paths]
            by_attribute[attribute.name] = [(place[1], scores[place]) for place in places if place in scores]
        return self._taxonomy.given(by_attribute)


def changed_tags(before: pa.Table, after: pa.Table) -> int:
    """Count the rows whose tags differ between two tables of the same rows, whatever the order of the tags."""
    pairs = zip(before["tags"].to_pylist(), after["tags"].to_pylist(), strict=True)
    return sum(set(old or ()) != set(new or ()) for old, new in pairs)


def _lacking(attribute: Attribute, scores: Scores) -> list[str]:
    """List the choices without a score that were asked together with others, or are asked of every image."""
    if attribute.shortlist is not None:
        return []
    lacking: list[str] = []
    for level in attribute.levels:
        without = [choice for choice in level.choices if (attribute.name, choice) not in scores]
        if len(without) < len(level.choices) or (level.parent is None and attribute.when is None):
            lacking += without
    return lacking


def _warning(tags: ImageTags | None, warning: str | None) -> str | None:
    """Add to a row's warning what applies by the new thresholds and was never asked."""
    names = dict.fromkeys(level.attribute for level in tags.open) if tags is not None else ()
    unasked = [f"{name} applies by these thresholds and was not asked" for name in names]
    return "; ".join([*([warning] if warning else []), *unasked]) or None


def _scores(cell: Sequence[Mapping[str, Any]]) -> Scores:
    return {(each["attribute"], each["choice"]): each["score"] for each in cell if each["score"] is not None}


def _named(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(repr(word) for word in words[:_SHOWN]) + more
