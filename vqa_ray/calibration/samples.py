"""The scores of a finished run beside labels of the same images: what `calibrate` fits."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from vqa_ray.errors import RequestError, RowError, one_line
from vqa_ray.evaluation.protocols.multi_label import NOT_KNOWN
from vqa_ray.judging.cells import true_labels
from vqa_ray.judging.review_table import pivoted
from vqa_ray.predicates.predicate import Question
from vqa_ray.readers.coerce import as_id
from vqa_ray.readers.records import read_records
from vqa_ray.runs.part_files import read_columns
from vqa_ray.schema import STATUS_OK
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.taxonomy.attribute import Attribute, Level
from vqa_ray.taxonomy.image_tags import NOT_ASKED
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.text import normalise

# Examples in a message.
_SHOWN = 3
_SAID = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(slots=True)
class Sample:
    """Scores of one question or tag, each with whether it is right."""

    scores: list[float]
    labels: list[bool]


class Labels:
    """Labels of images, by image_id.

    Args:
        columns: image_id → column → label.
        names: the columns of labels.
        where: the file, for messages.
    """

    def __init__(self, columns: Mapping[str, Mapping[str, Any]], names: Sequence[str], where: str) -> None:
        self.names = names
        self.where = where
        self._columns = columns
        # é is one character or two, by the system that a file name comes from.
        self._composed = {unicodedata.normalize("NFC", key): key for key in columns if not key.isascii()}
        self._found: set[str] = set()
        self._no_choices: dict[str, dict[str, int]] = {}
        self._strangers: dict[str, None] = {}

    @classmethod
    def read(cls, uri: str, encoding: str | None = None) -> Labels:
        """Read a Parquet, CSV, TSV or JSON Lines file with a column `image_id` and one for each thing that is known.

        The verdicts of `vqa-ray review` are such labels, too.

        Ids are text as they stand there: leading zeros count.

        Args:
            uri: of the file.
            encoding: of text; None tells UTF-8 from UTF-16 by the first bytes.

        Raises:
            RequestError: it cannot be read, has no `image_id`, or one image twice.
        """
        by_image: dict[str, Mapping[str, Any]] = {}
        names: dict[str, None] = {}
        doubled: list[str] = []
        try:
            for where, row in pivoted(read_records(uri, "image_id", encoding)):
                names |= dict.fromkeys(row)
                if "image_id" not in row:
                    raise RequestError(f"{uri} {where}: no column 'image_id'; the columns are: {', '.join(row)}")
                key = as_id(row["image_id"], "image_id")
                if key is None:
                    raise RequestError(f"{uri} {where}: image_id is empty")
                if key in by_image:
                    doubled.append(key)
                by_image[key] = row
        except store_failures(RowError, RequestError) as error:
            reason = error.message if isinstance(error, RowError) else store_reason(error)
            names_file = reason.startswith(uri) or reason.partition(" line ")[0].endswith(uri)
            mark = "" if names_file else f"{uri}: "
            raise RequestError(f"--labels {mark}{reason}") from error
        if doubled:
            raise RequestError(
                f"--labels {uri}: {len(doubled)} rows have an image_id that occurs in an earlier row "
                f"(for example {one_line(repr(doubled[0]), 80)}); wanted is one row per image"
            )
        return cls(by_image, [name for name in names if name != "image_id"], uri)

    def of(self, image_id: str | None, column: str) -> Any:
        """Look up a label of an image of the run; None where there is none."""
        row = self._row(image_id)
        return None if row is None else row.get(column)

    def of_attribute(self, image_id: str | None, attribute: Attribute) -> list[Any] | None:
        """Look up the true labels of an image of the run, as `evaluate` reads them; None where it is not labelled.

        Of several labels that are wrong together nobody knows which are.
        """
        row = self._row(image_id)
        if row is None or attribute.name not in row:
            return None
        labels = true_labels(row[attribute.name], multi=attribute.multi)
        if labels == [NOT_KNOWN]:
            return None if attribute.multi else []
        return labels

    def _row(self, image_id: str | None) -> Mapping[str, Any] | None:
        key = str(image_id)
        if key not in self._columns and not key.isascii():
            key = self._composed.get(unicodedata.normalize("NFC", key), key)
        row = self._columns.get(key)
        if row is None:
            self._strangers[key] = None
        else:
            self._found.add(key)
        return row

    @property
    def matches(self) -> int:
        """The number of labelled images that are in the run."""
        return len(self._found)

    def note_unknown(self, attribute: Attribute, label: Any) -> None:
        """Count a label that is no choice of its attribute."""
        counts = self._no_choices.setdefault(attribute.name, {})
        counts[str(label)] = counts.get(str(label), 0) + 1

    def notes(self) -> list[str]:
        """List what calibration could not use, a sentence each: see `unmatched`, and labels that are no choice."""
        found = [self.unmatched()]
        for name, counts in self._no_choices.items():
            shown = ", ".join(one_line(repr(label), 80) for label in list(counts)[:_SHOWN])
            found.append(f"{sum(counts.values())} labels of {name!r} are none of its choices ({shown})")
        return [text for text in found if text]

    def unmatched(self) -> str:
        """Count the labels that no image of the run has, and the images that have no label, with examples of both.

        Returns:
            A sentence; empty where every label met its image, or none was looked up.
        """
        lonely = [key for key in self._columns if key not in self._found]
        if not lonely or not (self._found or self._strangers):
            return ""
        text = f"{len(lonely)} of {len(self._columns)} labels are of images that the run has not answered"
        text += f" (for example {one_line(repr(lonely[0]), 80)})"
        if self._strangers:
            text += f"; {len(self._strangers)} images of the run have no label"
            text += f" (for example {one_line(repr(next(iter(self._strangers))), 80)})"
        return text


def question_samples(part_uris: Iterable[str], labels: Labels) -> dict[Question, Sample]:
    """Return the scores of a `retrieve` run's questions for which labels have a column of the question's text.

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
                    f"--run: {question.text!r} was not answered for every image, and the answered ones are no fair "
                    "sample; use a run with --ask-all"
                )
            truth = _yes(label, labels, question.text) if question.answer is None else _same(label, question.answer)
            samples[question].scores.append(each["score"])
            samples[question].labels.append(truth)
    return dict(samples)


