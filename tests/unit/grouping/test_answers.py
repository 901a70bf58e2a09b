"""The answers about several photos, combined by each rule."""

from __future__ import annotations

from typing import Any

import pytest

from vqa_ray.errors import RowError
from vqa_ray.grouping.answers import AnswerCombiner
from vqa_ray.grouping.rule import Rule


def rows(*answers: tuple[str, float | None]) -> list[dict[str, Any]]:
    return [
        {"answer": text, "answer_score": score, "answers": [{"answer": text, "score": score}]}
        for text, score in answers
    ]


def combined(rule: Rule, given: list[dict[str, Any]]) -> tuple[str, float | None]:
    cells = AnswerCombiner(rule).combine(given)
    return cells["answer"], cells["answer_score"]


@pytest.mark.parametrize(
    ("rule", "answers", "wanted"),
    [
        ("any", (("no", 0.9), ("Yes", 0.6), ("yes", 0.7)), ("yes", 0.7)),
        ("any", (("no", 0.9), ("no", 0.8)), ("no", 0.8)),
        ("all", (("yes", 0.9), ("yes", 0.8)), ("yes", 0.8)),
        ("all", (("yes", 0.9), ("no", 0.5), ("no", 0.6)), ("no", 0.6)),
        ("any", (("no", None), ("yes", None)), ("yes", None)),
        ("max", (("red", 0.2), ("blue", 0.9), ("red", 0.3)), ("blue", 0.9)),
        ("vote", (("red", 0.2), ("blue", 0.9), ("Red.", 0.3)), ("red", 2 / 3)),
        ("vote", (("red", 0.2), ("blue", 0.9)), ("blue", 0.5)),
        ("vote", (("red", None), ("blue", None), ("blue", None)), ("blue", 2 / 3)),
    ],
)
def test_rules(rule: Rule, answers: Any, wanted: tuple[str, float | None]) -> None:
    assert combined(rule, rows(*answers)) == wanted


def test_a_mean_counts_every_answer_that_a_photo_has_kept() -> None:
    given = rows(("red", 0.6), ("blue", 0.5))
    given[0]["answers"].append({"answer": "blue", "score": 0.4})
    assert combined("mean", given) == ("blue", pytest.approx(0.45))


def test_what_a_rule_cannot_combine_is_an_error() -> None:
    with pytest.raises(RowError, match="--combine any takes answers yes and no; a photo's is 'red'"):
        combined("any", rows(("yes", 0.9), ("red", 0.1)))
    with pytest.raises(RowError, match="--combine max compares scores; a photo's answer has none"):
        combined("max", rows(("red", 0.9), ("red", None)))
