"""What can be reviewed, the verdicts on it, and the file they go to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.browse.site import HOSTILE, table_of, write_run
from tests.unit.review.reviews import FAILED, answer_run, answered, review_of, tag_run
from vqa_ray import schema
from vqa_ray.browse.dataset import open_collection
from vqa_ray.errors import RequestError
from vqa_ray.review.items import Items
from vqa_ray.review.label_file import LabelFile, only_writer, right_answer


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]]


def all_of(run: str) -> list[tuple[str, str, str | None, float | None]]:
    items = Items(open_collection(run))
    found = (items.at(number) for number in range(len(items)))
    return [
        (each.id, each.question, each.answer, None if each.score is None else round(each.score, 2)) for each in found
    ]


def test_every_answer_and_every_value_of_an_attribute_is_an_item(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert all_of(tag_run(tmp_path / "a")) == [
        ("0/0", "colour", "red", 0.5),
        ("1/0", "colour", "blue", 0.5),
        ("2/0", "colour", None, None),
        ("0/1", "motif", "dog; cat", 0.25),
        ("1/1", "motif", None, None),
        ("2/1", "motif", "dog", 0.25),
    ]
    results = [{**answered("red", 0.3), "finish_reason": None, "question": name} for name in ("a?", "b?")]
    nested = write_run(tmp_path / "b", "answer", table_of(schema.ANSWERS, [{"results": results}, dict(FAILED)]))
    assert all_of(nested) == [("0/0", "a?", "red", 0.3), ("0/1", "b?", "red", 0.3)]
    scores = [
        {"question": "a dog?", "answer": None, "score": 0.9},
        {"question": "what?", "answer": "mug", "score": 0.2},
        {"question": "never asked?", "answer": None, "score": None},
    ]
    found = write_run(tmp_path / "c", "retrieve", table_of(schema.RETRIEVE, [{"match": False, "scores": scores}]))
    assert all_of(found) == [("0/0", "a dog?", "yes", 0.9), ("0/1", "what?", "not mug", 0.8)]
    captions = write_run(tmp_path / "d", "caption", table_of(schema.CAPTION, [{"caption": "a", "caption_score": 1.0}]))
    assert all_of(captions) == [("0/0", "caption", "a", 1.0)]


def test_questions_of_an_image_in_rows_of_their_own_are_told_apart(tmp_path: Path) -> None:
    rows = [answered("red", source_key=5, question_index=number, question=f"q{number}?") for number in range(2)]
    assert [each[0] for each in all_of(write_run(tmp_path, "answer", table_of(schema.ANSWER, rows)))] == ["5/0", "5/1"]


def test_choices_are_single_values(tmp_path: Path) -> None:
    items = Items(open_collection(tag_run(tmp_path)), {"colour": "what colour is it?"})
    assert items.choices(items.at(3)) == ["dog", "cat"]
    assert sorted(items.choices(items.at(0))) == ["blue", "red"]
    assert [(items.at(n).question, items.at(n).attribute) for n in (0, 3)] == [
        ("what colour is it?", "colour"),
        ("motif", "motif"),
    ]


@pytest.mark.parametrize("by", ["tag", "question", "image_id", "status"])
def test_strata_are_tags_questions_or_columns(tmp_path: Path, by: str) -> None:
    assert len(Items(open_collection(tag_run(tmp_path))).sample("stratified", 4, 0, by)) == 4


def test_strata_that_are_not_there_are_refused(tmp_path: Path) -> None:
    items = Items(open_collection(tag_run(tmp_path)))
    with pytest.raises(RequestError, match="--by size: wanted tag, question or a column of the run: row_id, image_id"):
        items.sample("stratified", 4, 0, "size")
    with pytest.raises(RequestError, match="--by tag_scores: holds lists"):
        items.sample("stratified", 4, 0, "tag_scores")


def test_a_run_without_answers_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, "answer", table_of(schema.ANSWER, [dict(FAILED)]))
    with pytest.raises(RequestError, match="no row of the run has an answer to review"):
        Items(open_collection(run))


@pytest.mark.parametrize(
    ("verdict", "prediction", "typed", "right"),
    [
        ("right", "mug", None, "mug"),
        ("right", None, None, None),
        ("wrong", "mug", None, None),
        ("wrong", "yes", None, "no"),
        ("wrong", "no", None, "yes"),
        ("wrong", "not mug", None, "mug"),
        ("wrong", None, None, None),
        ("other", "mug", "cup", "cup"),
    ],
)
def test_the_right_answer_follows_where_it_can(
    verdict: Any, prediction: str | None, typed: str | None, right: str | None
) -> None:
    assert right_answer(verdict, prediction, typed) == right


def test_verdicts_are_on_disk_at_once_and_the_review_goes_on_from_there(tmp_path: Path) -> None:
    run, file = answer_run(tmp_path), tmp_path / "labels.jsonl"
    review, _ = review_of(run, file)
    assert review.next() == 0
    review.judge(0, "right")
    review.judge(1, "wrong")
    review.judge(2, "other", " perhaps \n")
    found = lines(file)
    assert [each["verdict"] for each in found] == ["right", "wrong", "other"]
    first = review.items[0]
    number = first.row["row_id"]
    assert found[0] | {"time": ""} == {
        "item": f"{number}/0",
        "row_id": number,
        "image_id": f"images/{number}.jpg",
        "question_id": f"q{number}",
        "image_uri": str(tmp_path / f"{number}.jpg"),
        "question": "is there a dog?",
        "attribute": None,
        "several": False,
        "answer": first.answer,
        "prediction": first.answer,
        "score": pytest.approx(0.1 * number),
        "verdict": "right",
        "reviewer": "ann",
        "time": "",
        "inclusion_probability": 1.0,
        "sample": "random",
    }
    assert {found[1]["answer"], found[1]["prediction"]} == {"yes", "no"}
    assert found[2]["answer"] == "perhaps"
    again, _ = review_of(run, file)
    assert (again.progress.done, again.progress.total, again.next()) == (3, 6, 3)
    assert again.undo() == 2
    assert len(lines(file)) == 2
    again.judge(0, "wrong")
    assert [each["verdict"] for each in lines(file)] == ["wrong", "wrong"]
    assert again.undo() == 0


def test_what_is_skipped_comes_last(tmp_path: Path) -> None:
    review, _ = review_of(answer_run(tmp_path, 3), tmp_path / "labels.jsonl")
    review.skip(0)
    assert (review.next(0), review.next(1), review.next(2)) == (1, 2, 1)
    review.judge(1, "right")
    review.judge(2, "right")
    assert review.next(2) == 0
    review.judge(0, "right")
    assert review.next() is None


def test_the_answer_of_the_run_typed_again_is_right(tmp_path: Path) -> None:
    review, _ = review_of(answer_run(tmp_path), tmp_path / "labels.jsonl")
    review.judge(0, "other", str(review.items[0].answer))
    label = review.label(0)
    assert label is not None
    assert label.verdict == "right"


@pytest.mark.parametrize(("verdict", "typed"), [("perhaps", ""), ("other", "  ")])
def test_what_is_no_verdict_is_refused(tmp_path: Path, verdict: str, typed: str) -> None:
    review, _ = review_of(answer_run(tmp_path), tmp_path / "labels.jsonl")
    with pytest.raises(RequestError, match="a verdict is right, wrong, or other with the right answer"):
        review.judge(0, verdict, typed)
    assert not (tmp_path / "labels.jsonl").exists()


def test_a_larger_sample_goes_on_with_a_smaller_one_and_states_its_probabilities(tmp_path: Path) -> None:
    run, file = answer_run(tmp_path, 20), tmp_path / "labels.jsonl"
    review, _ = review_of(run, file, 5)
    review.judge(0, "right")
    assert lines(file)[0]["inclusion_probability"] == 0.25
    larger, _ = review_of(run, file, 10)
    assert lines(file)[0]["inclusion_probability"] == 0.5
    assert larger.items[0].id == review.items[0].id
    assert (larger.progress.done, larger.next()) == (1, 1)


def test_labels_of_another_sample_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    review, _ = review_of(answer_run(tmp_path / "a"), file)
    review.judge(0, "right")
    (tmp_path / "b").mkdir()
    message = "1 of its 1 verdicts are not of this sample, but of 'random'; use the options it was begun with"
    other = write_run(tmp_path / "b", "answer", table_of(schema.ANSWER, [answered("yes", source_key=99)]))
    with pytest.raises(RequestError, match=message):
        review_of(other, file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json\n", "line 1: no verdict of vqa-ray review"),
        ('{"image_id": "a"}\n', "line 1: no verdict of vqa-ray review"),
        ("[1]\n", "line 1: no verdict of vqa-ray review"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.jsonl").write_text(text)
    with pytest.raises(RequestError, match=message):
        LabelFile.open(str(tmp_path / "labels.jsonl"))


def test_any_text_comes_back(tmp_path: Path) -> None:
    rows = [answered(text, question=text, image_id=text) for text in HOSTILE]
    form = schema.with_kept(schema.ANSWER, [pa.field("kind", pa.string())])
    run, file = write_run(tmp_path / "run", "answer", table_of(form, rows)), tmp_path / "labels.jsonl"
    review, _ = review_of(run, file)
    for number in range(len(HOSTILE)):
        review.judge(number, "right")
    again, _ = review_of(run, file)
    assert again.progress.done == len(HOSTILE)
    assert {label.answer for label in LabelFile.open(str(file))} == {each.answer for each in review.items}


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    review, _ = review_of(answer_run(tmp_path), tmp_path / "labels.jsonl")
    review.judge(0, "right")
    review._file.uri = str(tmp_path / "file" / "labels.jsonl")
    with pytest.raises(OSError, match="a part of the path is a file"):
        review.judge(1, "right")
    assert review.label(1) is None
    with pytest.raises(OSError, match="a part of the path is a file"):
        review.undo()
    assert review.label(0) is not None


def test_one_review_writes_at_a_time(tmp_path: Path) -> None:
    uri = str(tmp_path / "labels.jsonl")
    with only_writer(uri), pytest.raises(RequestError, match="another review writes to it"), only_writer(uri):
        pass
    with only_writer(uri):
        pass
