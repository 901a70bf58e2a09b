"""`vqa-ray evaluate`: joined by id, judged, counted; no Ray below some tens of thousands of rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.written_runs import write_run
from vqa_ray import schema
from vqa_ray.jobs.cli import main
from vqa_ray.judging.record import EvaluationRecord

Rows = Sequence[Mapping[str, Any]]


def evaluate(tmp_path: Path, run: str | None, truth: Rows | Path | None, *more: str) -> int:
    """Run the command on a run and rows of truth; gives its exit code."""
    options = [] if run is None else ["--predictions", run]
    if isinstance(truth, Path):
        options += ["--truth", str(truth)]
    elif truth is not None:
        file = tmp_path / "truth.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in truth))
        options += ["--truth", str(file)]
    return main(["evaluate", *options, "--output", str(tmp_path / "out"), "--quiet", *more])


def record(tmp_path: Path) -> EvaluationRecord:
    found = EvaluationRecord.read(str(tmp_path / "out"))
    assert found is not None
    return found


def judged(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in pq.read_table(tmp_path / "out" / "rows").to_pylist()}


def counts(tmp_path: Path) -> dict[str, int]:
    return {name: count for name, count in record(tmp_path).rows.items() if count}


def answer(number: int, text: str | None, **more: Any) -> dict[str, Any]:
    """The row of question `qN` about image `iN`, N halved."""
    ids = {"question_id": f"q{number}", "image_id": f"i{number // 2}", "question": f"what is {number}?"}
    return {**ids, "answer": text, "answer_score": None if text is None else 0.5, **more}


FAILED = {"status": "error", "error_code": "image_missing", "error_message": "gone"}
TRUTH = [{"question_id": f"q{number}", "answer": "yes"} for number in range(6)]


def test_rows_are_told_apart_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(
        tmp_path / "run",
        [answer(0, "yes"), answer(1, "no"), answer(2, None, **FAILED), answer(8, "yes"), answer(9, "no")],
    )
    truth = [*TRUTH[:4], {"question_id": "q8", "answer": None}, {"question_id": "q0", "answer": "no"}]
    assert evaluate(tmp_path, run, truth, "--protocol", "exact-match") == 0
    outcomes = {"judged": 2, "failed": 1, "missing": 1, "no_truth": 1, "bad_truth": 1}
    assert counts(tmp_path) == {"truth": 5, "predictions": 5, **outcomes, "duplicate_truth": 1}
    found = record(tmp_path)
    assert found.errors == {"image_missing": 1}
    assert found.calibration is not None
    assert (found.calibration.n, found.calibration.equal_width.error) == (2, 0.0)
    assert (found.first.value, found.first.n, found.first.clusters) == (25.0, 4, 3)
    assert (found.key, found.job, found.model) == ("question_id", "answer", "fake:")
    rows = judged(tmp_path)
    assert (rows["q0"]["score"], rows["q0"]["prediction"], rows["q0"]["confidence"]) == (1.0, "yes", 0.5)
    assert (rows["q2"]["outcome"], rows["q2"]["score"], rows["q2"]["error_code"]) == ("failed", 0.0, "image_missing")
    assert (rows["q3"]["outcome"], rows["q3"]["score"]) == ("missing", 0.0)
    assert (rows["q8"]["outcome"], rows["q8"]["score"]) == ("bad_truth", None)
    assert (rows["q9"]["outcome"], rows["q9"]["score"]) == ("no_truth", None)
    told = capsys.readouterr().out
    assert "1 row of truth has no prediction; it counts as wrong (for example q3)" in told
    assert "1 row of truth cannot be used; it is not in the measures (for example q8: answers is null)" in told
    assert "1 of them says something else than the first (for example q0)" in told


def test_ids_are_text_and_similar_ones_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [answer(0, "yes", question_id="00042"), answer(1, "yes", question_id="7")])
    truth = [{"question_id": 42, "answer": "yes"}, {"question_id": 7, "answer": "yes"}]
    assert evaluate(tmp_path, run, truth, "--protocol", "exact-match") == 0
    assert counts(tmp_path) == {"truth": 2, "predictions": 2, "judged": 1, "missing": 1, "no_truth": 1}
    assert "'42' in the truth, '00042' in the run" in capsys.readouterr().out


def test_the_last_attempt_of_a_row_counts(tmp_path: Path) -> None:
    rows = [answer(0, None, **FAILED), answer(0, "yes", attempt=2, source_key=0), answer(1, "yes"), answer(1, "no")]
    run = write_run(tmp_path / "run", rows)
    assert evaluate(tmp_path, run, TRUTH[:2], "--protocol", "exact-match") == 0
    assert counts(tmp_path) == {"truth": 2, "predictions": 2, "judged": 2, "superseded": 1, "duplicate_predictions": 1}
    assert record(tmp_path).first.value == 100.0


def test_without_question_ids_image_and_question_join(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [answer(n, "yes", question_id=None) for n in range(4)])
    truth = [{"image_id": f"i{n // 2}", "question": f"what is {n}?", "answer": "yes"} for n in range(4)]
    assert evaluate(tmp_path, run, truth, "--protocol", "exact-match") == 0
    assert record(tmp_path).key == "image_id+question"
    assert counts(tmp_path) == {"truth": 4, "predictions": 4, "judged": 4}


def test_several_questions_of_a_row_need_the_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nested = [{"question": f"q{n}", "answer": "yes", "answer_score": 0.5} for n in range(2)]
    form = schema.answer_schema(nested=True, version=1)
    run = write_run(
        tmp_path / "run", [{"image_id": "a", "results": nested}, {"image_id": "b", **FAILED}], form, several=True
    )
    assert evaluate(tmp_path, run, [{"image_id": "a", "answer": "yes"}], "--protocol", "exact-match") == 2
    assert "wanted is a column 'question' beside 'image_id'" in capsys.readouterr().err
    truth = [{"image_id": image, "question": f"q{n}", "answer": "yes"} for image in "ab" for n in range(2)]
    assert evaluate(tmp_path, run, truth, "--protocol", "exact-match") == 0
    assert counts(tmp_path) == {"truth": 4, "predictions": 3, "judged": 2, "missing": 2, "no_truth": 1}


def test_truth_may_lie_in_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    form = schema.with_kept(schema.ANSWER, [pa.field("truth", pa.string()), pa.field("kind", pa.string())])
    rows = [answer(n, "yes", truth="yes" if n else "no", kind="ab"[n % 2]) for n in range(4)]
    run = write_run(tmp_path / "run", rows, form)
    assert evaluate(tmp_path, run, None, "--protocol", "exact-match", "--by", "kind") == 0
    by = {each.group.value: each.value for each in record(tmp_path).measures if each.group}
    assert by == {"a": 50.0, "b": 100.0}
    assert "columns of the run" in capsys.readouterr().out
    assert evaluate(tmp_path, run, None, "--protocol", "pope") == 2
    assert "holds another evaluation: protocol: exact-match → pope" in capsys.readouterr().err


def test_a_record_holds_a_long_path_whole(tmp_path: Path) -> None:
    run = write_run(tmp_path / ("deep/" * 40) / "run", [answer(n, "yes") for n in range(4)])
    assert evaluate(tmp_path, run, TRUTH[:4], "--protocol", "exact-match") == 0
    assert record(tmp_path).predictions == run, "`calibrate --evaluation` opens it"


def test_a_column_that_the_protocol_leaves_out_may_be_asked_for(tmp_path: Path) -> None:
    rows = [answer(n, "A") for n in range(4)]
    run = write_run(tmp_path / "run", rows)
    truth = [{"question_id": f"q{n}", "answer": "AB"[n % 2], "subject": f"{'ab'[n % 2]} science"} for n in range(4)]
    assert evaluate(tmp_path, run, truth, "--protocol", "scienceqa", "--by", "subject") == 0
    by = {each.group.value: each.value for each in record(tmp_path).measures if each.group}
    assert by == {"a science": 100.0, "b science": 0.0}


def test_tags_are_judged_by_attribute(tmp_path: Path) -> None:
    form = schema.tag_schema([("colour", False), ("things", True)])
    scores = [{"attribute": "colour", "choice": c, "score": s} for c, s in (("red", 0.9), ("blue", 0.1))]
    rows = [
        {"image_id": "a", "tags": ["colour:red"], "colour": "red", "things": ["dog"], "tag_scores": scores},
        {"image_id": "b", "tags": [], "colour": None, "things": [], "tag_scores": scores},
        {"image_id": "c", **FAILED},
    ]
    run = write_run(tmp_path / "run", rows, form, job="tag")
    truth = [
        {"image_id": "a", "colour": "red", "things": ["dog", "cat"]},
        {"image_id": "b", "colour": "blue", "things": []},
        {"image_id": "c", "colour": "blue", "things": None},
    ]
    assert evaluate(tmp_path, run, truth) == 0
    assert record(tmp_path).protocol == "tags"
    table = pq.read_table(tmp_path / "out" / "rows").to_pylist()
    found = {(row["key"], row["attribute"]): (row["outcome"], row["score"], row["confidence"]) for row in table}
    confidence = pytest.approx(0.9)
    assert found == {
        ("a", "colour"): ("judged", 1.0, confidence),
        ("a", "things"): ("judged", 0.0, None),
        ("b", "colour"): ("judged", 0.0, confidence),
        ("b", "things"): ("judged", 1.0, None),
        ("c", "colour"): ("failed", 0.0, None),
        ("c", "things"): ("failed", 0.0, None),
    }
    assert {each.group.value for each in record(tmp_path).measures if each.group} == {"colour", "things"}


def test_matches_and_captions(tmp_path: Path) -> None:
    rows = [{"image_id": str(n), "match": n < 2, "score": 1 - n / 4, "scores": []} for n in range(4)]
    run = write_run(tmp_path / "run", rows, schema.RETRIEVE.append(schema.QUESTION_INDEX), job="retrieve")
    truth = [{"image_id": str(n), "relevant": n % 2} for n in range(4)]
    assert evaluate(tmp_path, run, truth) == 0
    values = {each.name: each.value for each in record(tmp_path).measures if each.group is None}
    assert (values["accuracy"], values["map"]) == (0.5, 0.5)
    calibration = record(tmp_path).calibration
    # Matches with 1 and 0.75, others 0.5 and 0.25, of which it is as sure that they do not fit.
    assert calibration is not None
    assert sorted(each.confidence for each in calibration.equal_width.bins) == [0.5, 0.75, 1.0]
    rows = [{"image_id": str(n), "caption": "a red dog on a table", "caption_score": 0.5} for n in range(3)]
    run = write_run(tmp_path / "captions", rows, schema.CAPTION.append(schema.QUESTION_INDEX), job="caption")
    truth = [{"image_id": str(n), "captions": ["a red dog on a table", f"number {n}"]} for n in range(3)]
    (tmp_path / "out").rename(tmp_path / "first")
    assert evaluate(tmp_path, run, truth) == 0
    assert (record(tmp_path).protocol, record(tmp_path).calibration) == ("caption", None)


def test_official_annotations_are_truth(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [answer(n, "yes", question_id=str(n)) for n in range(3)])
    annotations = [
        {
            "question_id": n,
            "image_id": n,
            "question_type": "is",
            "answer_type": "yes/no",
            "answers": [{"answer": "yes" if k <= n else "no", "answer_id": k} for k in range(10)],
        }
        for n in range(3)
    ]
    file = tmp_path / "v2_mscoco_val2014_annotations.json"
    file.write_text(json.dumps({"info": {}, "data_type": "mscoco", "annotations": annotations}))
    assert evaluate(tmp_path, run, file, "--protocol", "vqa-v2") == 0
    assert [round(row["score"], 6) for row in judged(tmp_path).values()] == [0.3, 0.6, 0.9]
    assert record(tmp_path).first.value == pytest.approx(60.0)


def test_answers_may_be_objects_as_in_vqa(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [answer(0, "yes")])
    said = [{"answer": "yes" if k < 2 else "no", "answer_confidence": "yes"} for k in range(10)]
    truth = [{"question_id": f"q{n}", "answers": said} for n in range(2)]
    assert evaluate(tmp_path, run, truth, "--protocol", "vqa-v2") == 0
    assert judged(tmp_path)["q0"]["score"] == pytest.approx(0.6)


def test_a_table_of_predictions_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions, truth = tmp_path / "said.csv", tmp_path / "truth.csv"
    predictions.write_text("question_id,response,answer\n01,Yes,no\n2,,yes\n3,perhaps,yes\n")
    truth.write_text("question_id,label,split\n01,yes,random\n2,yes,random\n3,no,popular\n")
    more = ("--protocol", "pope", "--format", "json", "--labels-needed", "0.05")
    assert evaluate(tmp_path, str(predictions), truth, *more) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["rows"]["missing"] == 1
    assert content["labels_needed"]["rows"] > 100
    assert next(each["group"]["value"] for each in content["measures"] if each["group"]) == "popular"


def test_labels_are_needed_even_where_all_are_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [answer(n, "yes") for n in range(6)])
    more = ("--protocol", "exact-match", "--labels-needed", "0.1")
    assert evaluate(tmp_path, run, TRUTH, *more) == 0
    assert "for ± 0.1 of the mean score (95 %): 43 labelled rows, 22 images" in capsys.readouterr().out


def test_a_limit_takes_the_first_rows_of_truth(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [answer(n, "yes") for n in range(6)])
    assert evaluate(tmp_path, run, TRUTH, "--protocol", "exact-match", "--limit", "2") == 0
    assert counts(tmp_path) == {"truth": 2, "predictions": 2, "judged": 2}
    assert sorted(judged(tmp_path)) == ["q0", "q1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "vqa_v2"], "no protocol 'vqa_v2'; did you mean vqa-v2"),
        ([], "--protocol: wanted"),
        (["--protocol", "mme"], "--protocol mme needs a column for category (category or task), which --truth"),
        (["--protocol", "exact-match", "--key", "nothing"], "--key nothing: --predictions"),
        (["--protocol", "exact-match", "--by", "nothing"], "--by nothing: neither truth nor run has it"),
        (["--protocol", "exact-match", "--column", "anwser=x"], "--column anwser=x: exact-match takes no such column"),
        (["--protocol", "tags"], "--protocol tags judges tags; --predictions"),
        (["--protocol", "exact-match", "--labels-needed", "2"], "--labels-needed"),
        (["--protocol", "exact-match", "--model", "fake:"], "wanted --predictions RUN, or --model MODEL"),
    ],
)
def test_wrong_requests_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    run = write_run(tmp_path / "run", [answer(0, "yes")])
    assert evaluate(tmp_path, run, TRUTH, *options) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_sides_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [answer(0, "yes")])
    by = ("--protocol", "exact-match")
    assert evaluate(tmp_path, run, [{"question_id": "other", "answer": "yes"}], *by) == 2
    assert "no row has the question_id of a prediction: truth 'other'; predictions 'q0'" in capsys.readouterr().err
    assert evaluate(tmp_path, run, [{"name": "other", "answer": "yes"}], *by) == 2
    assert "shares no id with the predictions" in capsys.readouterr().err
    assert evaluate(tmp_path, run, [{"question_id": "q0", "answer": None}], *by) == 2
    assert "no row can be judged: q0: answers is null" in capsys.readouterr().err
    images = write_run(tmp_path / "images", [answer(n, "yes", question_id=None) for n in range(4)])
    assert evaluate(tmp_path, images, [{"image_id": "i0", "answer": "yes"}], *by) == 2
    assert "has neither question_id nor question, and there are answers to several" in capsys.readouterr().err
    empty = tmp_path / "empty.csv"
    empty.write_text("question_id,answer\n")
    assert evaluate(tmp_path, run, empty, *by) == 2
    assert "the input is empty" in capsys.readouterr().err
    assert evaluate(tmp_path, str(tmp_path / "nowhere"), TRUTH, *by) == 2
    assert "no such file" in capsys.readouterr().err
    unfinished = write_run(tmp_path / "unfinished", [answer(0, "yes")], finished=False)
    assert evaluate(tmp_path, unfinished, TRUTH, *by) == 2
    assert "the run has not finished" in capsys.readouterr().err
    assert evaluate(tmp_path, None, TRUTH, *by) == 2
    assert "neither given" in capsys.readouterr().err


def test_an_output_of_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [answer(0, "yes")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert evaluate(tmp_path, run, TRUTH, "--protocol", "exact-match") == 2
    assert "holds files that are not of an evaluation (notes.txt)" in capsys.readouterr().err
    inside = ["--output", f"{run}/evaluation", "--quiet", "--protocol", "exact-match"]
    assert main(["evaluate", "--predictions", run, "--truth", str(tmp_path / "truth.jsonl"), *inside]) == 2
    assert "which holds a run or an index" in capsys.readouterr().err


def test_runs_of_the_first_version(tmp_path: Path) -> None:
    """They have no image_uri, tag_scores or question_index."""
    rows = [{"image_id": "a", "question_id": "q0", "answer": "yes", "answer_score": 0.5}]
    run = write_run(tmp_path / "run", rows, schema.of_version(schema.ANSWER, 1), files=1)
    assert evaluate(tmp_path, run, TRUTH[:1], "--protocol", "exact-match") == 0
    assert record(tmp_path).first.value == 100.0
    (tmp_path / "out").rename(tmp_path / "first")
    form = schema.tag_schema([("colour", False), ("things", True)], version=1)
    rows = [{"image_id": "a", "colour": "red", "colour_score": 0.75, "things": ["dog"], "things_score": [0.5]}]
    run = write_run(tmp_path / "tags", rows, form, job="tag", files=1)
    assert evaluate(tmp_path, run, [{"image_id": "a", "colour": "red", "things": ["dog"]}] * 2) == 0
    table = pq.read_table(tmp_path / "out" / "rows").to_pylist()
    assert [(row["attribute"], row["score"], row["confidence"]) for row in table] == [
        ("colour", 1.0, 0.75),
        ("things", 1.0, 0.5),
    ]


def test_accents_join_in_either_form(tmp_path: Path) -> None:
    """é is one character or two, by the system that a name comes from."""
    run = write_run(tmp_path / "run", [answer(0, "yes", question_id="caf\u00e9")])
    truth = [{"question_id": "cafe\u0301", "answer": "yes"}, {"question_id": "x", "answer": "yes"}]
    assert evaluate(tmp_path, run, truth, "--protocol", "exact-match") == 0
    assert counts(tmp_path)["judged"] == 1
