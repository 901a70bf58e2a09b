"""`python -m benchmarks.public_sets NAME DIRECTORY OUTPUT`: public data sets as rows that `finetune` and `answer` read.

`easy-vqa` (rendered shapes with questions) becomes OUTPUT/train.jsonl; `grocery` (the Grocery Store data set: photos of
products in classes) becomes OUTPUT/train.jsonl and OUTPUT/val.jsonl, with questions made from the classes.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

_SEED = 20
_EASY = {
    "shape": ("circle", "rectangle", "triangle"),
    "colour": ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow"),
}
_WHAT = ("what is it?", "what is this?", "what product is this?", "what is shown in the picture?")
_IS_IT = ("is there a {}?", "is this a {}?", "is a {} in the picture?", "does the picture show a {}?")


def easy_vqa(directory: Path) -> dict[str, Iterable[dict[str, Any]]]:
    """Return the training part of easy-VQA: one row per question, ten or so about each image.

    `shape` and `colour` say of each image what its own questions and answers give away, null where they do not.
    """
    questions = json.loads((directory / "train" / "questions.json").read_text())
    images = (directory / "train" / "images").absolute()
    known: dict[int, dict[str, str]] = defaultdict(dict)
    for question, answer, image in questions:
        words = question.rstrip("?").split()
        # "is there not a red shape?": answered with no, it tells that there is one.
        affirms = "no" if {"no", "not"} & set(words) else "yes"
        told = words if answer == affirms else [answer]
        for column, values in _EASY.items():
            known[image].update((column, word) for word in told if word in values)
    rows = (
        {
            "image_uri": str(images / f"{image}.png"),
            "question": question,
            "answer": answer,
            **{column: known[image].get(column) for column in _EASY},
        }
        for question, answer, image in questions
    )
    return {"train": rows}


def grocery(directory: Path) -> dict[str, Iterable[dict[str, Any]]]:
    """Two rows per photo: what it is (the coarse class), and whether it is one named class, yes as often as no."""
    with (directory / "classes.csv").open(newline="") as file:
        classes = {int(row["Class ID (int)"]): row for row in csv.DictReader(file)}
    fine = {number: _spoken(row["Class Name (str)"]) for number, row in classes.items()}
    coarse = {number: _spoken(row["Coarse Class Name (str)"]) for number, row in classes.items()}
    return {part: _grocery_rows(directory, part, fine, coarse) for part in ("train", "val")}


def _grocery_rows(directory: Path, part: str, fine: dict[int, str], coarse: dict[int, str]) -> Iterator[dict[str, Any]]:
    names = sorted(set(coarse.values()))
    rng = np.random.default_rng([_SEED, len(part)])
    for line in (directory / f"{part}.txt").read_text().splitlines():
        name, number, _ = (field.strip() for field in line.split(","))
        truth = coarse[int(number)]
        row = {"image_uri": str((directory / name).absolute()), "product": fine[int(number)], "kind": "what"}
        yield {**row, "question": str(rng.choice(_WHAT)), "answer": truth}
        there = bool(rng.random() < 0.5)
        asked = truth if there else str(rng.choice([other for other in names if other != truth]))
        question = str(rng.choice(_IS_IT)).format(asked)
        yield {**row, "kind": "is_it", "question": question, "answer": "yes" if there else "no"}


def _spoken(name: str) -> str:
    return name.replace("-", " ").lower()


_SETS = {"easy-vqa": easy_vqa, "grocery": grocery}


def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(_SETS)}.")],
    directory: Annotated[Path, typer.Argument(help="The data set as it is published.")],
    output: Annotated[Path, typer.Argument(help="Directory of the JSON lines to write.")],
) -> None:
    """Write the rows of a data set."""
    if name not in _SETS:
        raise typer.BadParameter(f"unknown data set {name!r}; known are {', '.join(_SETS)}")
    output.mkdir(parents=True, exist_ok=True)
    for part, rows in _SETS[name](directory).items():
        lines = [json.dumps(row) + "\n" for row in rows]
        (output / f"{part}.jsonl").write_text("".join(lines))
        typer.echo(f"{output / part}.jsonl: {len(lines)} rows")


if __name__ == "__main__":
    typer.run(main)
