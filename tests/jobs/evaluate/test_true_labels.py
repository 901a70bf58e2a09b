"""`vqa-ray evaluate` of tags: what the cells of true labels mean, and verdicts of `vqa-ray review` in their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.helpers.written_runs import write_run
from vqa_ray import schema
from vqa_ray.jobs.cli import main
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.taxonomy.taxonomy import Taxonomy


def tags(tmp_path: Path) -> str:
    """Four images: colour red, of things a dog and a cat, a dog, none, none."""
    scores = [
        {"attribute": attribute, "choice": choice, "score": 0.5}
        for attribute, choices in (("colour", ("red", "blue")), ("things", ("dog", "cat")))
        for choice in choices
    ]
    rows = [
        {"image_id": image, "tags": [], "colour": "red", "things": things, "tag_scores": scores}
        for image, things in zip("abcd", (["dog", "cat"], ["dog"], [], []), strict=True)
    ]
    return write_run(tmp_path / "run", rows, schema.tag_schema([("colour", False), ("things", True)]), job="tag")


def evaluate(tmp_path: Path, truth: str, suffix: str = "jsonl", *more: str) -> EvaluationRecord:
    file = tmp_path / f"truth.{suffix}"
    file.write_text(truth)
    run = tags(tmp_path)
    argv = ["evaluate", "--predictions", run, "--truth", str(file), "--output", f"{tmp_path}/out", "--quiet", *more]
    assert main(argv) == 0
    found = EvaluationRecord.read(str(tmp_path / "out"))
    assert found is not None
    return found


def scores(tmp_path: Path) -> dict[tuple[str, str], Any]:
    table = pq.read_table(tmp_path / "out" / "rows").to_pylist()
    return {(row["key"], row["attribute"]): row["score"] for row in table}


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("first", "second"), [(["dog", "cat"], "dog"), (["dog", "cat"], ["dog"]), ('["dog", "cat"]', "dog")]
)
def test_lists_and_single_labels_may_stand_in_one_column(tmp_path: Path, first: Any, second: Any) -> None:
    evaluate(tmp_path, lines({"image_id": "a", "things": first}, {"image_id": "b", "things": second}))
    assert (scores(tmp_path)["a", "things"], scores(tmp_path)["b", "things"]) == (1.0, 1.0)


@pytest.mark.parametrize("empty", [None, "", [], [""]])
def test_an_empty_cell_says_that_no_tag_is_true(tmp_path: Path, empty: Any) -> None:
    found = evaluate(tmp_path, lines({"image_id": "a", "things": empty}, {"image_id": "c", "things": empty}))
    assert (scores(tmp_path)["a", "things"], scores(tmp_path)["c", "things"]) == (0.0, 1.0)
    values = {each.name: each.value for each in found.measures if each.group is None}
    assert values["precision_micro"] == 0.0


def test_cells_of_csv(tmp_path: Path) -> None:
    truth = 'image_id,colour,things\na,red,"[""dog"",""cat""]"\nb,,dog\nc,?,\nd,blue,?\n'
    found = evaluate(tmp_path, truth, "csv")
    assert scores(tmp_path) == {
        ("a", "colour"): 1.0,
        ("a", "things"): 1.0,
        ("b", "colour"): None,
        ("b", "things"): 1.0,
        ("c", "colour"): None,
        ("c", "things"): 1.0,
        ("d", "colour"): 0.0,
        ("d", "things"): None,
    }
    note = next(each for each in found.notes if "not labelled" in each)
    assert note.startswith("3 cells of labels are empty or ?")
    assert "b: colour; c: colour; d: things" in note


def test_labels_that_the_run_cannot_give_are_told(tmp_path: Path) -> None:
    found = evaluate(tmp_path, 'image_id,things\na,"dog, cat"\nb,dog\n', "csv")
    assert any("1 true label is no choice of the run" in each and "'dog, cat'" in each for each in found.notes)


def test_the_true_labels_of_an_attribute_may_stand_in_a_column_of_another_name(tmp_path: Path) -> None:
    evaluate(tmp_path, lines({"image_id": "a", "shade": "red"}), "jsonl", "--column", "colour=shade")
    assert scores(tmp_path)["a", "colour"] == 1.0


def test_the_recall_of_a_shortlist_is_told(tmp_path: Path) -> None:
    kind = {"name": "kind", "question": "what?", "choices": ["mug", "cup", "jug"], "shortlist": {"model": "m", "k": 2}}
    form = Taxonomy.model_validate({"attributes": [kind]}).output_schema()
    asked = [["mug", "cup"], ["mug", "jug"], ["cup", "jug"]]
    rows = [
        {
            "image_id": image,
            "tags": [],
            "kind": names[0],
            "kind_rank": 1,
            "tag_scores": [{"attribute": "kind", "choice": name, "score": 0.5} for name in names],
        }
        for image, names in zip("abc", asked, strict=True)
    ]
    run = write_run(tmp_path / "run", rows, form, job="tag")
    truth = tmp_path / "truth.jsonl"
    truth.write_text(lines(*({"image_id": image, "kind": "mug"} for image in "abc")))
    out = f"{tmp_path}/out"
    assert main(["evaluate", "--predictions", run, "--truth", str(truth), "--output", out, "--quiet"]) == 0
    found = EvaluationRecord.read(out)
    assert found is not None
    note = "the shortlists held 0.6667 of 3 true labels (not, for example, kind: 'mug')"
    assert note in found.notes


def test_a_row_that_cannot_be_read_is_no_label(tmp_path: Path) -> None:
    found = evaluate(tmp_path, lines({"image_id": "a", "things": ["dog", "cat"]}, {"image_id": "b", "things": [3]}))
    assert (found.rows["judged"], found.rows["bad_truth"]) == (1, 1)


def verdict(image: str, attribute: str, given: str | None, said: str, **more: Any) -> dict[str, Any]:
    right = given if said == "right" else None
    ids = {"image_id": image, "question": attribute, "attribute": attribute, "several": attribute == "things"}
    return {**ids, "prediction": given, "answer": right, "verdict": said, "inclusion_probability": 1.0, **more}


def test_wrong_verdicts_count_whatever_was_given(tmp_path: Path) -> None:
    found = evaluate(
        tmp_path,
        lines(
            verdict("a", "things", "dog; cat", "wrong"),
            verdict("b", "things", "dog", "right", inclusion_probability=0.25),
            verdict("c", "things", None, "wrong"),
            verdict("d", "things", None, "right"),
            verdict("a", "colour", "red", "wrong"),
        ),
    )
    assert scores(tmp_path) == {
        ("a", "things"): 0.0,
        ("b", "things"): 1.0,
        ("c", "things"): 0.0,
        ("d", "things"): 1.0,
        ("a", "colour"): 0.0,
        **{(image, "colour"): None for image in "bcd"},
    }
    values = {each.name: each.value for each in found.measures if each.group is None}
    assert values["precision_micro"] == 1 / 4
    assert not any("not known" in name for name in values)
    assert any(each.startswith("3 verdicts are wrong without a right answer") for each in found.notes)
    assert any("probabilities of 0.25 to 1, which the measures do not weigh" in each for each in found.notes)
    assert not any("not labelled" in each for each in found.notes)
