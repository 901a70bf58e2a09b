"""Runs to review, and reviews of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.coloured import picture
from tests.unit.browse.site import table_of, write_run
from vqa_ray import schema
from vqa_ray.browse.dataset import open_collection
from vqa_ray.review.items import Items
from vqa_ray.review.label_file import LabelFile
from vqa_ray.review.pictures import ReviewPictures
from vqa_ray.review.server import ReviewServer
from vqa_ray.review.session import Review

FAILED = {"status": "error", "error_code": "image_missing", "error_message": "nothing is stored there"}


def answered(answer: str, score: float = 0.5, **more: Any) -> dict[str, Any]:
    return {"question": "is there a dog?", "answer": answer, "answer_score": score, "answers": [], **more}


def answer_run(place: Path, count: int = 6) -> str:
    """A run with pictures whose answers are `yes` and `no` in turn, and one failed row."""
    place.mkdir(parents=True, exist_ok=True)
    for row in range(count):
        (place / f"{row}.jpg").write_bytes(picture(row))
    rows = [
        answered("no" if row % 2 else "yes", 0.1 * row, image_uri=str(place / f"{row}.jpg"), question_id=f"q{row}")
        for row in range(count)
    ]
    return write_run(place / "run", "answer", table_of(schema.ANSWER, [*rows, dict(FAILED)]))


def tag_run(place: Path) -> str:
    """A run with an attribute of one value and one of several."""
    form = schema.tag_schema([("colour", False), ("motif", True)])

    def row(colour: str | None, motifs: list[str]) -> dict[str, Any]:
        scores = [{"attribute": "colour", "choice": "red", "score": 0.5}]
        scores += [{"attribute": "motif", "choice": choice, "score": 0.25} for choice in ("dog", "cat")]
        tags = ([f"colour:{colour}"] if colour else []) + [f"motif:{each}" for each in motifs]
        return {
            "tags": tags,
            "tag_scores": scores,
            **({"colour": colour, "colour_score": 0.5} if colour else {}),
            "motif": motifs,
            "motif_score": [0.25] * len(motifs),
        }

    rows = [row("red", ["dog", "cat"]), row("blue", []), row(None, ["dog"])]
    for number, each in enumerate(rows):
        (place / f"{number}.jpg").write_bytes(picture(number))
        each["image_uri"] = str(place / f"{number}.jpg")
    return write_run(place / "run", "tag", table_of(form, [*rows, dict(FAILED)]))


def review_of(run: str, labels: Path, size: int = 100) -> tuple[Review, Items]:
    items = Items(open_collection(run))
    return Review(items.sample("random", size, 0, None), LabelFile.open(str(labels)), "random", "ann"), items


def server_of(run: str, labels: Path, size: int = 100) -> tuple[ReviewServer, Review]:
    collection = open_collection(run)
    review, items = review_of(run, labels, size)
    return ReviewServer(collection, items, review, ReviewPictures(collection, str(labels))), review
