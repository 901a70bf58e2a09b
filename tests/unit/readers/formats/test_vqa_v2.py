from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.readers.inputs import errors, open_at, read, refused, rows_of
from vqa_ray.readers.formats.json_text import json_members

NAME = "v2_OpenEnded_mscoco_val2014_questions.json"


def questions(count: int = 3) -> list[dict[str, object]]:
    return [{"image_id": 100 + i // 2, "question": f"q{i}?", "question_id": 1_000 + i} for i in range(count)]


def write(root: Path, asked: object, name: str = NAME, subtype: str = "val2014") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    head = {"info": {"version": "2.0"}, "task_type": "Open-Ended", "data_type": "mscoco", "license": {}}
    (root / name).write_text(json.dumps({**head, "data_subtype": subtype, "questions": asked}, indent=1))
    return root / name


def image(root: Path, name: str = "COCO_val2014_000000000100.jpg") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b"x")


def annotate(root: Path, name: str = "v2_mscoco_val2014_annotations.json") -> None:
    answers = [{"answer": answer, "answer_confidence": "yes", "answer_id": i} for i, answer in enumerate(["yes", "no"])]
    said = {
        "question_id": 1_001,
        "answers": answers,
        "answer_type": "yes/no",
        "question_type": "is",
        "multiple_choice_answer": "yes",
    }
    (root / name).write_text(json.dumps({"annotations": [said, {"question_id": 5, "answers": []}], "info": {}}))


@pytest.mark.parametrize("folder", ["val2014", "images/val2014", "../val2014", "../images", "."])
def test_images_are_found_near_the_questions(tmp_path: Path, folder: str) -> None:
    file = write(tmp_path / "in" / "vqa", questions())
    image(file.parent / folder)
    source = open_at(file)
    assert (source.format, source.total_rows, source.multi_question) == ("vqa-v2", 3, False)
    rows = rows_of(source)
    place = (file.parent / folder).resolve()
    assert [row["image_uri"] for row in rows] == [f"{place}/COCO_val2014_000000000{n}.jpg" for n in (100, 100, 101)]
    assert [(row["image_id"], row["question_id"], row["questions"]) for row in rows] == [
        ("100", "1000", ["q0?"]), ("100", "1001", ["q1?"]), ("101", "1002", ["q2?"]),
    ]  # fmt: skip
    assert len({row["row_id"] for row in rows}) == 3


@pytest.mark.parametrize(
    ("subtype", "name"),
    [("test-dev2015", "COCO_test2015_000000000100.jpg"), ("val2014", "000000000100.jpg"), ("train", "100.png")],
)
def test_names_of_images(tmp_path: Path, subtype: str, name: str) -> None:
    file = write(tmp_path, questions(), subtype=subtype)
    image(tmp_path / "photos", name)
    rows = read(file, columns={"image_folder": "photos"})
    assert rows[0]["image_uri"] == f"{tmp_path}/photos/{name}"


def test_annotations_can_be_kept(tmp_path: Path) -> None:
    file = write(tmp_path, questions())
    image(tmp_path)
    annotate(tmp_path)
    rows = read(file, keep=("annotator_answers", "multiple_choice_answer", "answer_type", "question_type"))
    assert [row["annotator_answers"] for row in rows] == [None, ["yes", "no"], None]
    assert (rows[1]["multiple_choice_answer"], rows[1]["answer_type"], rows[1]["question_type"]) == (
        "yes",
        "yes/no",
        "is",
    )
    before = open_at(file, keep=("answer_type",)).fingerprint
    (tmp_path / "v2_mscoco_val2014_annotations.json").write_text('{"annotations": []}')
    assert open_at(file, keep=("answer_type",)).fingerprint != before


def test_shards_are_parts_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, questions(25_000))
    image(tmp_path)
    source = open_at(file)
    assert [(shard.start, shard.stop, shard.rows) for shard in source.shards] == [
        (0, 10_000, 10_000), (10_000, 20_000, 10_000), (20_000, 25_000, 5_000),
    ]  # fmt: skip
    assert [row["question_id"] for row in rows_of(source)] == [str(1_000 + i) for i in range(25_000)]


def test_broken_questions_are_rows(tmp_path: Path) -> None:
    good = questions(1)
    file = write(
        tmp_path,
        [
            *good,
            5,
            {"question": "q"},
            {"image_id": "x"},
            {"image_id": 7, "question": None},
            {"image_id": 7, "question": 8},
        ],
    )
    image(tmp_path)
    assert errors(read(file)) == [
        None,
        *[("row_malformed", f"{NAME}: a question without an image_id")] * 3,
        ("question_missing", "question in column 'question' is null"),
        ("row_malformed", "column 'question' holds 8 (an integer); expected a string"),
    ]


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, questions())
    assert refused(file) == (
        f"{file}: the image of the first question, COCO_val2014_000000000100.jpg, is not found "
        "(tried val2014, images/val2014, Images/mscoco/val2014, images, Images, .); "
        "give the folder with --column image_folder=DIR"
    )
    image(tmp_path)
    assert refused(file, keep=("price",)).endswith(
        "--keep price: no such column; "
        "the columns are: annotator_answers, answer_type, question_type, multiple_choice_answer"
    )
    assert refused(file, keep=("answer_type",)) == (
        f"{file}: --keep answer_type needs the annotations file, which is not at "
        f"{tmp_path}/v2_mscoco_val2014_annotations.json"
    )
    assert refused(file, columns={"question": "q"}).endswith(
        "--column question=q: 'question' cannot be given here; allowed are: image_folder, annotations"
    )
    file.write_text("{")
    assert refused(file).startswith(f"{file}: not a VQA questions file: Expecting")
    file.write_text('{"questions": []}')
    assert refused(file) == f"{file}: not a VQA questions file: no list 'questions' of objects with an image_id"
    write(tmp_path, questions(), name="b_OpenEnded_x_questions.json")
    assert refused(tmp_path, format="vqa-v2").startswith(f"{tmp_path}: holds 2 questions files; give one of them: ")


@pytest.mark.parametrize("text", ['{"a": 1, "list": [1, {"b": [2]}, "]"], "c": {"list": [3]}}', '{"list":[]}', "{}"])
def test_json_is_read_element_by_element(text: str) -> None:
    whole = json.loads(text)
    found = [(key, value) for key, value, _ in json_members(text, "list")]
    assert [value for key, value in found if key == "list"] == whole.pop("list", [])
    assert {key: value for key, value in found if key != "list"} == whole
