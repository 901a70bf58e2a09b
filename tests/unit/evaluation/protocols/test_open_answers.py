"""ANLS, relaxed accuracy, exact match and token F1."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.judged_rows import judge_all, measure
from vqa_ray.evaluation.registry import protocol

GOLD = Path(os.environ.get("VQA_RAY_TEST_DATA", "../shared/data")) / "eval_gold" / "anls"


@pytest.mark.skipif(not GOLD.is_dir(), reason="the official ANLS results are not at hand")
def test_anls_of_the_official_example() -> None:
    truth = json.loads((GOLD / "gold_label.json").read_text())["data"]
    said = {row["questionId"]: row["answer"] for row in json.loads((GOLD / "submission.json").read_text())}
    rows = judge_all(protocol("anls"), [(said[row["questionId"]], row) for row in truth])
    assert [round(float(score), 2) for score in rows.score] == [0, 0.89, 1, 0, 0]
    found = measure(protocol("anls"), [(said[row["questionId"]], row) for row in truth])["anls"]
    assert round(found, 3) == 0.378


@pytest.mark.parametrize(
    ("answer", "truth", "published", "competition"),
    [
        ("Coca  cola", ["coca cola"], 1.0, 1.0),
        ("ab", ["ax"], 0.0, 0.5),  # half of it is wrong
        ("", [""], 1.0, 1.0),
        ("", ["a"], 0.0, 0.0),
        ("cat", ["dog", "cats"], 0.75, 0.75),
        ("abcd", ["abce   "], 0.75, 1 - 1 / 7),  # lengths of raw texts
    ],
)
def test_anls_of_both_scripts(answer: str, truth: list[str], published: float, competition: float) -> None:
    assert measure(protocol("anls"), [(answer, {"answers": truth})])["anls"] == pytest.approx(published)
    assert measure(protocol("anls-rrc"), [(answer, {"answers": truth})])["anls"] == pytest.approx(competition)


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("10.5", "10", True),
        ("10.51", "10", False),
        ("-9.5", "-10", True),
        ("9.5", "-10", False),
        ("50%", "0.5", True),
        ("52%", "50%", True),
        ("50", "50%", False),
        ("1990", "2019", True),  # a year is a number
        ("0", "0", True),
        ("0.0", "0", False),  # nothing is within 5 % of 0: compared as text
        ("1,000", "1000", False),
        ("YES", "yes", True),
        ("yes.", "yes", False),
        ("12 cm", "12", False),
        ("nan", "5", False),
        ("NaN", "nan", True),
        ("INFINITY", "infinity", True),
        ("inf", "infinity", False),
        ("5", "blue", False),
    ],
)
def test_relaxed_accuracy(answer: str, truth: str, right: bool) -> None:
    assert measure(protocol("chartqa"), [(answer, {"answers": [truth]})])["relaxed_accuracy"] == 100 * right
    assert measure(protocol("chartqa"), [(answer, {"answers": ["other", truth]})])["relaxed_accuracy"] == 100 * right


@pytest.mark.parametrize(
    ("answer", "truth", "exact", "f1"),
    [
        ("The U.S.A.!", ["usa"], 1, 1.0),
        ("a red  dog", ["red dog", "x"], 1, 1.0),
        ("red dog", ["big red dog"], 0, 0.8),
        ("dog dog", ["dog"], 0, 2 / 3),
        ("cat", ["dog"], 0, 0.0),
        ("the", ["a"], 1, 1.0),  # no words on either side
        ("the", ["dog"], 0, 0.0),
    ],
)
def test_exact_match_and_token_f1(answer: str, truth: list[str], exact: int, f1: float) -> None:
    assert measure(protocol("exact-match"), [(answer, {"answers": truth})]) == {"exact_match": 100 * exact}
    found = measure(protocol("token-f1"), [(answer, {"answers": truth})])
    assert found == pytest.approx({"f1": 100 * f1, "exact_match": 100 * exact})


def test_rows_without_a_prediction_count_as_wrong() -> None:
    assert measure(protocol("anls"), [("a", {"answers": ["a"]}), (None, {"answers": ["a"]})]) == {"anls": 0.5}
    with pytest.raises(ValueError, match="no true answers: at least 1 is needed"):
        protocol("anls").judge_absent({"answers": []})


def test_texts_beyond_ascii_are_counted_and_named() -> None:
    cases = [("caf\u00e9", ["cafe\u0301"]), ("Über", ["über", "x"]), ("猫", ["猫"]), ("cat", ["dog"]), (None, ["猫"])]
    for name, right in (("exact-match", 2), ("vqa-v2", 1)):
        made = protocol(name)
        rows = judge_all(made, [(said, {"answers": truth}) for said, truth in cases])
        assert rows.score.sum() >= right  # e with an accent is not é
        (note, *_) = made.notes(rows)
        assert note.startswith("3 of 5 rows have texts beyond ASCII; the rules for articles")
        assert note.endswith("2 differ from a true answer in Unicode form (NFKC) or case alone")
    plain = judge_all(protocol("anls"), [("a", {"answers": ["a"]}), ("b", {"answers": ["ä"]})])
    assert protocol("anls").notes(plain)[0].endswith("are English")


NAMES = st.sampled_from(["anls", "anls-rrc", "chartqa", "exact-match", "token-f1"])


@settings(deadline=None)
@given(NAMES, st.text(max_size=12), st.lists(st.text(max_size=12), min_size=1, max_size=4), st.text(max_size=12))
def test_scores_are_bounded_and_more_true_answers_never_lower_them(name, answer, truth, another) -> None:  # type: ignore[no-untyped-def]
    made = protocol(name)
    score = made.judge(answer, {"answers": truth}).score
    assert 0 <= score <= made.judge(answer, {"answers": [*truth, another]}).score <= 1
    assert made.judge(answer, {"answers": truth[::-1]}).score == score
    if name.startswith(("exact", "token", "chart")):
        assert made.judge(truth[0], {"answers": truth}).score == 1
