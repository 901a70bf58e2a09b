"""Tags and retrieval against scikit-learn and by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score, precision_recall_fscore_support

from tests.helpers.judged_rows import judge_all, measure
from vqa_ray.evaluation.bootstrap import bootstrap_intervals
from vqa_ray.evaluation.protocol import Protocol
from vqa_ray.evaluation.ranked_queries import RankedQueries
from vqa_ray.evaluation.ranking import RankedList
from vqa_ray.evaluation.registry import protocol

TAGS = ("blue", "green", "red")


def labels(said: Any, true: Any, scores: Any = None, attribute: str | None = None) -> tuple[Any, dict[str, Any]]:
    return said, {"labels": true, "scores": scores, "attribute": attribute}


def test_tags_equal_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    said, true = draw.random((2, 200, 3)) < [[[0.4, 0.2, 0.5]]]
    scores = np.where(said, 0.5 + draw.random((200, 3)) / 2, draw.random((200, 3)) / 2).round(2)
    cases = [
        labels(
            [tag for tag, is_said in zip(TAGS, s, strict=True) if is_said],
            [tag for tag, is_true in zip(TAGS, t, strict=True) if is_true],
            dict(zip(TAGS, map(float, c), strict=True)),
        )
        for s, t, c in zip(said, true, scores, strict=True)
    ]
    found = measure(protocol("tags"), cases)
    for average in ("micro", "macro"):
        wanted = precision_recall_fscore_support(true, said, average=average)[:3]
        assert [found[f"{kind}_{average}"] for kind in ("precision", "recall", "f1")] == pytest.approx(wanted)
    each = np.array(precision_recall_fscore_support(true, said)[:3])
    assert [found[f"f1[{tag}]"] for tag in TAGS] == pytest.approx(each[2])
    assert found["map"] == pytest.approx(average_precision_score(true, scores, average="macro"))
    assert found["exact_match"] == pytest.approx((said == true).all(axis=1).mean())


def test_tags_of_attributes_with_absent_rows_and_labels_that_are_never_true() -> None:
    cases = [
        labels(["red"], ["red"], {"red": 0.9, "blue": 0.1}, "colour"),
        labels(["red", "pink"], ["blue"], {"red": 0.8, "blue": None}, "colour"),
        labels(None, ["blue"], None, "colour"),
        labels(["red"], "red", None, "mood"),  # the same word of another attribute
        labels([], [], None, "mood"),
    ]
    found = measure(protocol("tags"), cases)
    assert found["exact_match"] == 3 / 5
    assert (found["precision[colour=red]"], found["recall[colour=red]"]) == (0.5, 1.0)
    assert np.isnan(found["precision[colour=blue]"])
    assert (found["recall[colour=blue]"], found["f1[mood=red]"]) == (0.0, 1.0)
    assert (found["precision_micro"], found["recall_micro"]) == (2 / 4, 2 / 4)
    assert found["precision_macro"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert found["average_precision[colour=red]"] == 1.0
    assert found["map"] == pytest.approx((1.0 + average_precision_score([0, 1, 1], [0.1, -1, -1])) / 2)


def test_intervals_of_tags_at_their_limit_are_of_the_rows_of_the_tag() -> None:
    cases = [labels(["red"], ["red"], None, "colour")] * 3 + [labels(["blue"], ["blue"], None, "colour")] * 17
    rows = judge_all(made := protocol("tags"), cases)
    found, _ = bootstrap_intervals(made, rows, np.arange(20), 0)
    of_all, of_red = found["f1_micro"], found["precision[colour=red]"]
    assert of_all[1] == of_red[1] == found["recall[colour=blue]"][1] == 1.0
    assert of_red[0] < 0.25
    assert 0.7 < found["recall[colour=blue]"][0] < of_all[0] < 1.0


def test_retrieval_without_scores_is_told() -> None:
    rows = judge_all(made := protocol("retrieval"), ranked((True, None, 1), (False, 0.5, 0)))
    assert made.notes(rows)[0].startswith("1 of 2 rows have no score and come last")


def test_a_weight_counts_as_often_as_the_row_repeated() -> None:
    cases = [labels(["red"], ["red"], {"red": 0.3}), labels(["red"], ["blue"], {"red": 0.6}), labels([], ["red"])]
    rows = judge_all(made := protocol("tags"), cases)
    weighted = made.measures(rows, np.array([2.0, 1.0, 0.0]))
    assert weighted == pytest.approx(measure(protocol("tags"), [cases[0], cases[0], cases[1]]) | {}, nan_ok=True)


@pytest.mark.parametrize(("value", "message"), [(None, "none given"), ([3], "3 among them")])
def test_labels_that_cannot_be_used_are_named(value: Any, message: str) -> None:
    made = protocol("tags")
    made.fit([{"labels": value}, {"labels": ["red"]}])  # passed over
    with pytest.raises(ValueError, match=message):
        made.judge(["red"], {"labels": value})


def ranked(*rows: tuple[Any, Any, int], query: str | None = None) -> list[tuple[Any, dict[str, Any]]]:
    return [(said, {"relevant": relevant, "scores": score, "query": query}) for said, score, relevant in rows]


def test_retrieval_by_hand() -> None:
    dogs = ranked((True, 0.9, 1), (True, 0.8, 0), (False, 0.2, 1), (None, None, 1), query="dog")
    cats = ranked((True, 0.3, 0), (False, None, 1), query="cat")
    none = ranked((False, 0.1, 0), query="bird")
    found = measure(protocol("retrieval"), [*cats, *dogs, *none])
    assert found["precision@1"] == pytest.approx((1 + 0) / 2)
    assert found["recall@1"] == pytest.approx((1 / 3 + 0) / 2)
    assert found["precision@5"] == pytest.approx((3 / 5 + 1 / 5) / 2)
    assert found["recall@5"] == 1.0
    assert found["map"] == pytest.approx(((1 + 2 / 3 + 3 / 4) / 3 + 1 / 2) / 2)
    gains = [1, 1 / np.log2(3), 1 / np.log2(4), 1 / np.log2(5)]
    assert found["ndcg@10"] == pytest.approx(((gains[0] + gains[2] + gains[3]) / sum(gains[:3]) + gains[1]) / 2)
    assert found["accuracy"] == pytest.approx(2 / 7)


def test_retrieval_without_anything_to_find_is_undefined() -> None:
    found = measure(protocol("retrieval"), ranked((True, 0.5, 0)))
    assert np.isnan(found["map"])
    assert found["accuracy"] == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.5, 0.9]), st.integers(0, 3)), min_size=1))
def test_average_precision_is_that_of_scikit_learn(items: list[tuple[bool, float, int]]) -> None:
    relevant, scores, weight = (np.array(column) for column in zip(*items, strict=True))
    ours = RankedList(relevant, scores).average_precision(weight.astype(float))
    if weight[relevant].any():
        assert ours == pytest.approx(average_precision_score(relevant, scores, sample_weight=weight))
    else:
        assert np.isnan(ours)


def test_ties_count_against_the_relevant_ones() -> None:
    ranked = RankedQueries(np.zeros(2, np.intp), np.array([True, False]), np.array([0.5, 0.5]))
    found = ranked.measures(np.ones(2), (1, 2, 5), 10)
    assert [(found[f"precision@{k}"], found[f"recall@{k}"]) for k in (1, 2, 5)] == [(0.0, 0.0), (0.5, 1.0), (0.2, 1.0)]


ITEMS = st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from([0.1, 0.5, 0.9]), st.integers(0, 3))


@settings(deadline=None)
@given(st.lists(ITEMS, min_size=1))
def test_measures_of_queries_are_the_means_of_scikit_learn_over_repeated_rows(
    items: list[tuple[int, bool, float, int]],
) -> None:
    query, relevant, scores, weight = (np.array(column) for column in zip(*items, strict=True))
    numbers = np.unique(query, return_inverse=True)[1]
    found = RankedQueries(numbers, relevant, scores).measures(weight.astype(float), (1, 3), 2)
    each = []
    for number in range(numbers.max() + 1):
        at = np.repeat(np.flatnonzero(numbers == number), weight[numbers == number])
        if relevant[at].any():
            gain = ndcg_score([relevant[at]], [scores[at]], k=2) if len(at) > 1 else 1.0
            first = relevant[at][np.lexsort((relevant[at], -scores[at]))]
            among = [(first[:k].sum() / k, first[:k].sum() / first.sum()) for k in (1, 3)]
            each.append([average_precision_score(relevant[at], scores[at]), gain, *among[0], *among[1]])
    names = ["map", "ndcg@2", "precision@1", "recall@1", "precision@3", "recall@3"]
    means = np.mean(each, axis=0) if each else [float("nan")] * len(names)
    assert found == pytest.approx(dict(zip(names, means, strict=True)), nan_ok=True)


def test_a_weight_repeats_a_row_of_retrieval() -> None:
    rows = ranked((True, 0.9, 1), (True, 0.8, 0), (False, 0.7, 1))
    made: Protocol = protocol("retrieval")
    weighted = made.measures(judge_all(made, rows), np.array([1.0, 3.0, 0.0]))
    assert weighted == pytest.approx(measure(protocol("retrieval"), [rows[0], rows[1], rows[1], rows[1]]))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.5, 0.9, None]), st.booleans()), min_size=1))
def test_measures_of_retrieval_are_ratios(rows: list[tuple[bool, float | None, bool]]) -> None:
    for value in measure(protocol("retrieval"), ranked(*rows)).values():  # type: ignore[arg-type]
        assert np.isnan(value) or -1e-9 <= value <= 1 + 1e-9
