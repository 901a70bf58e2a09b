"""`vqa-ray compare`: evaluations with truth, runs without."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.helpers.evaluations import evaluated, write_evaluation
from tests.helpers.written_runs import write_run
from vqa_ray import schema
from vqa_ray.comparison.record import Comparison
from vqa_ray.evaluation.significance import mcnemar
from vqa_ray.jobs.cli import main
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.storage.atomic import write_bytes_atomic

TAGS = schema.tag_schema([("colour", False), ("motif", True)])


def answers(right: Sequence[bool], **more: Any) -> list[dict[str, Any]]:
    return [
        evaluated(
            f"q{n}", "mug" if each else "cup", "mug", kind="a" if n % 2 else "b", image_id=f"{n // 2}.jpg", **more
        )
        for n, each in enumerate(right)
    ]


def compared(*inputs: str | Path, output: Path, code: int = 0, more: Sequence[str] = ()) -> Comparison:
    assert main(["compare", *map(str, inputs), "--output", str(output), "--quiet", *more]) == code
    return Comparison.read(str(output))


def flipped(output: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(output / "rows").to_pylist())


def test_two_evaluations_of_the_same_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    first = rng.random(200) < 0.6
    second = np.where(rng.random(200) < 0.3, rng.random(200) < 0.9, first)
    write_evaluation(tmp_path / "base", answers(first.tolist()), by=["kind"])
    rows = answers(second.tolist(), confidence=0.5)
    write_evaluation(tmp_path / "tuned", [*rows[100:], *rows[:100]], by=["kind"])
    found = compared(tmp_path / "base", tmp_path / "tuned", output=tmp_path / "out")
    assert (found.kind, found.protocol, found.key, found.by) == ("evaluations", "exact-match", "question_id", ["kind"])
    assert [(each.name, each.rows) for each in found.inputs] == [("base", 200), ("tuned", 200)]
    [pair] = found.pairs
    head, *groups = pair.differences
    difference = 100 * (second.mean() - first.mean())
    assert (head.name, head.first, head.second) == ("exact_match", 100 * first.mean(), 100 * second.mean())
    assert head.difference == pytest.approx(difference)
    assert head.low is not None
    assert head.high is not None
    assert head.low < difference < head.high
    assert (head.n, head.clusters, head.method) == (200, 100, "analytic")
    assert [(each.group.value, each.n) for each in groups if each.group is not None] == [("a", 100), ("b", 100)]
    only = int((first & ~second).sum()), int((~first & second).sum())
    assert pair.mcnemar is not None
    assert (pair.mcnemar.first_only, pair.mcnemar.second_only) == only
    assert pair.mcnemar.p_value == mcnemar(*only)
    # Two questions of an image are not independent, so that the p-value is that of the clustered mean.
    assert pair.p_value == head.p_value == pair.adjusted_p_value
    assert next((each.first, each.second, each.ties) for each in pair.wins) == (*only, 200 - sum(only))
    rows = flipped(tmp_path / "out")
    assert pair.flipped == len(rows) == sum(only)
    assert {row["key"] for row in rows} == {f"q{n}" for n in np.flatnonzero(first != second)}
    assert all((row["first_prediction"] == "mug") == (row["first_score"] == 1) for row in rows)
    assert {(row["second_confidence"], row["first_confidence"], row["truth"]) for row in rows} == {(0.5, None, "mug")}
    assert {row["kind"] for row in rows} == {"a", "b"}
    assert "McNemar" in capsys.readouterr().out


def test_inputs_with_long_paths_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = "deep/" * 40
    places = [tmp_path / side / deep / "base" for side in ("one", "other", "tuned")]
    for place in places:
        write_evaluation(place, answers([True, False] * 20), by=["kind"])
    found = compared(places[0], places[2], output=tmp_path / "out")
    assert [each.uri for each in found.inputs] == [str(places[0]), str(places[2])], "`report` opens them"
    assert len({each.name for each in found.inputs}) == 2
    arguments = [str(places[1]), str(places[2]), "--output", str(tmp_path / "out")]
    assert main(["compare", *arguments, "--quiet"]) == 2
    assert "holds the comparison of" in capsys.readouterr().err


def test_several_are_compared_with_the_first_and_p_values_are_adjusted(tmp_path: Path) -> None:
    right = [n % 3 > 0 for n in range(60)]
    write_evaluation(tmp_path / "a", answers(right))
    write_evaluation(tmp_path / "b", answers([n < 55 for n in range(60)]))
    write_evaluation(tmp_path / "c", answers(right))
    found = compared(*(tmp_path / name for name in "abc"), output=tmp_path / "out")
    better, same = found.pairs
    assert (better.second, same.second) == (1, 2)
    assert better.p_value is not None
    assert better.adjusted_p_value == pytest.approx(2 * better.p_value)
    assert (same.flipped, same.p_value, same.differences[0].difference) == (0, 1.0, 0.0)
    low = same.differences[0].low
    assert low is not None, "thirty images that agree do not show that all do"
    assert low < -10
    assert {row["pair"] for row in flipped(tmp_path / "out")} == {1}


def test_rows_that_one_lacks_are_counted_and_named(tmp_path: Path) -> None:
    rows = answers([True] * 10)
    write_evaluation(tmp_path / "a", [*rows[:8], evaluated("x", "mug", None, outcome="no_truth")])
    write_evaluation(tmp_path / "b", rows[2:])
    [pair] = compared(tmp_path / "a", tmp_path / "b", output=tmp_path / "out").pairs
    assert (pair.both, pair.only_first, pair.only_second) == (6, 2, 2)
    assert sorted(pair.only_first_keys) == ["q0", "q1"]
    assert sorted(pair.only_second_keys) == ["q8", "q9"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"protocol": "wups"}, "was judged with --protocol wups, {a} with exact-match"),
        ({"key": "image_id"}, "was judged with key image_id, {a} with question_id"),
        ({"rows": [*answers([True] * 4)[:3], evaluated("q3", "mug", "cup")]}, "its truth of 'q3' is 'cup', that of"),
        ({"rows": [evaluated("z", "mug", "mug"), evaluated("y", "a", "b")]}, "shares no row with"),
    ],
)
def test_evaluations_that_do_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second: dict[str, Any], message: str
) -> None:
    rows = answers([True] * 4)
    write_evaluation(tmp_path / "a", rows)
    write_evaluation(tmp_path / "b", second.pop("rows", rows), **second)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(tmp_path / "out")]) == 2
    assert message.format(a=tmp_path / "a") in capsys.readouterr().err
    assert not (tmp_path / "out" / "comparison.json").exists()


def tag(image: int, colour: str | None, motifs: Sequence[str] = (), score: float = 0.75) -> dict[str, Any]:
    more: dict[str, Any] = {"motif": list(motifs), "motif_score": [0.5] * len(motifs)}
    more["tag_scores"] = [{"attribute": "colour", "choice": colour or "red", "score": score}]
    return {"image_id": f"{image}.jpg", "colour": colour, "colour_score": score, **more}


def failed(image: int) -> dict[str, Any]:
    return {"image_id": f"{image}.jpg", "status": "error", "error_code": "image_missing"}


def test_one_row_is_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_evaluation(tmp_path / "a", answers([True, True]))
    write_evaluation(tmp_path / "b", answers([False, True])[:1])
    compared(tmp_path / "a", tmp_path / "b", output=tmp_path / "out")
    told = capsys.readouterr().out
    assert "b beside a: 1 row in both, 1 only in a" in told
    assert "right in a only: 1 row; in b only: 0" in told
    assert main(["report", str(tmp_path / "out"), "--output", str(tmp_path / "page.html")]) == 0
    assert "1 row differs." in (tmp_path / "page.html").read_text("utf-8")


def test_two_runs_without_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [tag(n, "red" if n % 2 else None, ["dog"] if n % 4 else ["dog", "cat"], n / 40) for n in range(40)]
    after = [tag(n, "red", ["dog"], 1 - n / 80) for n in range(38)] + [failed(38), failed(39), tag(40, "blue")]
    runs = [
        write_run(tmp_path / name, rows, TAGS, job="tag", files=3)
        for name, rows in (("before", before), ("after", after))
    ]
    found = compared(*runs, output=tmp_path / "out", code=3, more=["--max-drift", "0.3"])
    assert "colour: drifted by 0.5" in capsys.readouterr().err
    [pair] = found.pairs
    assert (pair.both, pair.only_first, pair.only_second) == (80, 0, 2)
    drift = {each.name: each for each in pair.drift}
    colour, motif, errors = drift["colour"], drift["motif"], drift["error_code"]
    assert next(each.name for each in pair.drift) == "colour"
    assert (colour.both, colour.flipped, colour.first_rows, colour.second_rows) == (38, 19, 40, 39)
    assert {each.value: (each.first, each.second) for each in colour.shares} == {
        "red": (0.5, pytest.approx(38 / 39)),
        "(none)": (0.5, 0.0),
        "blue": (0.0, pytest.approx(1 / 39)),
    }
    assert colour.value > colour.noise
    assert colour.scores is not None
    assert 0.4 < colour.scores.value < 0.6
    assert sum(colour.scores.first) == 40
    assert {each.value: (each.first, each.second) for each in motif.shares} == {
        "dog": (1.0, pytest.approx(38 / 39)),
        "cat": (0.25, 0.0),
        "(none)": (0.0, pytest.approx(1 / 39)),
    }
    assert (motif.flipped, errors.flipped, errors.first_rows) == (10, 2, 40)
    assert [each.exceeds for each in (colour, motif, errors)] == [True, motif.value > 0.3, False]
    rows = flipped(tmp_path / "out")
    assert len(rows) == pair.flipped == 19 + 10 + 4
    assert {(row["first_prediction"], row["second_prediction"]) for row in rows if row["attribute"] == "motif"} == {
        ("dog; cat", "dog"),
        ("dog", None),
    }
    assert [each.errors for each in found.inputs] == [{}, {}]


def test_equal_runs_have_no_drift(tmp_path: Path) -> None:
    rows = [tag(n, "red", ["dog"]) for n in range(4)]
    runs = [write_run(tmp_path / name, rows, TAGS, job="tag") for name in "ab"]
    [pair] = compared(*runs, output=tmp_path / "out", more=["--max-drift", "0"]).pairs
    assert {(each.value, each.noise, each.flipped) for each in pair.drift} == {(0.0, 0.0, 0)}
    assert not (tmp_path / "out" / "rows").exists()


def test_runs_of_other_images_are_compared_by_their_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        write_run(tmp_path / name, [tag(start + n, "red" if n % 2 else "blue") for n in range(50)], TAGS, job="tag")
        for name, start in (("may", 0), ("june", 100))
    ]
    [pair] = compared(*runs, output=tmp_path / "out").pairs
    [colour] = [each for each in pair.drift if each.name == "colour"]
    assert (colour.value, colour.both, pair.both, pair.only_first) == (0, 0, 0, 100)
    assert 0.05 < colour.noise < 0.3
    assert "no row in common" in capsys.readouterr().err


def answered(image: int, question: str, answer: str) -> dict[str, Any]:
    return {"image_id": str(image), "question": question, "answer": answer, "answer_score": 0.5, "question_index": 0}


def test_answers_are_compared_by_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [answered(n, q, "a Mug") for n in range(5) for q in ("what?", "old?")]
    after = [answered(n, q, "mug." if n else "cup") for n in range(5) for q in ("what?", "new?")]
    runs = [write_run(tmp_path / name, rows) for name, rows in (("a", before), ("b", after))]
    [pair] = compared(*runs, output=tmp_path / "out").pairs
    what, errors = pair.drift
    assert (what.name, what.kind, what.flipped, what.both) == ("what?", "question", 1, 5)
    assert [(each.value, each.first) for each in what.shares] == [("mug", 1.0), ("cup", 0.0)]
    assert errors.name == "error_code"
    told = capsys.readouterr().err
    assert f"questions that only {runs[0]} asks are not compared: old?" in told
    assert f"questions that only {runs[1]} asks are not compared: new?" in told


def test_questions_of_one_row_drift_by_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All questions together come first, and no row that flipped by itself exceeds --max-drift."""
    before = [answered(n, f"{n}?", f"{n % 5}") for n in range(40)]
    after = [*before[:36], *(answered(n, f"{n}?", "mug") for n in range(36, 40))]
    drifted = [answered(100 + n, "what?", "cup") for n in range(40)]
    rows = {
        "a": before,
        "b": after,
        "c": [*before, *drifted],
        "d": [*after, *({**r, "answer": "mug"} for r in drifted)],
    }
    runs = {name: write_run(tmp_path / name, each) for name, each in rows.items()}
    [pair] = compared(runs["a"], runs["b"], output=tmp_path / "ab", more=["--max-drift", "0.5"]).pairs
    told = capsys.readouterr()
    every, one = pair.drift[:2]
    assert (every.name, every.both, every.flipped) == ("(all questions)", 40, 4)
    assert every.value == pytest.approx(0.225, abs=0.1)
    assert (one.value, one.noise, one.exceeds) == (1, 1, False)
    assert "4 drifted further than --max-drift, but no further than so few rows may by chance" in told.err
    assert "  12 more are in comparison.json" in told.out
    [pair] = compared(runs["c"], runs["d"], output=tmp_path / "cd", code=3, more=["--max-drift", "0.9"]).pairs
    assert [(each.name, each.exceeds) for each in pair.drift[:2]] == [("(all questions)", False), ("what?", True)]
    assert "what?: drifted by 1.000; --max-drift is 0.9" in capsys.readouterr().err