def tag_samples(part_uris: Iterable[str], taxonomy: Taxonomy, labels: Labels) -> dict[str, Sample]:
    """Return the scores of a `tag` run's attributes for which labels have a column of the attribute's name.

    Of an attribute with one value it is the score of the best choice, right where that, or a choice above it, is the
    label; of one with several (`multi`) the score of each choice, right where it is among the labels. Images that the
    attribute was not asked of are left out.

    Raises:
        RequestError: scores below a threshold were left out of the run, as runs without `tag_scores` do.
    """
    wanted = [attribute for attribute in taxonomy.attributes if attribute.name in labels.names]
    samples: dict[str, Sample] = defaultdict(lambda: Sample([], []))
    columns = [column for attribute in wanted for column in attribute.all_columns]
    for row in _rows(part_uris, ("image_id", "status", "tag_scores", *columns)):
        for attribute in wanted:
            truths = labels.of_attribute(row["image_id"], attribute)
            if truths is None or row.get(f"{attribute.name}_reason") == NOT_ASKED:
                continue
            given, scores = _scored(row, attribute)
            choices = given if attribute.multi else [given]
            is_whole = attribute.shortlist is not None or len(choices) >= len(attribute.levels[0].choices)
            if None in choices or (attribute.multi and not is_whole):
                raise RequestError(
                    f"--run: attribute {attribute.name!r} left out choices below its threshold; use a run with "
                    "`threshold: 0` in its tags.yaml"
                )
            for truth in truths:
                if not any(_same(truth, choice) for choice in attribute.paths):
                    labels.note_unknown(attribute, truth)
            for choice, score in zip(choices, scores if attribute.multi else [scores], strict=True):
                sample = samples[f"{attribute.name}:{choice}" if attribute.multi else attribute.name]
                sample.scores.append(score)
                path = attribute.paths.get(choice, (choice,))
                sample.labels.append(any(_same(truth, each) for truth in truths for each in path))
    return dict(samples)


def _scored(row: Mapping[str, Any], attribute: Attribute) -> tuple[Any, Any]:
    """Return the choices of an attribute and their scores, the best alone where it has one value.

    Runs that kept the score of every choice tell those that were not given, too.
    """
    every = [each for each in row.get("tag_scores") or () if each["attribute"] == attribute.name]
    if not every:
        given, scores = (row[column] for column in attribute.columns)
        return given, scores
    if attribute.multi:
        return [each["choice"] for each in every], [each["score"] for each in every]
    # The last choice of a path without a threshold on the way.
    level: Level | None = attribute.levels[0]
    best: Mapping[str, Any] = {}
    while level is not None and (scored := [each for each in every if each["choice"] in level.choices]):
        best = max(scored, key=itemgetter("score"))
        level = attribute.levels_below.get(best["choice"])
    return best["choice"], best["score"]


def _rows(part_uris: Iterable[str], columns: Sequence[str]) -> Iterable[dict[str, Any]]:
    for uri in part_uris:
        for row in read_columns(uri, columns).to_pylist():
            if row["status"] == STATUS_OK:
                yield row


def _yes(label: Any, labels: Labels, column: str) -> bool:
    said = _SAID.get(str(label).strip().lower())
    if said is None:
        raise RequestError(f"--labels {labels.where}: column {column!r} holds {label!r}; expected yes or no")
    return said


def _same(label: Any, answer: str) -> bool:
    return normalise(str(label)) == normalise(answer)
