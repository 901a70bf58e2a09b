"""Small files in the layouts of published benchmarks, with questions and images of our own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.helpers.coloured import picture
from tests.unit.readers.inputs import write_parquet

RED, BLUE = picture(0), picture(1)
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def struct(data: bytes | None, path: str | None = None) -> dict[str, Any] | None:
    return None if data is None else {"bytes": data, "path": path}


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_image(path: Path, data: bytes = RED) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_tsv(path: Path, rows: list[Mapping[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(rows[0])
    lines = ["\t".join(names), *("\t".join(f'"{row.get(name, "")}"' for name in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def table(path: Path, images: tuple[str, ...] = ("image",), **columns: list[Any]) -> Path:
    arrays = {
        name: pa.array(values, _IMAGE) if name in images else pa.array(values) for name, values in columns.items()
    }
    return write_parquet(path, pa.table(arrays))


def pope(root: Path) -> Path:
    asked = [
        {
            "question_id": 1,
            "image": "COCO_val2014_000000000001.jpg",
            "text": "Is there a cup in the image?",
            "label": "yes",
        },
        {
            "question_id": 2,
            "image": "COCO_val2014_000000000001.jpg",
            "text": "Is there a dog in the image?",
            "label": "no",
        },
    ]
    path = root / "coco_pope_random.json"
    root.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in asked))
    write_image(root / "val2014" / "COCO_val2014_000000000001.jpg")
    return path


def mme(root: Path) -> Path:
    for task, folder, questions in (("OCR", "", ""), ("landmark", "images", "questions_answers_YN")):
        write_image(root / task / folder / "0001.jpg")
        (root / task / questions).mkdir(parents=True, exist_ok=True)
        lines = f"Is this {task}? Please answer yes or no.\tYes\nIs this no {task}? Please answer yes or no.\tNo\n"
        (root / task / questions / "0001.txt").write_text(lines)
    return root


def mmbench(root: Path) -> Path:
    row = {"category": "ocr", "source": "own", "l2-category": "perception", "comment": "", "split": "dev"}
    image = base64.b64encode(RED).decode()
    return write_tsv(
        root / "mmbench_dev.tsv",
        [
            {
                "index": "7",
                "question": "Which one?",
                "hint": "Look.",
                "A": "red",
                "B": "blue",
                "C": "green",
                "D": "",
                "answer": "B",
                "image": image,
                **row,
            },
            {
                "index": "9",
                "question": "And now?",
                "hint": "",
                "A": "one",
                "B": "two",
                "C": "",
                "D": "",
                "answer": "A",
                "image": "7",
                **row,
            },
        ],
    )


def seed(root: Path) -> Path:
    base = {"choice_a": "One", "choice_b": "Two", "choice_c": "Three", "choice_d": "Four", "segment": None}
    asked = [
        {
            **base,
            "answer": "A",
            "data_id": "12_34",
            "data_type": "image",
            "question": "How many?",
            "question_id": "101",
            "question_type_id": 5,
        },
        {
            **base,
            "answer": "D",
            "data_id": "9.webm",
            "data_type": "video",
            "question": "What next?",
            "question_id": "102",
            "question_type_id": 10,
        },
    ]
    write_image(root / "SEED-Bench-image" / "12_34")
    return write_json(root / "SEED-Bench.json", {"question_type": {"Scene": 1}, "questions": asked})


def gqa(root: Path) -> Path:
    write_image(root / "images" / "n1.jpg")
    row = {
        "imageId": "n1",
        "question": "Is it red?",
        "answer": "yes",
        "fullAnswer": "Yes, it is red.",
        "isBalanced": True,
    }
    types = {"structural": "verify", "semantic": "attr", "detailed": "existAttr"}
    return write_json(
        root / "questions" / "testdev_balanced_questions.json", {"201": {**row, "types": types}, "202": row}
    )


def textvqa(root: Path) -> Path:
    row = {"question": "what is written?", "image_id": "0a", "image_classes": ["Sign"], "question_tokens": ["what"]}
    asked = [{**row, "question_id": 34602, "answers": ["stop"] * 9 + ["halt"]}, {**row, "question_id": 34603}]
    write_image(root / "train_images" / "0a.jpg")
    head = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1"}
    return write_json(root / "TextVQA_0.5.1_val.json", {**head, "data": asked})


def vizwiz(root: Path) -> Path:
    answers = [{"answer": "cup", "answer_confidence": "yes"}, {"answer": "mug", "answer_confidence": "maybe"}]
    row = {"image": "VizWiz_val_00000001.jpg", "question": "What is this?"}
    write_image(root / "val" / "VizWiz_val_00000001.jpg")
    return write_json(
        root / "Annotations" / "val.json", [{**row, "answers": answers, "answer_type": "other", "answerable": 1}]
    )


def scienceqa(root: Path) -> Path:
    row = {
        "question": "Which is red?",
        "choices": ["this", "that"],
        "answer": 1,
        "task": "closed choice",
        "grade": "grade2",
    }
    row |= {
        "subject": "natural science",
        "topic": "physics",
        "category": "Light",
        "skill": "See",
        "lecture": "",
        "solution": "",
    }
    write_image(root / "images" / "test" / "11" / "image.png")
    write_json(root / "pid_splits.json", {"test": ["11"], "minival": ["12"]})
    return write_json(
        root / "problems.json",
        {
            "11": {**row, "hint": "Read on.", "image": "image.png", "split": "test"},
            "12": {**row, "hint": "", "image": None, "split": "val"},
        },
    )


def mmmu(root: Path) -> Path:
    return table(
        root / "Art" / "validation-00000-of-00001.parquet",
        ("image_1", "image_2", "image_3"),
        id=["validation_Art_Theory_1", "validation_Art_Theory_2"],
        question=["Which of <image 1> and <image 2>?", "Name it: <image 1>"],
        options=["['the first', \"the 'second'\"]", "[]"],
        image_1=[struct(RED), struct(BLUE)],
        image_2=[struct(BLUE), None],
        image_3=[struct(BLUE), None],
        answer=["B", "['blue', 'azure']"],
        question_type=["multiple-choice", "open"],
        subfield=["Painting", "Painting"],
        topic_difficulty=["Easy", "Hard"],
    )


def mathvista(root: Path) -> Path:
    return table(
        root / "data" / "testmini-00000-of-00001.parquet",
        ("decoded_image",),
        pid=["1", "2"],
        question=["How far?", "Which?"],
        image=["images/1.jpg", "images/2.jpg"],
        decoded_image=[struct(RED), struct(BLUE)],
        choices=[None, ["2", "3"]],
        unit=[None, None],
        precision=[1.0, None],
        answer=["1.2", "3"],
        question_type=["free_form", "multi_choice"],
        answer_type=["float", "integer"],
        query=["Hint: one decimal.\nQuestion: How far?", "Hint: a letter.\nQuestion: Which?\nChoices:\n(A) 2\n(B) 3"],
        metadata=[{"source": "Own", "task": "textbook", "skills": ["counting"]}] * 2,
    )


def ai2d(root: Path) -> Path:
    return table(
        root / "data" / "test-00000-of-00001.parquet",
        question=["What is at A?"],
        options=[["root", "leaf", "stem", "bud"]],
        answer=["2"],
        image=[struct(RED)],
    )


def ai2d_official(root: Path) -> Path:
    asked = {
        "What is at A?": {
            "abcLabel": True,
            "answerTexts": ["root", "leaf"],
            "correctAnswer": 1,
            "questionId": "1.png-0",
        },
        "What eats it?": {
            "abcLabel": False,
            "answerTexts": ["cow", "dog"],
            "correctAnswer": 0,
            "questionId": "1.png-1",
        },
    }
    write_image(root / "images" / "1.png")
    write_image(root / "images" / "2.png", BLUE)
    write_json(root / "questions" / "1.png.json", {"questions": asked, "imageName": "1.png"})
    write_json(root / "questions" / "2.png.json", {"questions": {}, "imageName": "2.png"})
    return root / "questions"


def docvqa(root: Path) -> Path:
    row = {
        "questionId": 337,
        "question": "What is the date?",
        "docId": 279,
        "ucsf_document_id": "xn",
        "ucsf_document_page_no": "4",
    }
    write_image(root / "documents" / "xn_4.png")
    head = {"dataset_name": "SP-DocVQA", "dataset_version": "1.0", "dataset_split": "val"}
    asked = [
        {**row, "image": "documents/xn_4.png", "answers": ["1/8/93", "January 8"], "question_types": ["handwritten"]}
    ]
    return write_json(root / "val_v1.0.json", {**head, "data": asked})


def chartqa(root: Path) -> Path:
    write_image(root / "png" / "41.png")
    return write_json(root / "test_human.json", [{"imgname": "41.png", "query": "How many bars?", "label": "14"}])


def ocrbench(root: Path) -> Path:
    row = {"dataset_name": "IIIT5K", "type": "Regular Text Recognition", "id": 0, "image_path": "IIIT5K/1.png"}
    write_image(root / "OCRBench_Images" / "IIIT5K" / "1.png")
    return write_json(
        root / "OCRBench.json", [{**row, "question": "what is written in the image?", "answers": ["CENTRE"]}]
    )


SAMPLES: Mapping[str, Callable[[Path], Path]] = {
    "pope": pope,
    "mme": mme,
    "mmbench": mmbench,
    "seed-bench": seed,
    "gqa": gqa,
    "textvqa": textvqa,
    "vizwiz": vizwiz,
    "scienceqa": scienceqa,
    "mmmu": mmmu,
    "mathvista": mathvista,
    "ai2d": ai2d,
    "docvqa": docvqa,
    "chartqa": chartqa,
    "ocrbench": ocrbench,
}
