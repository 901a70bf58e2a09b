"""Published benchmarks: recognised by their contents, read as they are meant, never mistaken for a user's own files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest

from tests.unit.readers.benchmarks.samples import (
    BLUE,
    RED,
    SAMPLES,
    ai2d_official,
    mmbench,
    pope,
    struct,
    table,
    write_image,
    write_tsv,
)
from tests.unit.readers.inputs import errors, open_at, read, refused, rows_of, write_jsonl
from vqa_ray.errors import RowError
from vqa_ray.format_names import Format
from vqa_ray.readers.benchmarks.fields import literal
from vqa_ray.readers.benchmarks.layouts import LAYOUTS
from vqa_ray.readers.source import BENCHMARKS, FORMATS

LETTER = "Answer with the option's letter from the given choices directly."
# Of the first row of each sample: question id, image id, question, and some of the truth.
FIRST: dict[str, tuple[str, str | None, str, dict[str, Any]]] = {
    "pope": ("1", "COCO_val2014_000000000001", "Is there a cup in the image?", {"truth": "yes", "split": "random"}),
    "mme": (
        "OCR/0001.jpg/1",
        "OCR/0001.jpg",
        "Is this OCR? Please answer yes or no.",
        {"truth": "Yes", "category": "OCR"},
    ),
    "mmbench": (
        "7",
        "7",
        "Hint: Look.\nQuestion: Which one?\nOptions:\nA. red\nB. blue\nC. green\n"
        "Please select the correct answer from the options above.",
        {"truth": "B", "choices": ["red", "blue", "green"], "l2_category": "perception", "split": "dev"},
    ),
    "seed-bench": (
        "101",
        "12_34",
        f"How many?\nA. One\nB. Two\nC. Three\nD. Four\n{LETTER}",
        {"truth": "A", "question_type": "5"},
    ),
    "gqa": ("201", "n1", "Is it red?", {"truth": "yes", "structural_type": "verify", "is_balanced": "true"}),
    "textvqa": ("34602", "0a", "what is written?", {"annotator_answers": ["stop"] * 9 + ["halt"]}),
    "vizwiz": (
        "VizWiz_val_00000001.jpg",
        "VizWiz_val_00000001.jpg",
        "What is this?",
        {"annotator_answers": ["cup", "mug"], "answer_type": "other", "answerable": 1},
    ),
    "scienceqa": (
        "11",
        "11",
        "Question: Which is red?\nContext: Read on.\nOptions: (A) this (B) that\nAnswer:",
        {"truth": "B", "grade": "grade2", "has_text": "true", "has_image": "true", "split": "test"},
    ),
    "mmmu": (
        "validation_Art_Theory_1",
        "validation_Art_Theory_1",
        f"Which of <image 1> and <image 2>?\n\n(A) the first\n(B) the 'second'\n\n\n{LETTER}",
        {"truth": "B", "subject": "Art_Theory", "question_type": "multiple-choice"},
    ),
    "mathvista": (
        "1",
        "1",
        "Hint: one decimal.\nQuestion: How far?",
        {"truth": "1.2", "precision": 1.0, "answer_type": "float", "skills": "counting", "choices": []},
    ),
    "ai2d": (
        "test-00000-of-00001/0",
        None,
        f"What is at A?\nA. root\nB. leaf\nC. stem\nD. bud\n{LETTER}",
        {"truth": "C", "choices": ["root", "leaf", "stem", "bud"]},
    ),
    "docvqa": ("337", "xn/4", "What is the date?", {"annotator_answers": ["1/8/93", "January 8"]}),
    "chartqa": ("test_human/0", "41", "How many bars?", {"annotator_answers": ["14"], "split": "human"}),
    "ocrbench": (
        "0",
        "IIIT5K/1.png",
        "what is written in the image?",
        {"annotator_answers": ["CENTRE"], "question_type": "Regular Text Recognition", "dataset": "IIIT5K"},
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_layout_is_recognised_and_read(name: str, tmp_path: Path) -> None:
    # AI2D has nothing that a user's own table could not have.
    source = open_at(SAMPLES[name](tmp_path), format=name if name == "ai2d" else None, reads_several=True)
    assert source.format == name
    assert any(f"read as {LAYOUTS[source.format].title} ({name})" in note for note in source.notes)
    row = rows_of(source)[0]
    question_id, image_id, question, truth = FIRST[name]
    assert (row["question_id"], row["questions"], row["status"]) == (question_id, [question], "ok")
    assert image_id is None or row["image_id"] == image_id
    assert {column: row[column] for column in truth} == truth
    data = row["image"] if row["image"] is not None else Path(row["image_uri"]).read_bytes()
    assert data == RED


@pytest.mark.parametrize("name", SAMPLES)
def test_a_layout_is_read_the_same_by_name_and_without_images(name: str, tmp_path: Path) -> None:
    path = SAMPLES[name](tmp_path)
    named = read(path, format=name, reads_several=True)
    truth = read(path, format=name, reads_images=False)
    assert [row["question_id"] for row in truth] == [row["question_id"] for row in named]
    assert [row["questions"] for row in truth] == [row["questions"] for row in named]
    columns = {part.name for part in open_at(path, format=name).passthrough}
    assert columns <= LAYOUTS[open_at(path, format=name).format].truth.keys()
    assert [[row[column] for column in columns] for row in truth] == [[row[c] for c in columns] for row in named]


def test_every_layout_has_a_name_everywhere() -> None:
    assert set(BENCHMARKS) == LAYOUTS.keys() == {*SAMPLES, "mmbench-circular"}
    assert get_args(Format) == (*FORMATS, *BENCHMARKS)


def test_official_files_of_okvqa_are_read_as_those_of_vqa_v2(tmp_path: Path) -> None:
    questions = tmp_path / "OpenEnded_mscoco_val2014_questions.json"
    asked = [{"image_id": 5, "question": "What is it for?", "question_id": 50}]
    questions.write_text(json.dumps({"info": {}, "data_subtype": "val2014", "data_type": "mscoco", "questions": asked}))
    answers = [{"answer": "race", "raw_answer": "racing", "answer_id": 1, "answer_confidence": "yes"}] * 10
    said = {"image_id": 5, "question_id": 50, "question_type": "four", "answer_type": "other", "answers": answers}
    (tmp_path / "mscoco_val2014_annotations.json").write_text(json.dumps({"annotations": [said]}))
    write_image(tmp_path / "val2014" / "COCO_val2014_000000000005.jpg")
    source = open_at(questions, keep=("annotator_answers",))
    assert source.format == "vqa-v2"
    assert rows_of(source)[0]["annotator_answers"] == ["race"] * 10


@pytest.mark.parametrize(
    "row",
    [
        {"image": "a.jpg", "question": "q?", "question_id": 1},
        {"image": "a.jpg", "question": "q?", "answer": "yes", "category": "shoes", "question_id": 1},
        {"image": "a.jpg", "question": "q?", "options": ["a", "b"], "answer": "0"},
        {"image": "a.jpg", "question": "q?", "text": "t", "label": "yes", "question_id": 1},
        {"image": "a.jpg", "question": "q?", "imageId": "7"},
        {"image": "a.jpg", "question": "q?", "question_type": "colour", "answer": "red", "dataset": "spring"},
        {
            "image": "a.jpg",
            "question": "q?",
            "id": 1,
            "question_id": 1,
            "answer": "no",
            "image_source": "x",
            "category": "y",
        },
    ],
)
def test_rows_of_a_users_own_are_read_as_before(tmp_path: Path, row: dict[str, Any]) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", [row])
    source = open_at(file)
    assert (source.format, source.notes, rows_of(source)[0]["questions"]) == ("jsonl", (), ["q?"])


def test_images_with_captions_beside_them_are_no_benchmark(tmp_path: Path) -> None:
    write_image(tmp_path / "shoes" / "a.jpg")
    (tmp_path / "shoes" / "a.txt").write_text("a red shoe\twith a heel")
    assert open_at(tmp_path, needs_question=False).format == "images"
    assert "no column" in refused(tmp_path) or "--question" in refused(tmp_path)


def test_what_is_named_is_read_as_named(tmp_path: Path) -> None:
    file = pope(tmp_path)
    assert open_at(file, columns={"question": "text"}, needs_question=True).format == "jsonl"
    assert open_at(file, questions=("What is it?",)).format == "jsonl"
    assert open_at(file, needs_question=False).format == "jsonl"
    assert read(file, format="pope", columns={"question": "label"})[0]["questions"] == ["yes"]


def test_several_splits_are_read_together_where_they_are_one_benchmark(tmp_path: Path) -> None:
    pope(tmp_path)
    other = tmp_path / "coco_pope_popular.json"
    other.write_text((tmp_path / "coco_pope_random.json").read_text())
    rows = read(tmp_path, format="pope")
    assert [row["question_id"] for row in rows] == ["popular/1", "popular/2", "random/1", "random/2"]
    charts = SAMPLES["chartqa"](tmp_path / "test")
    (charts.parent / "test_augmented.json").write_text(charts.read_text())
    found = [(row["question_id"], row["split"]) for row in read(charts.parent)]
    assert found == [("test_augmented/0", "augmented"), ("test_human/0", "human")]


def test_a_question_of_several_images_is_an_error_for_a_model_of_one(tmp_path: Path) -> None:
    path = SAMPLES["mmmu"](tmp_path)
    rows = read(path)
    assert errors(rows) == [("row_malformed", "the question has 2 images; the model takes one"), None]
    assert rows[0]["truth"] == "B"
    several = read(path, reads_several=True)
    assert (several[0]["image"], [each["image"] for each in several[0]["extra_images"]]) == (RED, [BLUE])


def test_a_mark_without_its_image_is_an_error(tmp_path: Path) -> None:
    path = table(
        tmp_path / "v.parquet",
        ("image_1", "image_2"),
        id=["validation_Art_1"],
        question=["See <image 2>"],
        options=["['a', 'b']"],
        image_1=[struct(RED)],
        image_2=[None],
        answer=["A"],
        question_type=["multiple-choice"],
        subfield=["x"],
    )
    assert errors(read(path)) == [("image_missing", "<image 2> is named, and column 'image_2' is null")]


def test_a_split_is_chosen_behind_a_mark(tmp_path: Path) -> None:
    path = SAMPLES["scienceqa"](tmp_path)
    assert [row["question_id"] for row in read(f"{path}#test")] == ["11"]
    assert [row["question_id"] for row in read(f"{path}#val")] == ["12"]
    assert [row["question_id"] for row in read(f"{path}#minival")] == ["12"]
    assert "no ScienceQA questions of split 'other' are there" in refused(f"{path}#other")
    (tmp_path / "pid_splits.json").write_text("[1]")
    assert "pid_splits.json: is no object of splits and keys" in refused(f"{path}#val")


def test_rotations_of_circular_evaluation(tmp_path: Path) -> None:
    rows = read(mmbench(tmp_path), format="mmbench-circular")
    assert [row["question_id"] for row in rows] == ["7", "1000007", "2000007", "9", "1000009"]
    assert [row["truth"] for row in rows] == ["B", "C", "A", "A", "B"]
    assert [row["choices"] for row in rows[:3]] == [
        ["red", "blue", "green"],
        ["green", "red", "blue"],
        ["blue", "green", "red"],
    ]
    assert "A. green\nB. red\nC. blue\n" in rows[1]["questions"][0]
    assert {row["image_id"] for row in rows} == {"7"}
    assert len({row["row_id"] for row in rows}) == 5
    assert rows[1]["image"] == rows[0]["image"] == RED


def test_rotations_of_questions_in_json(tmp_path: Path) -> None:
    row = {"question": "q?", "A": "x", "B": "y", "answer": "A", "category": "c", "l2-category": "l"}
    (tmp_path / "m.json").write_text(json.dumps([{"index": i, "image": "a.jpg", **row} for i in range(2)]))
    write_image(tmp_path / "a.jpg")
    rows = read(tmp_path / "m.json", format="mmbench-circular")
    assert [row["question_id"] for row in rows] == ["0", "1000000", "1", "1000001"]


def test_what_cannot_be_rotated_is_an_error(tmp_path: Path) -> None:
    row = {"question": "q?", "image": "", "answer": "A", "category": "c", "l2-category": "l"}
    path = write_tsv(
        tmp_path / "m.tsv",
        [
            {"index": "1000007", "A": "x", "B": "y", "C": "", **row},
            {"index": "8", "A": "x", "B": "", "C": "y", **row},
        ],
    )
    messages = [message for _, message in filter(None, errors(read(path, format="mmbench-circular")))]
    assert messages == [
        "m.tsv: index 1000007 is no number below 10⁶: --input-format mmbench reads rows that are rotations already",
        "m.tsv: index 8 has choices up to C, but no B",
    ]


def test_an_image_of_another_row_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    row = {"index": "1", "question": "q?", "A": "x", "B": "y", "image": "77", "category": "c", "l2-category": "l"}
    (found,) = read(write_tsv(tmp_path / "m.tsv", [{**row, "answer": "B"}]))
    assert (found["question_id"], found["truth"], found["error_code"]) == ("1", "B", "image_missing")
    assert "refers to the row of index '77', which the file lacks" in found["error_message"]


def test_a_broken_line_and_a_broken_field_cost_their_own_rows(tmp_path: Path) -> None:
    path = pope(tmp_path)
    good = path.read_text().splitlines()
    path.write_text("\n".join([good[0], '{"question_id": 3, "ima', "[1]", good[1]]))
    rows = read(path)
    assert [row["status"] for row in rows] == ["ok", "error", "error", "ok"]
    assert [code for code, _ in filter(None, errors(rows))] == ["row_malformed", "row_malformed"]
    tasks = SAMPLES["mme"](tmp_path / "mme")
    (tasks / "OCR" / "0001.txt").write_bytes(b"caf\xe9?\tYes")
    (tasks / "landmark" / "questions_answers_YN" / "0001.txt").write_text("Is it?\tYes\n\nIs it not?\n")
    assert [row["status"] for row in read(tasks)] == ["error", "ok", "error"]
    mmmu = table(
        tmp_path / "v.parquet",
        ("image_1",),
        id=["validation_Art_1"],
        question=["q?"],
        options=["['a', "],
        image_1=[struct(RED)],
        answer=["A"],
        question_type=["multiple-choice"],
        subfield=["x"],
    )
    (row,) = read(mmmu)
    assert (row["question_id"], row["error_code"]) == ("validation_Art_1", "row_malformed")


def test_images_that_are_nowhere_are_refused_and_a_folder_can_be_given(tmp_path: Path) -> None:
    path = pope(tmp_path / "here")
    (tmp_path / "here" / "val2014").rename(tmp_path / "photos")
    assert "COCO_val2014_000000000001.jpg, is not found (tried ., val2014/" in refused(path)
    (row, _) = read(path, image_root=str(tmp_path / "photos"))
    assert row["image_uri"] == f"{tmp_path}/photos/COCO_val2014_000000000001.jpg"
    (row, _) = read(path, columns={"image_folder": "../photos"})
    assert row["image_uri"] == f"{tmp_path}/photos/COCO_val2014_000000000001.jpg"


@pytest.mark.parametrize("value", [None, 5, "", "[", [1, None], {"a": 1}, "\ud800", [[1]]])
@pytest.mark.parametrize("name", ["pope", "seed-bench", "gqa", "textvqa", "scienceqa"])
def test_a_field_of_any_kind_costs_at_most_its_own_row(name: str, value: Any, tmp_path: Path) -> None:
    path = SAMPLES[name](tmp_path)
    is_lines = name == "pope"
    document = (
        [json.loads(line) for line in path.read_text().splitlines()] if is_lines else json.loads(path.read_text())
    )
    rows = document if is_lines else document.get("questions") or document.get("data") or list(document.values())
    for field in dict(rows[0]):
        kept, rows[0][field] = rows[0][field], value
        path.write_text("\n".join(map(json.dumps, document)) if is_lines else json.dumps(document))
        assert len(read(path, format=name, reads_images=False)) == 2
        rows[0][field] = kept


def test_a_layout_that_the_file_has_not_is_refused(tmp_path: Path) -> None:
    assert "has no questions as MMMU has them; the fields are: question_id, image, text" in refused(
        pope(tmp_path), format="mmmu"
    )
    (tmp_path / "empty").mkdir()
    empty = write_jsonl(tmp_path / "empty" / "rows.jsonl", [])
    assert "the input is empty: no POPE questions are there" in refused(empty, format="pope")
    (tmp_path / "empty" / "b.json").write_text('[{"question": ')
    assert "b.json: cannot be read as VizWiz: Expecting value" in refused(
        tmp_path / "empty" / "b.json", format="vizwiz"
    )


def test_a_damaged_parquet_file_is_one_error_row(tmp_path: Path) -> None:
    path = SAMPLES["mmmu"](tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    (row,) = read(path, format="mmmu")
    assert row["error_code"] == "row_malformed"


def test_own_wording_and_columns_to_keep(tmp_path: Path) -> None:
    path = mmbench(tmp_path)
    rows = read(
        path, question_template="{question} [{options}] {hint}", keep=("comment", "A"), keep_as=("comment", "first")
    )
    assert rows[1]["questions"] == ["And now? [A. one\nB. two]"]
    assert [row["first"] for row in rows] == ["red", "one"]
    assert rows[0]["truth"] == "B"
    assert "wanted is a text with {question} once" in refused(path, question_template="{options}")
    own = write_jsonl(tmp_path / "own.jsonl", [{"image": "a.jpg", "question": "q?"}])
    assert "--question-template: words the questions of benchmarks" in refused(own, question_template="{question}!")


def test_questions_without_answers_bring_no_truth(tmp_path: Path) -> None:
    path = SAMPLES["vizwiz"](tmp_path)
    (row,) = json.loads(path.read_text())
    path.write_text(json.dumps([{"image": row["image"], "question": row["question"]}]))
    source = open_at(path)
    assert (source.passthrough, [row["status"] for row in rows_of(source)]) == ((), ["ok"])
    assert "read as VizWiz (vizwiz)" in source.notes[0]
    assert "--keep answerable: no such column; the columns are: image, question" in refused(path, keep=("answerable",))


def test_a_training_reads_the_truth_as_labels(tmp_path: Path) -> None:
    source = open_at(SAMPLES["textvqa"](tmp_path), format="textvqa", labels=("annotator_answers", "answer"))
    assert source.passthrough == (pa.field("annotator_answers", pa.list_(pa.string())),)


# The other forms of some benchmarks: as Hugging Face, VLMEvalKit and MathVista's JSON have them.
PARQUET: dict[str, tuple[str, dict[str, list[Any]], dict[str, Any]]] = {
    "pope": (
        "pope",
        {"id": ["0"], "question_id": ["1"], "question": ["Is there a cup?"], "answer": ["yes"]}
        | {"image_source": ["COCO_val2014_000000000001"], "category": ["adversarial"]},
        {"question_id": "0", "image_id": "COCO_val2014_000000000001", "truth": "yes", "split": "adversarial"},
    ),
    "mme": (
        "mme",
        {"question_id": ["OCR/0001.jpg"], "question": ["Is it? Please answer yes or no."], "answer": ["Yes"]}
        | {"category": ["OCR"]},
        {"question_id": "test-00000-of-00001/0", "image_id": "OCR/0001.jpg", "truth": "Yes", "category": "OCR"},
    ),
    "scienceqa": (
        "scienceqa",
        {
            "question": ["Which?"],
            "choices": [["a", "b"]],
            "answer": [1],
            "hint": [""],
            "task": ["t"],
            "grade": ["grade1"],
        }
        | {"subject": ["s"], "topic": ["t"], "category": ["c"], "skill": ["k"], "lecture": [""], "solution": [""]},
        {"question_id": "test-00000-of-00001/0", "truth": "B", "choices": ["a", "b"], "has_image": "true"},
    ),
    "docvqa": (
        "docvqa",
        {
            "questionId": ["9"],
            "question": ["When?"],
            "docId": [3],
            "ucsf_document_id": ["x"],
            "ucsf_document_page_no": ["1"],
        }
        | {"answers": [["1/8/93"]], "data_split": ["val"], "question_types": [["form", "layout"]]},
        {"question_id": "9", "image_id": "x/1", "annotator_answers": ["1/8/93"], "question_type": "form, layout"},
    ),
    "infographicvqa": (
        "docvqa",
        {
            "questionId": ["9"],
            "question": ["When?"],
            "answers": [["1"]],
            "data_split": ["val"],
            "image_url": ["u/7.jpeg"],
        },
        {"question_id": "9", "image_id": "7", "annotator_answers": ["1"]},
    ),
    "chartqa": (
        "chartqa",
        {"query": ["How many?"], "label": [["14"]], "human_or_machine": [0]},
        {"question_id": "test-00000-of-00001/0", "annotator_answers": ["14"], "split": "human"},
    ),
    "ocrbench": (
        "ocrbench",
        {
            "dataset": ["IIIT5K"],
            "question": ["what?"],
            "question_type": ["Regular Text Recognition"],
            "answer": [["C"]],
        },
        {"annotator_answers": ["C"], "question_type": "Regular Text Recognition", "dataset": "IIIT5K"},
    ),
    "textvqa": (
        "textvqa",
        {
            "image_id": ["0a"],
            "question_id": [3],
            "question": ["what?"],
            "image_classes": [["Sign"]],
            "answers": [["a"] * 10],
        },
        {"question_id": "3", "image_id": "0a", "annotator_answers": ["a"] * 10},
    ),
    "mmbench": (
        "mmbench",
        {"index": [3], "question": ["Which?"], "hint": ["nan"], "A": ["a"], "B": ["b"], "C": ["nan"], "D": [None]}
        | {
            "answer": ["B"],
            "category": ["c"],
            "L2-category": ["l"],
            "split": ["dev"],
            "source": ["own"],
            "comment": ["nan"],
        },
        {"question_id": "3", "image_id": "3", "truth": "B", "choices": ["a", "b"], "l2_category": "l"},
    ),
    "seed-bench": (
        "seed-bench",
        {
            "question_id": ["5"],
            "question": ["Which?"],
            "data_id": ["1_2"],
            "data_type": ["image"],
            "question_type_id": [1],
        }
        | {"answer": ["A"], "choice_a": ["x"], "choice_b": ["y"], "choice_c": ["z"], "choice_d": ["w"]},
        {"question_id": "5", "image_id": "1_2", "truth": "A", "choices": ["x", "y", "z", "w"], "question_type": "1"},
    ),
}


@pytest.mark.parametrize("name", PARQUET)
def test_a_layout_is_recognised_in_parquet(name: str, tmp_path: Path) -> None:
    format_, columns, expected = PARQUET[name]
    path = table(tmp_path / "data" / "test-00000-of-00001.parquet", **columns, image=[struct(RED, "a.jpg")])
    source = open_at(path)
    assert source.format == format_
    (row,) = rows_of(source)
    assert row["image"] == RED
    assert {column: row[column] for column in expected} == expected


def test_parquet_may_name_images_too(tmp_path: Path) -> None:
    path = table(
        tmp_path / "q.parquet", id=["201"], imageId=["n1"], question=["Is it?"], answer=["yes"], isBalanced=[True]
    )
    assert "the image of the first question, n1, is not found" in refused(path)
    write_image(tmp_path / "images" / "n1.jpg")
    (row,) = read(path)
    assert (row["question_id"], row["image_uri"]) == ("201", f"{tmp_path}/images/n1.jpg")


def test_a_directory_of_subjects_is_read_by_its_split(tmp_path: Path) -> None:
    first = SAMPLES["mmmu"](tmp_path)
    for name in ("Art/dev-00000-of-00001.parquet", "Music/validation-00000-of-00001.parquet"):
        write_image(tmp_path / name, first.read_bytes())
    assert "has splits dev, validation; name one of them:" in refused(tmp_path)
    assert len(read(f"{tmp_path}#validation", reads_several=True)) == 4


def test_tables_with_images_in_base64_are_read_by_name(tmp_path: Path) -> None:
    image = base64.b64encode(RED).decode()
    row = {"index": "4", "image": image, "question": "Which?", "A": "x", "B": "y", "answer": "B", "category": "c"}
    file = write_tsv(tmp_path / "SEEDBench_IMG.tsv", [row])
    assert open_at(file, columns={"image_uri": "image"}).format == "csv"
    for name in ("seed-bench", "ai2d", "scienceqa"):
        (found,) = read(file, format=name)
        assert (found["question_id"], found["truth"], found["image"]) == ("4", "B", RED)
        assert found["choices"] == ["x", "y"]


def test_several_images_in_a_cell_of_a_table(tmp_path: Path) -> None:
    images = [base64.b64encode(data).decode() for data in (RED, BLUE)]
    row = {"index": "4", "question": "<image 1> or <image 2>?", "A": "x", "B": "y", "answer": "B", "image": f"{images}"}
    (found,) = read(write_tsv(tmp_path / "MMMU_DEV_VAL.tsv", [row]), format="mmmu", reads_several=True)
    assert (found["image"], [each["image"] for each in found["extra_images"]]) == (RED, [BLUE])
    (broken,) = read(write_tsv(tmp_path / "broken.tsv", [{**row, "image": "['" + images[0]}]), format="mmmu")
    assert (broken["question_id"], broken["truth"], broken["error_code"]) == ("4", "B", "row_malformed")


def test_the_diagrams_of_ai2d_as_a_file_for_each(tmp_path: Path) -> None:
    folder = ai2d_official(tmp_path)
    (folder / "3.png.json").write_text("{")
    source = open_at(folder, format="ai2d")
    rows = rows_of(source)
    assert [row["question_id"] for row in rows] == ["1.png-0", "1.png-1", None]
    assert rows[0]["questions"] == [f"What is at A?\nA. root\nB. leaf\n{LETTER}"]
    assert [row["truth"] for row in rows] == ["B", "A", None]
    assert rows[1]["image_uri"] == f"{tmp_path}/questions/../images/1.png".replace("questions/../", "")
    assert (rows[0]["image_id"], rows[2]["error_code"]) == ("1", "row_malformed")
    (folder / "3.png.json").unlink()
    assert open_at(folder).format == "ai2d"
    assert [row["truth"] for row in read(folder / "1.png.json", format="ai2d")] == ["B", "A"]


def test_mathvista_as_one_json_object(tmp_path: Path) -> None:
    problem = {
        "question": "How far?",
        "image": "images/1.jpg",
        "choices": None,
        "unit": None,
        "precision": 1,
        "pid": "1",
    }
    problem |= {
        "answer": "1.2",
        "question_type": "free_form",
        "answer_type": "float",
        "query": "Hint: so.\nQuestion: How far?",
    }
    (tmp_path / "testmini.json").write_text(json.dumps({"1": {**problem, "metadata": {"split": "testmini"}}}, indent=4))
    write_image(tmp_path / "images" / "1.jpg")
    source = open_at(tmp_path / "testmini.json")
    (row,) = rows_of(source)
    assert (source.format, row["question_id"], row["precision"], row["split"]) == ("mathvista", "1", 1.0, "testmini")
    assert row["image_uri"] == f"{tmp_path}/images/1.jpg"


def test_lines_of_a_benchmark_end_at_line_ends_alone(tmp_path: Path) -> None:
    file = pope(tmp_path)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["text"] = "Is there a cup\u2028in the\x85image?"
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), "utf-8")
    rows = read(file)
    assert errors(rows) == [None] * len(lines)
    assert rows[0]["questions"] == ["Is there a cup\u2028in the\x85image?"]


def test_a_cell_that_is_nested_without_end_costs_its_own_row() -> None:
    with pytest.raises(RowError, match=r"column 'options' holds .* expected a list"):
        literal("[" * 100_000, "options")