def test_no_limit_of_a_difference_is_beyond_the_greatest_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_evaluation(tmp_path / "a", answers([True] * 24))
    write_evaluation(tmp_path / "b", answers([n < 2 for n in range(24)]))
    [pair] = compared(tmp_path / "a", tmp_path / "b", output=tmp_path / "out").pairs
    [head] = pair.differences
    assert "right in a only: 22 rows; in b only: 0" in capsys.readouterr().out
    assert (head.difference, head.low) == (pytest.approx(-100 * 22 / 24), -100)


@pytest.mark.parametrize(
    ("inputs", "more", "message"),
    [
        (["tags"], [], "nothing to compare it with; expected two or more"),
        (["tags", "tags"], [], "is given twice"),
        (["tags", "nowhere"], [], "nowhere: no such directory or prefix; expected an evaluation"),
        (["tags", "begun"], [], "begun: the run has not finished; finish it with the command that began it"),
        (["judged", "judging"], [], "judging: the evaluation has not finished; finish it with"),
        (["tags", "judged"], [], "tags: is a run, others are evaluations; expected inputs of one kind"),
        (["tags", "answers"], [], "answers: is a run of answer, {place}/tags of tag; expected runs of one job"),
        (["tags", "sizes"], [], "sizes: has another taxonomy than {place}/tags: size and colour, motif; expected runs"),
        (["tags", "empty"], [], "empty: the run has no rows"),
        (["answers", "asked"], [], "asked: shares no question with {place}/answers"),
        (["tags", "tagged"], ["--by", "kind"], "--by: goes with evaluations"),
        (["judged", "judged2"], ["--max-drift", "0.1"], "--max-drift: goes with runs"),
        (["judged", "judged2"], ["--by", "kind"], "--by kind: {place}/judged is not broken down by it, but by none"),
        (["tags", "tagged"], ["--output", "{place}/tags/x"], "which holds a run or an index"),
        (["tags", "tagged"], ["--output", "{place}/judging/x"], "judging, which holds an evaluation"),
        (["tags", "tagged"], ["--output", "{place}/a.csv"], "a.csv: is a file; wanted a new or empty directory"),
        (["tags", "tagged"], ["--output", "{place}/judged"], "holds files that are not of a comparison"),
    ],
)
def test_requests_that_cannot_be_met(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], inputs: list[str], more: list[str], message: str
) -> None:
    for name in ("tags", "tagged", "begun"):
        write_run(tmp_path / name, [tag(0, "red")], TAGS, job="tag", finished=name != "begun", files=1)
    write_run(tmp_path / "empty", [], TAGS, job="tag", files=1)
    sizes = schema.tag_schema([("size", False)])
    write_run(tmp_path / "sizes", [{"image_id": "0.jpg", "size": "big"}], sizes, job="tag", files=1)
    write_run(tmp_path / "answers", [answered(0, "what?", "mug")], files=1)
    write_run(tmp_path / "asked", [answered(0, "which?", "mug")], files=1)
    for name in ("judged", "judged2"):
        write_evaluation(tmp_path / name, answers([True, False]))
    (tmp_path / "a.csv").write_text("a")
    write_bytes_atomic(EvaluationDirectory(str(tmp_path / "judging")).request, b"{}")
    output = [] if "--output" in more else ["--output", str(tmp_path / "out")]
    options = [text.format(place=tmp_path) for text in more]
    assert main(["compare", *(str(tmp_path / name) for name in inputs), *output, *options]) == 2
    assert message.format(place=tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "out" / "_vqa_ray" / "work").exists()


