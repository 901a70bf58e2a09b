"""Decide the tags of a written `tag` table again from its scores, without a model or images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.errors import RequestError, RunError
from vqa_ray.stages.tag import tag_scores
from vqa_ray.taxonomy.image_tags import ImageTags
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
        self.schema = schema.with_kept(schema.tag_schema(taxonomy.columns), kept)

    def check(self, table: pa.Table, where: str) -> bool:
        """Check the first tagged row for a score of every choice; False where no row is tagged.

        Raises:
            RequestError: names the choices without a score, and the choices with one.
        """
        cells = table.filter(pc.equal(table["status"], schema.STATUS_OK))[KEPT_SCORES].drop_null()
        if not len(cells):
            return False
        scores = _scores(cells[0].as_py())
        for attribute in self._taxonomy.attributes:
            lacking = [choice for choice in attribute.choices if (attribute.name, choice) not in scores]
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
        made: dict[str, list[Any]] = {
            "tags": [None if each is None else list(each.tags) for each in tagged],
            KEPT_SCORES: [None if each is None else tag_scores(each) for each in tagged],
        }
        for attribute in self._taxonomy.attributes:
            for column in attribute.columns:
                made[column] = [None if each is None else each.columns[column] for each in tagged]
        arrays = [
            pa.array(made[field.name], field.type) if field.name in made else table[field.name] for field in self.schema
        ]
        return pa.table(arrays, schema=self.schema)

    def _given(self, cell: Sequence[Mapping[str, Any]] | None, key: int) -> ImageTags:
        scores = _scores(cell or ())
        try:
            return self._taxonomy.given(
                {
                    each.name: [(choice, scores[each.name, choice]) for choice in each.choices]
                    for each in self._taxonomy.attributes
                }
            )
        except KeyError as error:
            raise RunError(f"row {key} of the run has no score of {':'.join(error.args[0])}") from error


def changed_tags(before: pa.Table, after: pa.Table) -> int:
    """Count the rows whose tags differ between two tables of the same rows, whatever the order of the tags."""
    pairs = zip(before["tags"].to_pylist(), after["tags"].to_pylist(), strict=True)
    return sum(set(old or ()) != set(new or ()) for old, new in pairs)


def _scores(cell: Sequence[Mapping[str, Any]]) -> Scores:
    return {(each["attribute"], each["choice"]): each["score"] for each in cell if each["score"] is not None}


def _named(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(repr(word) for word in words[:_SHOWN]) + more
