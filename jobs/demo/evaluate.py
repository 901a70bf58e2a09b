"""Evaluation of the demo's results against the truth: measures, and cards for the gallery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from vqa_ray.evaluation.binary import binary_report, said_yes
from vqa_ray.evaluation.vqa_accuracy import JudgedAnswer, vqa_accuracy
from vqa_ray.jobs.demo.inputs import DOG_KIND, DOG_QUESTION, is_wanted
from vqa_ray.report.card import Card, Line, answer_lines, failure, tag_lines
from vqa_ray.report.gallery import Measure
from vqa_ray.runs.question_rows import question_rows
from vqa_ray.schema import STATUS_OK
from vqa_ray.taxonomy.taxonomy import Taxonomy

Row = Mapping[str, Any]

_CARDS_BEFORE_ERRORS = 8


@dataclass(frozen=True, slots=True)
class DemoScores:
    """One input row and its results.

    Attributes:
        product: the row of the demo's shard, without its image.
        tagged: its TAG row.
        answered: its ANSWER rows, in the order of the questions; at least one.
    """

    product: Row
    tagged: Row
    answered: Sequence[Row]

    @property
    def tag_truth(self) -> dict[str, set[str]]:
        """The right choices by attribute; empty for a damaged row."""
        names = ("category", "colour", "pattern", "motif") if self.product["category"] is not None else ()
        return {name: {self.product[name]} - {None} for name in names}

    @property
    def answers(self) -> Sequence[Row]:
        """The answer to each question; empty where one of them failed."""
        return self.answered if all(row["status"] == STATUS_OK for row in self.answered) else ()

    def judged_answers(self) -> list[JudgedAnswer]:
        """Return the answers to questions with a known answer; those of a failed row count as wrong."""
        said = [each["answer"] for each in self.answers]
        right = self.product["right_answers"] or []
        given = said if len(said) == len(right) else [None] * len(right)
        return [
            JudgedAnswer(answer, [truth], kind)
            for answer, truth, kind in zip(given, right, self.product["kinds"] or [], strict=True)
        ]


def join_results(products: Sequence[Row], tagged: Sequence[Row], answered: Sequence[Row]) -> list[DemoScores]:
    """Rows of the three tables with the same image_id, in the order of `products`.

    Raises:
        KeyError: a product has no TAG or no ANSWER row.
    """
    tags = {row["image_id"]: row for row in tagged}
    answers: dict[str, list[Row]] = {}
    for row in sorted(question_rows(answered), key=itemgetter("question_index")):
        answers.setdefault(row["image_id"], []).append(row)
    return [DemoScores(row, tags[row["image_id"]], answers[row["image_id"]]) for row in products]


def measures(scores: Sequence[DemoScores], taxonomy: Taxonomy) -> list[Measure]:
    """Measure tags and answers of undamaged images: a share for each tag, VQA accuracy by kind of question."""
    sound = [each for each in scores if each.tag_truth]
    marks: dict[str, list[bool]] = {}
    for each in sound:
        for line in _lines_of_tags(each, taxonomy):
            if line.right is not None:
                marks.setdefault(line.label, []).append(line.right)
    result = [Measure(f"tag: {name}", sum(right) / len(right), len(right)) for name, right in marks.items()]
    answers = [answer for each in sound for answer in each.judged_answers()]
    accuracy = vqa_accuracy(answers)
    result.append(Measure("answers: all", accuracy.overall, accuracy.n))
    result += [
        Measure(f"answers: {kind.replace('_', ' ')}", value, accuracy.n_by_type[kind])
        for kind, value in accuracy.by_type.items()
        if kind != DOG_KIND
    ]
    dogs = [
        (said_yes(each.answer), said_yes(each.annotator_answers[0])) for each in answers if each.answer_type == DOG_KIND
    ]
    report = binary_report(dogs)
    return [
        *result,
        Measure(f"{DOG_QUESTION} accuracy", report.accuracy, report.n),
        Measure(f"{DOG_QUESTION} F1", report.f1, report.n),
    ]


def _lines_of_tags(scores: DemoScores, taxonomy: Taxonomy) -> tuple[Line, ...]:
    if scores.tagged["status"] == STATUS_OK:
        return tag_lines(scores.tagged, taxonomy, scores.tag_truth)
    return tuple(Line(name, right=False) for name in scores.tag_truth)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The quality of the demo's search.

    Attributes:
        hits: images found.
        right: images found that match the query.
        existing: products that match the query.
    """

    hits: int
    right: int
    existing: int


def search_result(scores: Sequence[DemoScores], hits: Sequence[str]) -> SearchResult:
    """Compare the image_ids of hits with the truth."""
    wanted = {each.product["image_id"] for each in scores if is_wanted(each.product)}
    return SearchResult(len(hits), len(wanted.intersection(hits)), len(wanted))


def error_counts(scores: Sequence[DemoScores]) -> dict[str, int]:
    """Return the number of images that failed by error code, most frequent first."""
    codes = Counter(_failed(each)["error_code"] for each in scores if not is_sound(each))
    return dict(codes.most_common())


def display_order(scores: Sequence[DemoScores]) -> list[DemoScores]:
    """Put a few good rows first, then failed rows, then the rest, because a gallery shows only the first."""
    good = [each for each in scores if is_sound(each)]
    failed = [each for each in scores if not is_sound(each)]
    return good[:_CARDS_BEFORE_ERRORS] + failed + good[_CARDS_BEFORE_ERRORS:]


def is_sound(scores: DemoScores) -> bool:
    """Whether an image was both tagged and answered."""
    return all(row["status"] == STATUS_OK for row in (scores.tagged, *scores.answered))


def _failed(scores: DemoScores) -> Row:
    """Pick the first row of an image that failed, or else its TAG row."""
    rows = (scores.tagged, *scores.answered)
    return next((row for row in rows if row["status"] != STATUS_OK), scores.tagged)


def demo_cards(scores: Sequence[DemoScores], images: Mapping[str, bytes | None], taxonomy: Taxonomy) -> Iterator[Card]:
    """Draw a card of each image.

    Args:
        scores: in the order to show.
        images: image_id → encoded bytes, looked up as cards are drawn.
        taxonomy: the taxonomy of the tags.
    """
    for each in scores:
        right = dict(zip(each.product["questions"] or [], each.product["right_answers"] or [], strict=False))
        lines = (*_shown_tags(each, taxonomy), *answer_lines(each.answers, right))
        reason = failure(_failed(each))
        image_id = each.product["image_id"]
        yield Card(image_id, images.get(image_id), tuple(each.tagged["tags"] or ()), lines, **reason)


def _shown_tags(scores: DemoScores, taxonomy: Taxonomy) -> tuple[Line, ...]:
    return tag_lines(scores.tagged, taxonomy, scores.tag_truth) if scores.tagged["status"] == STATUS_OK else ()