def test_a_comparison_is_made_anew_in_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, right in (("a", [True] * 4), ("b", [False] * 4), ("c", [True] * 4)):
        write_evaluation(tmp_path / name, answers(right))
    assert compared(tmp_path / "a", tmp_path / "b", output=tmp_path / "out").pairs[0].flipped == 4
    assert main(["compare", *(str(tmp_path / name) for name in "ac"), "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert f"out: holds the comparison of {tmp_path / 'a'} and {tmp_path / 'b'}; wanted a new or empty" in told
    write_evaluation(tmp_path / "b", answers([True] * 4))
    assert compared(tmp_path / "a", tmp_path / "b", output=tmp_path / "out").pairs[0].flipped == 0
    found = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert [file.name for file in found if "_vqa_ray" not in file.parts] == ["comparison.json"]
    (tmp_path / "out" / "comparison.json").write_text(json.dumps({"format": 2}))
    assert main(["report", str(tmp_path / "out"), "--output", str(tmp_path / "x.html")]) == 2


def test_a_comparison_that_is_refused_leaves_the_earlier_one(tmp_path: Path) -> None:
    for name in "ab":
        write_evaluation(tmp_path / name, answers([True] * 4))
    write_evaluation(tmp_path / "c", answers([True] * 4), protocol="wups")
    made = compared(tmp_path / "a", tmp_path / "b", output=tmp_path / "out")
    assert main(["compare", *(str(tmp_path / name) for name in "ac"), "--output", str(tmp_path / "out")]) == 2
    assert Comparison.read(str(tmp_path / "out")) == made
