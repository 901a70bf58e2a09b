"""Answer normalisation: the official table, the oddities one by one, and the invariant."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_ray.text import CONTRACTIONS, normalise

CASES = Path(os.environ.get("VQA_RAY_TEST_DATA", "../shared/data")) / "vqa_metric" / "vqa_metric_cases.json"


@pytest.mark.skipif(not CASES.exists(), reason="the official cases are not at hand")
def test_normalises_as_the_official_code_does() -> None:
    table = json.loads(CASES.read_text())["normalisation"]
    wrong = {each["raw"]: normalise(each["raw"]) for each in table if normalise(each["raw"]) != each["normalised"]}
    assert len(table) > 100
    assert wrong == {}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  Red\n", "red"),
        ("The U.S.", "us"),
        ("a", ""),
        ("None", "0"),
        ("two t-shirts", "2 t shirts"),
        ("half-pipe", "half pipe"),
        ("stop - sign", "stop sign"),
        ("half-pipe - big", "halfpipe big"),  # the mark touches a space somewhere, so it is deleted everywhere
        ("1,000/2", "10002"),  # digits with a comma: every mark is deleted
        ("right,side", "right side"),
        ("3.5", "3.5"),
        ("9.", "9"),
        ("10:30", "10:30"),
        ("dont", "don't"),
        ("Im", "im"),
        ("somebody'd", "somebodyd"),
        ("yalld've", "yalld've"),
        ("y'alld've", "y'all'd've"),
        ("." * 40, "." * 8),  # the flag that landed in the count of replacements
    ],
)
def test_oddities(raw: str, expected: str) -> None:
    assert normalise(raw) == expected


def test_a_contraction_gets_back_the_one_apostrophe_it_lost() -> None:
    assert CONTRACTIONS["couldnt've"] == CONTRACTIONS["couldn'tve"] == "couldn't've"
    assert not CONTRACTIONS.keys() & CONTRACTIONS.values()


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("aAnthe onw1230.,-';?!/ \n\tü"), max_size=30))
def test_normalising_twice_changes_nothing(answer: str) -> None:
    assert normalise(normalise(answer)) == normalise(answer)
