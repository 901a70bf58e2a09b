"""The scores of a finished run beside labels of the same images: what `calibrate` fits."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet
from pyarrow import json as arrow_json

from vqa_ray.answers import normalise
from vqa_ray.errors import RequestError, one_line
from vqa_ray.predicates import Question
from vqa_ray.run.tally import read_columns
from vqa_ray.schema import STATUS_OK
from vqa_ray.storage import read_bytes
from vqa_ray.taxonomy import Taxonomy

_SAID = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(slots=True)
class Sample:
    """Scores of one question or tag, each with whether it is right."""

    scores: list[float]
    labels: list[bool]


class Labels:
    """What is known of images, by image_id.

    Args:
        columns: image_id → column → label.
        names: the columns of labels.
        where: the file, for messages.
    """

    def __init__(self, columns: Mapping[str, Mapping[str, Any]], names: Sequence[str], where: str) -> None:
        self.names = names
        self.where = where
        self._columns = columns

    @classmethod
    def read(cls, uri: str) -> Labels:
        """From a Parquet, CSV or JSON Lines file with a column `image_id` and one for each thing that is known.

        Raises:
            RequestError: it cannot be read, has no `image_id`, or one image twice.
        """
        try:
            table = _table(uri)
        except (OSError, pa.ArrowException) as error:
            raise RequestError(f"--labels {uri}: cannot be read: {one_line(error)}") from error
        if "image_id" not in table.column_names:
            raise RequestError(
                f"--labels {uri}: no column 'image_id'; the columns are: {', '.join(table.column_names)}"
            )
        rows = table.to_pylist()
        found = {str(row["image_id"]): row for row in rows}
        if len(found) < len(rows):
            raise RequestError(
                f"--labels {uri}: {len(rows) - len(found)} rows have an image_id that stands there before"
            )
        return cls(found, [name for name in table.column_names if name != "image_id"], uri)

    def of(self, image_id: str | None, column: str) -> Any:
        """What is known, or None."""
        return self._columns.get(str(image_id), {}).get(column)


def question_samples(part_uris: Iterable[str], labels: Labels) -> dict[Question, Sample]:
    """The scores of a `retrieve` run's questions for which labels have a column of the question's text.

    Raises:
        RequestError: a score is missing because the question was not asked, or a label cannot be read.
    """
    samples: dict[Question, Sample] = defaultdict(lambda: Sample([], []))
    for row in _rows(part_uris, ("image_id", "scores", "status")):
        for each in row["scores"]:
            question = Question(each["question"], each["answer"])
            label = labels.of(row["image_id"], question.text)
            if label is None:
                continue
            if each["score"] is None:
                raise RequestError(
                    f"--run: {question.text!r} was not asked of every image, and those it was asked of are no fair "
                    "sample; use a run with --ask-all"
                )
            truth = _yes(label, labels, question.text) if question.answer is None else _same(label, question.answer)
            samples[question].scores.append(each["score"])
            samples[question].labels.append(truth)
    return dict(samples)


def tag_samples(part_uris: Iterable[str], taxonomy: Taxonomy, labels: Labels) -> dict[str, Sample]:
    """The scores of a `tag` run's attributes for which labels have a column of the attribute's name.

    Of an attribute with one value it is the score of the best choice, right where that is the label; of one with
    several (`multi`) the score of each choice, right where it is among the labels.

    Raises:
        RequestError: scores below a threshold were left out of the run.
    """
    wanted = [attribute for attribute in taxonomy.attributes if attribute.name in labels.names]
    samples: dict[str, Sample] = defaultdict(lambda: Sample([], []))
    columns = [column for attribute in wanted for column in attribute.columns]
    for row in _rows(part_uris, ("image_id", "status", *columns)):
        for attribute in wanted:
            label = labels.of(row["image_id"], attribute.name)
            if label is None:
                continue
            given, scores = (row[column] for column in attribute.columns)
            choices = given if attribute.multi else [given]
            if None in choices or (attribute.multi and len(choices) < len(attribute.choices)):
                raise RequestError(
                    f"--run: attribute {attribute.name!r} left out choices below its threshold; use a run with "
                    "`threshold: 0` in its tags.yaml"
                )
            truths = label if isinstance(label, list) else [label]
            for choice, score in zip(choices, scores if attribute.multi else [scores], strict=True):
                sample = samples[f"{attribute.name}:{choice}" if attribute.multi else attribute.name]
                sample.scores.append(score)
                sample.labels.append(any(_same(truth, choice) for truth in truths))
    return dict(samples)


def _rows(part_uris: Iterable[str], columns: Sequence[str]) -> Iterable[dict[str, Any]]:
    for uri in part_uris:
        for row in read_columns(uri, columns).to_pylist():
            if row["status"] == STATUS_OK:
                yield row


def _table(uri: str) -> pa.Table:
    data = io.BytesIO(read_bytes(uri))
    name = uri.lower()
    if name.endswith(".csv"):
        return csv.read_csv(data)
    return arrow_json.read_json(data) if name.endswith((".jsonl", ".json")) else parquet.read_table(data)


def _yes(label: Any, labels: Labels, column: str) -> bool:
    said = _SAID.get(str(label).strip().lower())
    if said is None:
        raise RequestError(f"--labels {labels.where}: column {column!r} holds {label!r}; wanted is yes or no")
    return said


def _same(label: Any, answer: str) -> bool:
    return normalise(str(label)) == normalise(answer)
