"""The table of benchmarks: format → layout of its files as they are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.format_names import Format
from vqa_ray.readers.benchmarks.fields import (
    KEY,
    Read,
    Record,
    either,
    first,
    inner,
    joined,
    letter,
    listed,
    marked_images,
    name_part,
    options,
    place,
    stated,
    stem,
    texts,
    together,
)
from vqa_ray.readers.benchmarks.layout import Layout, Signature
from vqa_ray.readers.benchmarks.prompts import LETTER, MMBENCH, MMMU, SCIENCEQA

ROTATION = 10**6
_MME_TASKS = (
    *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"),
    *("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
)
_POPE_SPLITS = ("adversarial", "popular", "random")
_OCRBENCH_TYPES = (
    *("Regular Text Recognition", "Irregular Text Recognition", "Artistic Text Recognition", "Handwriting Recognition"),
    *("Digit String Recognition", "Non-Semantic Text Recognition", "Scene Text-centric VQA", "Doc-oriented VQA"),
    *("Key Information Extraction", "Handwritten Mathematical Expression Recognition"),
)
_METADATA = ("source", "category", "task", "context", "grade", "skills", "language", "split")


def _signature(names: str, **marks: Any) -> Signature:
    return Signature(frozenset(names.split()), **marks)


def _copied(*names: str) -> dict[str, Read]:
    return {name: first(name) for name in names}


def _seed_images(record: Record) -> Any:
    if record.get("data_type") == "video":
        raise RowError(ErrorCode.IMAGE_UNSUPPORTED, f"question {record.get('question_id')} is about a video")
    return listed("image", "data_id")(record)


def _science_images(record: Record) -> Any:
    value = record.get("image")
    return [f"{record.get('split')}/{record[KEY]}/{value}"] if isinstance(value, str) else listed("image")(record)


def _mmbench_image(record: Record) -> object:
    """Return the index of the question that an image was published with: rotations share it."""
    value = record.get("image_of") or record.get("index")
    return int(value) % ROTATION if value is not None and str(value).isdecimal() else value


def _chart_split(record: Record) -> object:
    value = either(name_part("(human|augmented)"), first("type", "human_or_machine"))(record)
    names = {"0": "human", "1": "augmented", "human_test": "human", "augmented_test": "augmented"}
    return None if value is None else names.get(str(value), value)


def _truth_value(value: object) -> str:
    return str(bool(value)).lower()


_MMBENCH = Layout(
    "MMBench",
    (
        _signature("index question A B image category l2-category"),
        _signature("index question A B image category L2-category"),
    ),
    truth={
        "truth": letter("answer"),
        "choices": options,
        "l2_category": first("l2-category", "L2-category"),
        **_copied("category", "split", "source"),
    },
    prompt=MMBENCH,
    question_id=first("index"),
    image_id=_mmbench_image,
    hint=stated("hint"),
    choices=options,
)

LAYOUTS: Mapping[Format, Layout] = {
    "pope": Layout(
        "POPE",
        (
            _signature("question_id image text label", are_all=True, test=lambda row: row["label"] in ("yes", "no")),
            _signature(
                "id question_id question answer image_source category", test=lambda row: row["category"] in _POPE_SPLITS
            ),
        ),
        truth={
            "truth": first("label", "answer"),
            "split": either(first("category"), name_part(f"({'|'.join(_POPE_SPLITS)})")),
        },
        question=first("text", "question"),
        question_id=first("id", "question_id", "index"),
        image_id=stem("image_source", "image"),
        folders=("val2014/", "images/val2014/", "coco/val2014/", "images/"),
        reads_together=True,
        repeats_ids=True,
    ),
    "mme": Layout(
        "MME",
        (_signature("question_id image question answer category", test=lambda row: row["category"] in _MME_TASKS),),
        truth={"truth": first("answer"), "category": first("task", "category")},
        question_id=place,
        image_id=either(joined("task", "image"), first("question_id", "image_path", "index")),
        images=listed("path", "image"),
        reads_together=True,
    ),
    "mmbench": _MMBENCH,
    "mmbench-circular": replace(_MMBENCH, signatures=(), rotates=True),
    "seed-bench": Layout(
        "SEED-Bench",
        (_signature("question_id question choice_a choice_b data_id question_type_id"),),
        truth={
            "truth": letter("answer"),
            "choices": options,
            "question_type": first("question_type_id", "category"),
        },
        prompt=LETTER,
        question_id=first("question_id", "index"),
        image_id=first("data_id"),
        images=_seed_images,
        choices=options,
        folders=("SEED-Bench-image/", "seed_bench_image/", "images/"),
        rows_at="questions",
    ),
    "gqa": Layout(
        "GQA",
        (_signature("question imageId isBalanced"),),
        truth={
            "truth": first("answer"),
            "full_answer": first("fullAnswer"),
            "structural_type": inner("types", "structural"),
            "semantic_type": inner("types", "semantic"),
            "is_balanced": lambda row: _truth_value(row.get("isBalanced", True)),
        },
        question_id=either(first(KEY), first("questionId", "id")),
        image_id=first("imageId"),
        images=listed("image", "imageId"),
        folders=("images/", "allImages/images/"),
    ),
    "textvqa": Layout(
        "TextVQA",
        (
            _signature("question_id question image_id image_classes"),
            _signature("question_id question image_id flickr_original_url"),
        ),
        truth={"annotator_answers": texts("answers")},
        image_id=first("image_id"),
        images=listed("image", "image_id"),
        folders=("train_images/", "train_val_images/train_images/", "train_val_images/", "test_images/", "images/"),
        rows_at="data",
    ),
    "vizwiz": Layout(
        "VizWiz",
        (_signature("image question", test=lambda row: str(row["image"]).startswith("VizWiz_")),),
        truth={"annotator_answers": texts("answers"), **_copied("answer_type", "answerable", "category")},
        question_id=first("question_id", "image"),
        image_id=first("question_id", "image"),
        folders=("val/", "train/", "test/", "Images/val/", "Images/train/", "Images/test/", "images/"),
    ),
    "scienceqa": Layout(
        "ScienceQA",
        (_signature("question choices hint grade subject topic skill lecture"),),
        truth={
            "truth": letter("answer"),
            "choices": options,
            "has_text": lambda row: _truth_value(row.get("hint")),
            "has_image": lambda row: _truth_value(row.get("image")),
            **_copied("subject", "topic", "category", "grade", "split"),
        },
        prompt=SCIENCEQA,
        question_id=place,
        image_id=lambda row: None if isinstance(row.get("image"), Mapping) else row.get(KEY),
        images=_science_images,
        # Whether a question has an image belongs to its truth.
        image_columns=(),
        hint=first("hint"),
        choices=options,
        folders=("images/",),
    ),
    "mmmu": Layout(
        "MMMU",
        (_signature("id question options image_1 question_type subfield"),),
        truth={
            "truth": first("answer"),
            "choices": options,
            "subject": lambda row: str(row.get("id")).partition("_")[2].rpartition("_")[0] or None,
            **_copied("question_type", "subfield", "topic_difficulty"),
        },
        prompt=MMMU,
        question_id=first("id", "index"),
        image_id=first("id", "index"),
        images=marked_images(*(f"image_{number}" for number in range(1, 8))),
        image_columns=tuple(f"image_{number}" for number in range(1, 8)),
        choices=lambda row: options(row) if row.get("question_type") != "open" else [],
    ),
    "mathvista": Layout(
        "MathVista",
        (_signature("pid question query precision question_type answer_type"),),
        truth={
            "truth": first("answer"),
            "choices": options,
            **_copied("question_type", "answer_type", "precision", "unit"),
            **{name: together(inner("metadata", name)) for name in _METADATA},
        },
        question=first("query", "question"),
        question_id=first("pid"),
        image_id=first("pid"),
        images=listed("decoded_image", "image"),
        image_columns=("decoded_image",),
    ),
    "ai2d": Layout(
        "AI2D",
        (_signature("imageName questions", are_all=True),),
        truth={
            "truth": letter("correctAnswer", "answer"),
            "choices": either(first("answerTexts"), options),
            "category": first("category"),
        },
        prompt=LETTER,
        question_id=either(first("questionId", "question_id"), place),
        image_id=stem("image_id", "image"),
        choices=either(first("answerTexts"), options),
        folders=("images/", "ai2d/images/"),
        reads_together=True,
    ),
    "docvqa": Layout(
        "DocVQA",
        (
            _signature("questionId question docId"),
            _signature("questionId question image_local_name"),
            _signature("questionId question image data_split"),
        ),
        truth={
            "annotator_answers": texts("answers"),
            "question_type": together(first("question_types", "answer_type")),
        },
        question_id=first("questionId"),
        image_id=either(joined("ucsf_document_id", "ucsf_document_page_no"), stem("image_local_name", "image_url")),
        images=listed("image", "image_local_name"),
        folders=("documents/", "images/", "infographicsvqa_images/", "spdocvqa_images/"),
        rows_at="data",
    ),
    "chartqa": Layout(
        "ChartQA",
        (_signature("imgname query label", are_all=True), _signature("image query label human_or_machine")),
        truth={
            "annotator_answers": texts("label", "answer"),
            "split": _chart_split,
        },
        question=first("query", "question"),
        question_id=place,
        image_id=stem("imgname"),
        images=listed("imgname", "image"),
        folders=("png/",),
        reads_together=True,
    ),
    "ocrbench": Layout(
        "OCRBench",
        (
            _signature("dataset_name type id image_path question answers"),
            _signature(
                "dataset question question_type answer image",
                test=lambda row: row["question_type"] in _OCRBENCH_TYPES,
            ),
        ),
        truth={
            "annotator_answers": texts("answers", "answer"),
            "question_type": first("type", "question_type", "category"),
            "dataset": first("dataset_name", "dataset"),
        },
        question_id=either(first("id", "index"), place),
        image_id=first("image_path"),
        images=listed("image_path", "image"),
        folders=("OCRBench_Images/", "images/"),
    ),
}
