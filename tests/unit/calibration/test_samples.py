"""Scores of a run beside labels of the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray import schema
from vqa_ray.calibration.samples import Labels, question_samples, tag_samples
from vqa_ray.errors import RequestError
from vqa_ray.predicates.predicate import Question
from vqa_ray.taxonomy.taxonomy import Taxonomy

TAXONOMY = Taxonomy.model_validate(
    {
        "attributes": [
            {"name": "colour", "question": "which?", "choices": ["red", "blue"]},
            {
                "name": "motif",
                "question": "is there {choice}?",
                "choices": ["dog", "cat"],
                "mode": "yes_no",
                "multi": True,
            },
        ]
    }
)


def part(place: Path, form: pa.Schema, rows: list[dict[str, Any]]) -> list[str]:
    whole = [{"row_id": i, "source_key": i, "attempt": 1, "status": "ok", **row} for i, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(whole, form), place / "part-0.parquet")
    return [str(place / "part-0.parquet")]


def labels(place: Path, rows: list[dict[str, Any]]) -> Labels:
    pq.write_table(pa.Table.from_pylist(rows), place / "labels.parquet")
    return Labels.read(str(place / "labels.parquet"))


def scored(dog: float | None, red: float) -> list[dict[str, Any]]:
    return [
        {"question": "is it a dog?", "answer": None, "score": dog},
        {"question": "what colour?", "answer": "red", "score": red},
        {"question": "is it new?", "answer": None, "score": None},
    ]


def test_questions_meet_labels_by_image_id(tmp_path: Path) -> None:
    rows = [
        {"image_id": "a", "scores": scored(0.5, 0.25)},
        {"image_id": "b", "scores": scored(0.75, 0.5)},
        {"image_id": "unlabelled", "scores": scored(0.1, 0.1)},
        {"image_id": "c", "status": "error", "error_code": "image_missing"},
    ]
    known = [
        {"image_id": "b", "is it a dog?": "Yes", "what colour?": "The red."},
        {"image_id": "a", "is it a dog?": "no", "what colour?": None},
        {"image_id": "c", "is it a dog?": "no", "what colour?": "red"},
    ]
    samples = question_samples(part(tmp_path, schema.RETRIEVE, rows), labels(tmp_path, known))
    assert set(samples) == {Question("is it a dog?"), Question("what colour?", "red")}
    assert samples[Question("is it a dog?")].scores == [0.5, 0.75]
    assert samples[Question("is it a dog?")].labels == [False, True]
    assert samples[Question("what colour?", "red")].labels == [True]


@pytest.mark.parametrize(
    ("score", "label", "told"),
    [(None, "yes", "was not answered for every image"), (0.5, "perhaps", "holds 'perhaps'; expected yes or no")],
)
def test_samples_that_are_not_fair_are_refused(tmp_path: Path, score: float | None, label: str, told: str) -> None:
    uris = part(tmp_path, schema.RETRIEVE, [{"image_id": "a", "scores": scored(score, 0.5)}])
    with pytest.raises(RequestError, match=told):
        question_samples(uris, labels(tmp_path, [{"image_id": "a", "is it a dog?": label}]))


def tagged(image_id: str, colour: str | None, motifs: list[str]) -> dict[str, Any]:
    scores = [0.9 - place / 10 for place in range(len(motifs))]
    return {"image_id": image_id, "colour": colour, "colour_score": 0.5, "motif": motifs, "motif_score": scores}


def test_tags_meet_labels(tmp_path: Path) -> None:
    rows = [tagged("a", "red", ["dog", "cat"]), tagged("b", "blue", ["cat", "dog"])]
    known = [
        {"image_id": "a", "colour": "red", "motif": ["dog"]},
        {"image_id": "b", "colour": "red", "motif": []},
    ]
    form = schema.tag_schema(TAXONOMY.columns)
    samples = tag_samples(part(tmp_path, form, rows), TAXONOMY, labels(tmp_path, known))
    assert samples["colour"].labels == [True, False]
    assert (samples["motif:dog"].scores, samples["motif:dog"].labels) == (
        [pytest.approx(0.9), pytest.approx(0.8)],
        [True, False],
    )
    assert samples["motif:cat"].labels == [False, False]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (None, [False, False]),
        ("", [False, False]),
        ("dog", [True, False]),
        ('["dog", "cat"]', [True, True]),
        ("?", None),
        ("(not known)", None),
    ],
)
def test_cells_of_several_labels_are_read_as_evaluate_reads_them(
    tmp_path: Path, cell: str | None, expected: list[bool] | None
) -> None:
    known = labels(tmp_path, [{"image_id": "a", "motif": cell}, {"image_id": "x", "motif": "dog"}])
    uris = part(tmp_path, schema.tag_schema(TAXONOMY.columns), [tagged("a", "red", ["dog", "cat"])])
    found = tag_samples(uris, TAXONOMY, known)
    assert [found[f"motif:{choice}"].labels[0] for choice in ("dog", "cat") if found] == (expected or [])
    assert len(known.notes()) == 1


def test_labels_that_are_no_choice_are_named(tmp_path: Path) -> None:
    rows = [tagged("a", "red", ["dog", "cat"]), tagged("b", "blue", ["cat", "dog"])]
    known = labels(tmp_path, [{"image_id": "a", "colour": "purple"}, {"image_id": "gone", "colour": "red"}])
    tag_samples(part(tmp_path, schema.tag_schema(TAXONOMY.columns), rows), TAXONOMY, known)
    unmatched, no_choice = known.notes()
    assert "1 of 2 labels are of images that the run has not answered (for example 'gone')" in unmatched
    assert no_choice == "1 labels of 'colour' are none of its choices ('purple')"


@pytest.mark.parametrize("row", [tagged("a", None, ["dog", "cat"]), tagged("a", "red", ["dog"])])
def test_a_run_that_left_out_low_scores_is_refused(tmp_path: Path, row: dict[str, Any]) -> None:
    form = schema.tag_schema(TAXONOMY.columns)
    known = labels(tmp_path, [{"image_id": "a", "colour": "red", "motif": ["dog"]}])
    with pytest.raises(RequestError, match="left out choices below its threshold; use a run with `threshold: 0`"):
        tag_samples(part(tmp_path, form, [row]), TAXONOMY, known)


def test_the_scores_of_choices_that_were_not_given_count_where_they_were_kept(tmp_path: Path) -> None:
    every = [("colour", "red", 0.2), ("colour", "blue", 0.1), ("motif", "dog", 0.9), ("motif", "cat", 0.3)]
    scores = [dict(zip(("attribute", "choice", "score"), each, strict=True)) for each in every]
    form = schema.tag_schema(TAXONOMY.columns)
    known = labels(tmp_path, [{"image_id": "a", "colour": "red", "motif": ["dog"]}])
    row = {**tagged("a", None, ["dog"]), "tag_scores": scores}
    samples = tag_samples(part(tmp_path, form, [row]), TAXONOMY, known)
    assert {name: (each.scores, each.labels) for name, each in samples.items()} == {
        "colour": ([pytest.approx(0.2)], [True]),
        "motif:dog": ([pytest.approx(0.9)], [True]),
        "motif:cat": ([pytest.approx(0.3)], [False]),
    }


def test_label_files_of_each_kind(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("image_id,is it a dog?\n7,yes\n8,no\n")
    (tmp_path / "l.jsonl").write_text('{"image_id": 7, "is it a dog?": true}\n')
    assert Labels.read(str(tmp_path / "l.csv")).of("7", "is it a dog?") == "yes"
    assert Labels.read(str(tmp_path / "l.jsonl")).of("7", "is it a dog?") is True
    assert Labels.read(str(tmp_path / "l.csv")).of("9", "is it a dog?") is None


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("l.csv", "id,a\n1,yes\n", "no column 'image_id'; the columns are: id, a"),
        (
            "l.csv",
            "image_id,a\n1,yes\n1,no\n",
            "1 rows have an image_id that occurs in an earlier row",
        ),
        ("l.parquet", "no parquet", "cannot be read"),
        ("absent.csv", None, "no such file"),
        ("l.csv", "image_id,a\n1,yes,no\n", "line 2: 3 fields where the header has 2"),
        ("l.jsonl", "no\n", "line 1: not JSON"),
    ],
)
def test_label_files_that_are_none_are_refused(tmp_path: Path, name: str, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(RequestError, match=told):
        Labels.read(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", "image_id,is it a dog?\n000000000009,yes\n9,no\n100000000030,yes\n"),
        ("l.tsv", "image_id\tis it a dog?\n000000000009\tyes\n9\tno\n100000000030\tyes\n"),
        (
            "l.jsonl",
            '{"image_id": "000000000009", "is it a dog?": "yes"}\n{"image_id": 9, "is it a dog?": false}\n'
            '{"image_id": 100000000030.0, "is it a dog?": true}\n',
        ),
    ],
)
def test_ids_of_labels_are_text_and_strangers_are_shown(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    known = Labels.read(str(tmp_path / name))
    rows = [{"image_id": key, "scores": scored(0.5, 0.25)} for key in ("000000000009", "100000000030", "25")]
    samples = question_samples(part(tmp_path, schema.RETRIEVE, rows), known)
    assert samples[Question("is it a dog?", None)].labels == [True, True]
    assert known.unmatched() == (
        "1 of 3 labels are of images that the run has not answered (for example '9'); "
        "1 images of the run have no label (for example '25')"
    )


def test_verdicts_of_a_review_are_labels(tmp_path: Path) -> None:
    form = schema.tag_schema(TAXONOMY.columns)
    rows = [
        {"image_id": name, "colour": "red", "colour_score": 0.5, "motif": ["dog", "cat"], "motif_score": [0.75, 0.25]}
        for name in "abcd"
    ]

    def verdict(image: str, name: str, verdict: str, answer: str | None) -> dict[str, Any]:
        several, question = name == "motif", {"colour": "which?", "motif": "motif"}[name]
        said = {"question": question, "attribute": name, "prediction": "red", "several": several}
        return {"image_id": image, "verdict": verdict, "answer": answer, **said}

    known = [
        verdict("a", "colour", "right", "red"),
        verdict("a", "motif", "other", "cat; dog"),
        verdict("b", "colour", "other", "blue"),
        # Nobody knows which of the two is wrong.
        verdict("b", "motif", "wrong", None),
        verdict("c", "colour", "wrong", None),
        verdict("c", "motif", "right", None),
    ]
    given = labels(tmp_path, known)
    samples = tag_samples(part(tmp_path, form, rows), TAXONOMY, given)
    assert samples["colour"].labels == [True, False, False]
    assert samples["motif:dog"].labels == [True, False]
    assert samples["motif:cat"].labels == [True, False]
    assert "1 images of the run have no label" not in given.notes()


def test_verdicts_on_questions_are_labels(tmp_path: Path) -> None:
    rows = [{"image_id": name, "scores": scored(0.5, 0.25)} for name in "ab"]
    known = [
        {"image_id": image, "question": question, "attribute": None, "prediction": said, "several": False, **judged}
        for image, question, said, judged in (
            ("a", "is it a dog?", "yes", {"verdict": "right", "answer": "yes"}),
            ("a", "what colour?", "not red", {"verdict": "wrong", "answer": "red"}),
            ("b", "is it a dog?", "yes", {"verdict": "wrong", "answer": "no"}),
            ("b", "what colour?", "red", {"verdict": "wrong", "answer": None}),
        )
    ]
    found = question_samples(part(tmp_path, schema.RETRIEVE, rows), labels(tmp_path, known))
    assert found[Question("is it a dog?", None)].labels == [True, False]
    assert found[Question("what colour?", "red")].labels == [True, False]


def test_images_that_an_attribute_was_not_asked_of_are_left_out_and_a_path_is_right_by_any_of_its_choices(
    tmp_path: Path,
) -> None:
    taxonomy = Taxonomy.model_validate(
        {
            "attributes": [
                {
                    "name": "kind",
                    "question": "what?",
                    "choices": {"shoe": {"children": ["boot", "clog"]}, "mug": "mug"},
                },
                {"name": "heel", "question": "how high?", "choices": ["high", "flat"], "when": "kind = shoe"},
            ]
        }
    )

    def row(image: str, scores: dict[str, float], reason: str | None) -> dict[str, Any]:
        heel = {"high": 0.7, "flat": 0.2} if reason is None else {}
        cells = [("kind", *pair) for pair in scores.items()] + [("heel", *pair) for pair in heel.items()]
        kept = [dict(zip(("attribute", "choice", "score"), cell, strict=True)) for cell in cells]
        return {"image_id": image, "tag_scores": kept, "heel_reason": reason}

    rows = [
        row("a", {"shoe": 0.75, "mug": 0.25, "boot": 0.5, "clog": 0.25}, None),
        row("b", {"shoe": 0.25, "mug": 0.5}, "not_asked"),
    ]
    known = labels(tmp_path, [{"image_id": "a", "kind": "shoe", "heel": "high"}, {"image_id": "b", "kind": "boot"}])
    samples = tag_samples(part(tmp_path, taxonomy.output_schema(), rows), taxonomy, known)
    assert (samples["kind"].scores, samples["kind"].labels) == ([0.5, 0.5], [True, False])
    assert samples["heel"].labels == [True]
