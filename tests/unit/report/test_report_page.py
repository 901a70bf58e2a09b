"""The report of a run and of an evaluation: what stands on the page, escaped, without network or script."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.coloured import picture
from tests.helpers.evaluations import evaluated, write_evaluation
from tests.unit.browse.site import HOSTILE, MARKUP, table_of, write_run
from tests.unit.report.test_gallery import Page
from tests.unit.report.test_run_gallery import FILLED, FILLED_ROWS
from vqa_ray import schema
from vqa_ray.errors import RequestError
from vqa_ray.judging.record import Measure
from vqa_ray.report.evaluation_report import evaluation_report
from vqa_ray.report.report_page import Report, render_report
from vqa_ray.report.run_report import run_report
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord

FAILED = {"status": "error", "error_code": "image_missing", "error_message": "nothing is stored there"}


def of_run(run: str) -> str:
    record = RunRecord.read(RunDirectory(run).record)
    assert record is not None
    return render_report(run_report(run, record))


def answered(answer: str, score: float, **more: Any) -> dict[str, Any]:
    scored = {"answer": answer, "answer_score": score, "answers": [{"answer": answer, "score": score}]}
    return {"question": "what is it?", **scored, **more}


def pictures(place: Path, count: int) -> list[str]:
    for row in range(count):
        (place / f"{row}.jpg").write_bytes(picture(row))
    return [str(place / f"{row}.jpg") for row in range(count)]


def check_self_contained(text: str) -> None:
    page = Page(text)
    assert not page.all("script")
    assert not page.all("link")
    assert all((each["src"] or "").startswith("data:image/jpeg;base64,") for each in page.all("img"))
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert not re.search(r"(?:src|href|action)=\"(?:https?:|//)", text)
    # Plots refer to parts of themselves alone; a colour is a variable of the page.
    assert not re.search(r"url\((?!#)", text)
    assert not re.search(r"(?:fill|stroke): ?#", text)


def test_a_run_of_answers_is_told_with_its_errors_and_its_least_sure_answers(tmp_path: Path) -> None:
    uris = pictures(tmp_path, 4)
    rows = [answered("mug" if row else "cup", 0.2 + 0.2 * row, image_uri=uri) for row, uri in enumerate(uris)]
    rows += [dict(FAILED), {**FAILED, "error_code": "image_undecodable"}, answered("mug", 0.9, warning="question cut")]
    text = of_run(write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, rows)))
    check_self_contained(text)
    page = Page(text)
    for shown in ("what is it?", "cup", "image_undecodable", "nothing is stored there", "question cut"):
        assert shown in page.text
    assert "80.0 %" in page.text  # mug: four of five answers
    assert page.text.index("Least sure") < page.text.index("0.20")
    assert len(page.all("img")) == 8
    assert "5 scores; 40 % of them below 0.5" in page.text


@pytest.mark.parametrize(
    ("job", "form", "rows", "shown"),
    [
        (
            "tag",
            schema.tag_schema([("colour", False), ("motif", True)]),
            [
                {"tags": ["colour:red"], "colour": "red", "colour_score": 0.75, "motif": [], "motif_score": []},
                {"tags": ["motif:dog"], "motif": ["dog", "cat"], "motif_score": [0.9, 0.4]},
            ],
            ("colour", "red", "dog; cat", "(none)", "0.40"),
        ),
        (
            "fill",
            FILLED,
            FILLED_ROWS,
            ("answer --schema: ", "Fields", "mug", "yes", "3; 4", "0.62", "width: 3.5 · unit: cm"),
        ),
        (
            "caption",
            schema.CAPTION,
            [{"caption": "a", "status": "gone", "error_code": "gone"}],
            ("gone from the input",),
        ),
        ("caption", schema.CAPTION, [{"caption": "a red mug", "caption_score": 0.5}], ("a red mug", "0.50")),
        (
            "retrieve",
            schema.RETRIEVE,
            [
                {"match": True, "score": 0.9, "scores": [{"question": "a dog?", "answer": None, "score": 0.9}]},
                {"match": False, "score": 0.1, "scores": [{"question": "a dog?", "answer": None, "score": 0.1}]},
                {"match": False, "scores": [{"question": "what?", "answer": "mug", "score": 0.2}]},
            ],
            ("a dog?", "matches", "not mug", "yes", "no", "0.80", "2 scores; 50 % of them below 0.5"),
        ),
        (
            "answer",
            schema.ANSWERS,
            [{"results": [answered("red", 0.3, question="colour?"), answered("mug", 0.6, question="what?")]}],
            ("colour?", "what?", "red", "mug"),
        ),
    ],
)
def test_runs_of_every_job(
    tmp_path: Path, job: str, form: pa.Schema, rows: Sequence[dict[str, Any]], shown: Sequence[str]
) -> None:
    results = [each for row in rows for each in row.get("results", ())]
    for each in results:
        each["finish_reason"] = None
    text = of_run(write_run(tmp_path, job, table_of(form, [*rows, dict(FAILED)])))
    check_self_contained(text)
    for each in shown:
        assert each in Page(text).text


def test_a_run_that_has_not_finished_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path, "caption", table_of(schema.CAPTION, [{"caption": "a"}]), finished=False)
    assert "This run has not finished" in of_run(run)


def test_a_run_says_where_its_groups_are_and_how_two_models_agree(tmp_path: Path) -> None:
    run = RunDirectory(write_run(tmp_path, "caption", table_of(schema.CAPTION, [{"caption": "a"}])))
    record = RunRecord.read(run.record)
    assert record is not None
    content = manifest.read(run.manifest)
    assert content is not None
    Path(run.manifest).write_text(json.dumps({**content, "second_opinion": {"asked": 3, "decided": 2, "agreed": 1}}))
    grouped = replace(record, command={"group_by": "sku"})
    text = Page(render_report(run_report(str(tmp_path), grouped))).text
    for shown in ("combined by their sku in _groups.pq", "asked of the second model", "decided by it", "both agree"):
        assert shown in text
    together = replace(record, command={"group_by": "sku", "together": "sku"})
    assert "_groups.pq" not in Page(render_report(run_report(str(tmp_path), together))).text


def test_an_index_is_no_run_to_report_on(tmp_path: Path) -> None:
    run = write_run(tmp_path, "finetune", table_of(schema.CAPTION, []))
    with pytest.raises(RequestError, match="a run of finetune; a report is made of runs of answer, caption, tag"):
        of_run(run)


def test_many_questions_are_counted_together(tmp_path: Path) -> None:
    rows = [answered("yes", 0.5, question=f"question {row}?") for row in range(100)]
    page = Page(of_run(write_run(tmp_path, "answer", table_of(schema.ANSWER, rows))))
    assert "The 100 questions are too many for a table each" in page.text
    assert "and 60 more" in page.text


def test_an_evaluation_is_told_with_intervals_plots_and_mistakes(tmp_path: Path) -> None:
    uris = pictures(tmp_path, 6)
    rows = [
        evaluated(f"{row}", "mug" if row % 3 else "cup", "mug", confidence=0.5 + row / 20, image_uri=uri, kind="what")
        for row, uri in enumerate(uris)
    ]
    rows += [
        evaluated("6", "well, it depends", "mug", outcome="unparsed", confidence=0.1, kind="what"),
        evaluated("7", None, "mug", outcome="failed", error_code="image_missing", kind="why"),
        evaluated("8", None, "mug", outcome="missing", kind="why"),
        evaluated("9", "mug", None, outcome="no_truth", kind=None),
    ]
    content = write_evaluation(tmp_path / "evaluation", rows, by=["kind"])
    text = render_report(evaluation_report(str(tmp_path / "evaluation"), content))
    check_self_contained(text)
    page = Page(text)
    for shown in (
        *("0.4444", "95 %: 0.1198 – 0.7691", "accuracy by kind", "image_missing", "well, it depends"),
        *("not readable, counted as wrong", "without a prediction, counted as wrong", "predictions without truth"),
        *("Reliability", "Risk and coverage", "Scores by correctness", "share wrong", "confidence", "Manifest"),
    ):
        assert shown in page.text
    assert page.text.count("✗ truth: mug") == 3
    assert page.text.index("0.65") < page.text.index("0.50", page.text.index("Most confident mistakes"))
    assert len(page.all("img")) == 2
    # Mistakes that were made twice or more.
    assert re.search(r"mug\s*cup\s*2", page.text)


def test_measures_of_tags_share_a_table(tmp_path: Path) -> None:
    names = ("f1_micro", "f1[colour=red]", "recall[colour=red]", "f1[motif=a [b]]")
    measures = [Measure(name, 0.125 * (number + 1), 0.1, 0.9, 5, 5) for number, name in enumerate(names)]
    record = write_evaluation(tmp_path, [evaluated("1", "a", "b")], headline="f1_micro", measures=measures)
    page = Page(render_report(evaluation_report(str(tmp_path), record)))
    assert "All measures" not in page.text
    text = " ".join(page.text.split())
    assert "tagf1recall colour=red0.25000.3750 motif=a [b]0.5000–" in text


def test_an_evaluation_without_scores_has_no_plots(tmp_path: Path) -> None:
    content = write_evaluation(tmp_path, [evaluated("1", "a", "b"), evaluated("2", "b", "b")])
    page = Page(render_report(evaluation_report(str(tmp_path), content)))
    assert not page.all("svg")
    assert "How far the scores" not in page.text
    assert "no picture: the predictions are no run" in page.text
    assert "Most confident" not in page.text
    assert "highest scores" not in page.text


def test_a_table_of_predictions_has_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("image_id,answer\n1.jpg,a\n")
    rows = [evaluated("1", "a", "b", confidence=0.5)]
    content = write_evaluation(tmp_path / "judged", rows, predictions=str(tmp_path / "table.csv"))
    page = Page(render_report(evaluation_report(str(tmp_path / "judged"), content)))
    assert "no picture: the predictions are no run, and name no image_uri" in page.text
    assert "Errno" not in page.text
    assert "Most confident mistakes" in page.text


def test_invisible_characters_are_visible(tmp_path: Path) -> None:
    content = write_evaluation(tmp_path, [evaluated("1", "a\0b\x1b", "c\u202ed\x9b")], title="e\u202df\ng")
    text = render_report(evaluation_report(str(tmp_path), content))
    assert not re.search("[\0\x1b\u202d\u202e\x9b]", text)
    assert {"a\ufffdb\ufffd", "c\ufffdd\ufffd"} <= set(re.findall(r"\w\ufffd\w\ufffd", text))
    assert "e\ufffdf\ng" in text


def test_data_stays_text(tmp_path: Path) -> None:
    rows = [answered(text, 0.5, question=text, image_id=text, warning=text) for text in HOSTILE]
    rows += [{**FAILED, "error_message": MARKUP, "image_id": MARKUP}]
    of_rows = of_run(write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, rows)))
    judged = [evaluated(text, text, MARKUP, question=text, confidence=0.5, kind=text) for text in HOSTILE]
    content = write_evaluation(tmp_path / "evaluation", judged, by=["kind"], title=MARKUP, notes=[MARKUP])
    of_evaluation = render_report(evaluation_report(str(tmp_path / "evaluation"), content))
    for text in (of_rows, of_evaluation):
        check_self_contained(text)
        assert MARKUP not in text
        assert html.escape(MARKUP).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text
        assert "{{ 7 * 7 }}" in Page(text).text
        assert not [each for each in Page(text).elements if any(name.startswith("on") for name in each[1])]


def test_secrets_of_uris_are_left_out() -> None:
    text = render_report(Report("a", "b", manifest={"input": {"uri": "https://me:secret@host/x?sig=secret"}, "n": [1]}))
    assert "secret" not in text
    assert "https://host/x" in text


def test_ten_thousand_rows_take_few_seconds_and_megabytes(tmp_path: Path) -> None:
    uris = pictures(tmp_path, 50)
    rows = [
        answered(f"answer {row % 700}", row % 997 / 997, question=f"question {row % 90}?", image_uri=uris[row % 50])
        for row in range(10_000)
    ]
    run = write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, rows))
    begun = time.monotonic()
    text = of_run(run)
    assert time.monotonic() - begun < 15
    assert len(text.encode()) < 8e6
