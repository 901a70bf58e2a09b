"""The tags of several photos, combined into those of one product."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa

from vqa_ray.grouping.rule import Row, Rule
from vqa_ray.schema import TAG_SCORES
from vqa_ray.taxonomy.attribute import Attribute
from vqa_ray.taxonomy.taxonomy import Taxonomy

_SCORES: Mapping[str, Callable[[Iterable[float]], float]] = {"any": max, "max": max, "all": min, "mean": fmean}
# A choice that half of the photos have is the product's, where it may have several; else the choice of most photos is.
_HALF, _SOME = 0.5, 1e-6
# A shortlist lacks the choices that are far from the image.
_FAR = 0.0


class TagCombiner:
    """Combines TAG rows by the scores of their choices; see `vqa_ray.grouping.rule.Combiner`.

    The score of a choice is the best of the photos (`any`, `max`), the least (`all`), their mean, or the share of the
    photos that have it (`vote`). The taxonomy's thresholds and conditions then decide, as for a single photo; of a
    vote, the majority. A photo that an attribute was not asked of has no say in it.

    Args:
        rule: the rule.
        taxonomy: of the run, with its thresholds.
    """

    def __init__(self, rule: Rule, taxonomy: Taxonomy) -> None:
        self.rule = rule
        self._taxonomy = _by_majority(taxonomy) if rule == "vote" else taxonomy
        self._multi = {each.name: each.multi for each in taxonomy.attributes}
        columns = taxonomy.given({}).columns
        own = [part for part in taxonomy.output_schema() if part.name in columns]
        self.form: tuple[pa.Field, ...] = (pa.field("tags", pa.list_(pa.string())), TAG_SCORES, *own)
        self.evidence: tuple[pa.Field, ...] = (pa.field("tags", pa.list_(pa.string())),)
        self.further: tuple[str, ...] = (TAG_SCORES.name,)

    def combine(self, rows: Sequence[Row]) -> dict[str, Any]:
        """See `Combiner.combine`."""
        photos = [_scores(row) for row in rows]
        given = [set(row["tags"]) for row in rows]
        scores: dict[str, list[tuple[str, float]]] = {}
        for attribute in self._taxonomy.attributes:
            asked = [place for place, photo in enumerate(photos) if attribute.name in photo]
            for choice in attribute.paths:
                of_photos = [photos[place][attribute.name].get(choice) for place in asked]
                if all(score is None for score in of_photos):
                    continue
                if self.rule == "vote":
                    score = fmean(f"{attribute.name}:{choice}" in given[place] for place in asked)
                else:
                    score = _SCORES[self.rule]([_FAR if each is None else each for each in of_photos])
                scores.setdefault(attribute.name, []).append((choice, float(np.float32(score))))
        tags = self._taxonomy.given(scores)
        cells = [
            {"attribute": name, "choice": choice, "score": score}
            for name, choices in tags.scores.items()
            for choice, score in choices
        ]
        return {"tags": list(tags.tags), TAG_SCORES.name: cells, **tags.columns}


def _scores(row: Row) -> dict[str, dict[str, float]]:
    """Return attribute → choice → score of a photo, without scores that are null."""
    scores: dict[str, dict[str, float]] = {}
    for each in row[TAG_SCORES.name] or ():
        if each["score"] is not None:
            scores.setdefault(each["attribute"], {})[each["choice"]] = each["score"]
    return scores


def _by_majority(taxonomy: Taxonomy) -> Taxonomy:
    def voted(attribute: Attribute) -> Attribute:
        return attribute.model_copy(update={"threshold": _HALF if attribute.multi else _SOME, "thresholds": {}})

    return Taxonomy(attributes=[voted(each) for each in taxonomy.attributes])
