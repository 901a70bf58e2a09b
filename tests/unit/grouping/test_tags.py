"""The tags of several photos, combined by each rule."""

from __future__ import annotations

from typing import Any

import pytest

from vqa_ray.grouping.rule import Rule
from vqa_ray.grouping.tags import TagCombiner
from vqa_ray.taxonomy.taxonomy import Taxonomy

TAXONOMY = Taxonomy.model_validate(
    {
        "attributes": [
            {"name": "kind", "question": "what?", "choices": ["mug", "dress"]},
            {"name": "motif", "question": "{choice}?", "choices": ["dog", "cat"], "mode": "yes_no", "multi": True},
            {"name": "sleeve", "question": "sleeve?", "choices": ["long", "short"], "when": "kind = dress"},
        ]
    }
)


def photo(mug: float, dog: float, cat: float, sleeve: float | None = None) -> dict[str, Any]:
    scores = {("kind", "mug"): mug, ("kind", "dress"): 1 - mug, ("motif", "dog"): dog, ("motif", "cat"): cat}
    if sleeve is not None:
        scores |= {("sleeve", "long"): sleeve, ("sleeve", "short"): 1 - sleeve}
    by_attribute: dict[str, list[tuple[str, float]]] = {}
    for (attribute, choice), score in scores.items():
        by_attribute.setdefault(attribute, []).append((choice, score))
    tags = TAXONOMY.given(by_attribute)
    cells = [{"attribute": a, "choice": c, "score": s} for (a, c), s in scores.items()]
    return {"tags": list(tags.tags), "tag_scores": cells}


@pytest.mark.parametrize(
    ("rule", "kind", "motif"),
    [("any", "mug", ["dog", "cat"]), ("max", "mug", ["dog", "cat"]), ("all", "mug", []), ("mean", "mug", ["cat"])],
)
def test_scores_are_combined_and_the_taxonomy_decides(rule: Rule, kind: str, motif: list[str]) -> None:
    photos = [photo(0.9, 0.95, 0.7), photo(0.6, 0.0, 0.8), photo(0.8, 0.0, 0.4)]
    found = TagCombiner(rule, TAXONOMY).combine(photos)
    assert (found["kind"], found["motif"]) == (kind, motif)
    assert found["sleeve_reason"] == "not_asked"
    assert found["tags"] == [f"kind:{kind}", *(f"motif:{each}" for each in motif)]


def test_a_vote_counts_photos_and_not_scores() -> None:
    photos = [photo(0.51, 0.9, 0.9), photo(0.52, 0.0, 0.9), photo(0.0, 0.0, 0.0, 0.9)]
    found = TagCombiner("vote", TAXONOMY).combine(photos)
    assert (found["kind"], found["kind_score"]) == ("mug", pytest.approx(2 / 3))
    assert (found["motif"], found["motif_score"]) == (["cat"], [pytest.approx(2 / 3)])


def test_a_photo_that_an_attribute_was_not_asked_of_has_no_say() -> None:
    photos = [photo(0.4, 0.0, 0.0, 0.8), photo(0.6, 0.0, 0.0), photo(0.0, 0.0, 0.0, 0.6)]
    found = TagCombiner("mean", TAXONOMY).combine(photos)
    assert (found["kind"], found["sleeve"], found["sleeve_score"]) == ("dress", "long", pytest.approx(0.7))
