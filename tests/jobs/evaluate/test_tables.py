"""`vqa-ray evaluate` of tables that other tools wrote: names of columns, rows that cannot be read, scores, verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.written_runs import write_run
from vqa_ray.jobs.cli import main
from vqa_ray.judging.record import EvaluationRecord


def evaluate(tmp_path: Path, predictions: str | Path, truth: Path, *more: str) -> int:
    sides = ["--predictions", str(predictions), "--truth", str(truth)]
    return main(["evaluate", *sides, "--output", str(tmp_path / "out"), "--quiet", *more])


def record(tmp_path: Path) -> EvaluationRecord:
    found = EvaluationRecord.read(str(tmp_path / "out"))
    assert found is not None
    return found


def written(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(("said", "true"), [("question_id", "index"), ("index", "question_id"), ("index", "index")])
def test_a_renamed_column_is_that_of_the_side_that_has_it(tmp_path: Path, said: str, true: str) -> None:
    predictions = written(tmp_path / "said.csv", f"{said},prediction\n0,yes\n1,no\n")
    truth = written(tmp_path / "truth.csv", f"{true},answer\n0,yes\n1,yes\n")
    named = ("--protocol", "exact-match", "--column", "question_id=index")
    assert evaluate(tmp_path, predictions, truth, *named) == 0
    assert record(tmp_path).first.value == 50.0


def test_a_renamed_column_that_neither_side_has_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = written(tmp_path / "said.csv", "question_id,prediction\n0,yes\n")
    truth = written(tmp_path / "truth.csv", "question_id,answer\n0,yes\n")
    assert evaluate(tmp_path, predictions, truth, "--protocol", "exact-match", "--column", "question_id=index") == 2
    assert "truth.csv: no column 'index'" in capsys.readouterr().err


def test_rows_of_predictions_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    lines = [
        b'{"question_id": "a", "prediction": "yes"}',
        b'{"question_id": "b", "prediction": "\\ud800"}',
        b"no JSON",
        b'{"question_id": "c", "prediction": "caf\xe9"}',
    ]
    predictions = written(tmp_path / "said.jsonl", b"\n".join(lines))
    truth = written(tmp_path / "truth.csv", "question_id,answer\na,yes\nb,yes\nc,yes\n")
    assert evaluate(tmp_path, predictions, truth, "--protocol", "exact-match") == 0
    found = record(tmp_path)
    assert found.errors == {"row_malformed": 1}
    assert [found.rows[name] for name in ("judged", "failed", "missing", "no_truth")] == [1, 1, 1, 2]
    note = next(each for each in found.notes if "cannot be read" in each)
    assert note.startswith("3 rows of predictions cannot be read")
    assert "line 2: column 'prediction' holds text that is not Unicode" in note
    rows = pq.read_table(tmp_path / "out" / "rows").to_pylist()
    assert [row["error_code"] for row in rows if row["outcome"] == "no_truth"] == ["row_malformed"] * 2


def test_truth_in_another_encoding_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = written(tmp_path / "said.csv", "question_id,prediction\n0,yes\n")
    truth = written(tmp_path / "truth.csv", "question_id,answer\n0,caf\u00e9\n".encode("latin-1"))
    assert evaluate(tmp_path, predictions, truth, "--protocol", "exact-match") == 2
    told = capsys.readouterr().err
    assert "truth.csv: none of the first rows can be read" in told
    assert "--encoding" in told


def test_scores_that_are_no_share_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{n},yes,{score}\n" for n, score in enumerate(("0.5", "nan", "-1", "high", "")))
    predictions = written(tmp_path / "said.csv", f"question_id,prediction,score\n{rows}")
    truth = written(tmp_path / "truth.csv", "question_id,answer\n" + "".join(f"{n},yes\n" for n in range(5)))
    assert evaluate(tmp_path, predictions, truth, "--protocol", "exact-match") == 0
    told = capsys.readouterr().out
    assert "scores of 1 row:" in told
    assert "3 rows have a score that is no number from 0 to 1; calibration leaves them out" in told


def test_a_file_of_review_is_judged_by_its_verdicts(tmp_path: Path) -> None:
    rows = [{"question_id": f"q{n}", "image_id": f"i{n}", "question": "?", "answer": "yes"} for n in range(3)]
    verdicts = [
        {
            **{name: row[name] for name in ("question_id", "image_id", "question")},
            **{"attribute": None, "several": False, "prediction": "yes", "inclusion_probability": 1.0},
            **{"verdict": "right" if n else "wrong", "answer": "yes" if n else None},
        }
        for n, row in enumerate(rows)
    ]
    truth = written(tmp_path / "labels.jsonl", "".join(json.dumps(each) + "\n" for each in verdicts))
    assert evaluate(tmp_path, write_run(tmp_path / "run", rows), truth) == 0
    assert record(tmp_path).protocol == "verdicts"
    assert record(tmp_path).first.value == pytest.approx(2 / 3)


def test_ids_that_all_differ_in_their_form_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = written(tmp_path / "truth.csv", "question_id,answer\n0,yes\n1,yes\n")
    for number, ids in enumerate((("00000", "00001"), ("0.0", "1.0"))):
        said = "".join(f"{each},yes\n" for each in ids)
        predictions = written(tmp_path / f"said-{number}.csv", f"question_id,prediction\n{said}")
        assert evaluate(tmp_path, predictions, truth, "--protocol", "exact-match") == 2
        assert "differ in leading zeros, case, blanks or .0 only" in capsys.readouterr().err


def test_a_boolean_beside_yes_is_told(tmp_path: Path) -> None:
    predictions = written(tmp_path / "said.csv", "question_id,prediction\n0,yes\n1,no\n")
    truth = written(
        tmp_path / "truth.jsonl", '{"question_id": 0, "answer": true}\n{"question_id": 1, "answer": false}\n'
    )
    assert evaluate(tmp_path, predictions, truth, "--protocol", "exact-match") == 0
    assert any(
        each.startswith("2 rows have the answer yes or no and the truth true") for each in record(tmp_path).notes
    )


def test_requests_that_cannot_be_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "".join(f"{n},is it?,yes,red\n" for n in range(4))
    predictions = written(tmp_path / "said.csv", f"question_id,question,prediction,shop\n{said}")
    truth = written(tmp_path / "truth.csv", f"question_id,question,answer,place\n{said}")
    by = ("--protocol", "exact-match")
    for options, message in [
        (("--by", "nope"), "shop"),
        (("--key", "question"), "--key question: most rows of the truth repeat an id ('is it?'"),
        (("--batch-size", "4"), "--batch-size: goes with --model"),
    ]:
        assert evaluate(tmp_path, predictions, truth, *by, *options) == 2
        assert message in capsys.readouterr().err
    assert evaluate(tmp_path, predictions, truth, *by) == 0
    (tmp_path / "out").rename(tmp_path / "done")
    assert evaluate(tmp_path, tmp_path / "done", truth, *by) == 2
    assert "an evaluation; expected the run that it judged" in capsys.readouterr().err
    assert (
        evaluate(tmp_path, predictions, written(tmp_path / "bare.csv", "question_id,x\n0,y\n"), "--protocol", "pope")
        == 2
    )
    assert "(truth or label or answer)" in capsys.readouterr().err
