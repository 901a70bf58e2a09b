"""Measures of yes/no answers and the two readings of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.evaluation.binary import binary_report, pope_said_yes, said_yes


def test_measures_of_a_hand_worked_table() -> None:
    pairs = [(True, True)] * 6 + [(True, False)] * 2 + [(False, True)] * 3 + [(False, False)] * 9
    report = binary_report(pairs)
    assert (report.n, report.accuracy, report.precision) == (20, 0.75, 0.75)
    assert report.recall == pytest.approx(6 / 9)
    assert report.f1 == pytest.approx(2 * 0.75 * (6 / 9) / (0.75 + 6 / 9))
    assert report.yes_ratio == 0.4


def test_ratios_of_nothing_are_zero() -> None:
    report = binary_report([(False, False)] * 3)
    assert (report.accuracy, report.precision, report.recall, report.f1) == (1.0, 0.0, 0.0, 0.0)


def test_no_answers_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 given, at least 1 needed"):
        binary_report([])


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_every_measure_is_a_ratio(pairs: list[tuple[bool, bool]]) -> None:
    report = binary_report(pairs)
    for value in (report.accuracy, report.precision, report.recall, report.f1, report.yes_ratio):
        assert 0 <= value <= 1
    assert min(report.precision, report.recall) - 1e-9 <= report.f1 <= max(report.precision, report.recall) + 1e-9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes, there is a dog.", True),
        ("No, there is not.", False),
        ("no", False),
        ("There is not, I think", False),
        ("NO", True),  # POPE looks for "No", "no" and "not" as they are written
        ("A dog. No cat.", True),  # the first sentence alone counts
        ("nothing", True),
        ("", True),
    ],
)
def test_pope_reads_free_text(text: str, expected: bool) -> None:
    assert pope_said_yes(text) is expected


@pytest.mark.parametrize("answer", ["Yes.", "yes", " YES"])
def test_said_yes(answer: str) -> None:
    assert said_yes(answer)


@pytest.mark.parametrize("answer", ["no", "dog", "", None])
def test_anything_else_is_no_yes(answer: str | None) -> None:
    assert not said_yes(answer)
