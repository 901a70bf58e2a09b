"""A review: the sample, the verdicts so far, and what comes next."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from vqa_ray.errors import RequestError
from vqa_ray.review.items import Item
from vqa_ray.review.label_file import VERDICTS, Label, LabelFile, Verdict, right_answer

_LONGEST_ANSWER = 1_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a review has come: verdicts by kind, of `total` items."""

    verdicts: dict[str, int]
    total: int

    @property
    def done(self) -> int:
        """The number of items with a verdict."""
        return sum(self.verdicts.values())

    @property
    def percent(self) -> int:
        """The share of items with a verdict, 0..100."""
        return 100 * self.done // max(self.total, 1)


class Review:
    """The verdicts of one person on a sample, which go to a file at once.

    Args:
        items: of the sample, in the order in which they are asked.
        file: of the labels; those it holds already must be of the sample.
        sample: how it was drawn, in words.
        reviewer: whose verdicts they are.

    Raises:
        RequestError: the file holds labels of another sample.
    """

    def __init__(self, items: Sequence[Item], file: LabelFile, sample: str, reviewer: str) -> None:
        self.items = items
        self._file = file
        self._sample = sample
        self._reviewer = reviewer
        self._number = {item.id: number for number, item in enumerate(items)}
        self._skipped: set[int] = set()
        others = [label for label in file if label.item not in self._number]
        if others:
            raise RequestError(
                f"--output {file.uri}: {len(others)} of its {len(file)} verdicts are not of this sample, but of "
                f"{others[0].sample or 'an import'!r}; use the options it was begun with, or another file"
            )
        stale = [label for label in file if label.inclusion_probability != self._item_of(label).probability]
        if stale:
            # A larger sample holds the items of the smaller one, which are now likelier to be in it.
            file.add(*(replace(each, inclusion_probability=self._item_of(each).probability) for each in file))

    def _item_of(self, label: Label) -> Item:
        return self.items[self._number[label.item]]

    @property
    def progress(self) -> Progress:
        """The verdicts so far."""
        counts = Counter(label.verdict for label in self._file)
        return Progress({verdict: counts[verdict] for verdict in VERDICTS}, len(self.items))

    def label(self, number: int) -> Label | None:
        """Return the verdict on an item; None before."""
        return self._file.get(self.items[number].id)

    def next(self, after: int = -1) -> int | None:
        """Return the next item without a verdict: behind `after`, else from the start, skipped ones last."""
        left = [number for number, item in enumerate(self.items) if self._file.get(item.id) is None]
        fresh = [number for number in left if number not in self._skipped] or left
        return next((number for number in fresh if number > after), fresh[0] if fresh else None)

    def skip(self, number: int) -> None:
        """Put an item last, for as long as the process lives."""
        self._skipped.add(number)

    def judge(self, number: int, verdict: str, typed: str = "", image_uri: str | None = None) -> None:
        """Record a verdict; it is on disk when this returns.

        Args:
            number: of the item.
            verdict: `right`, `wrong` or `other`.
            typed: the right answer, with `other`; that of the run makes it `right`.
            image_uri: of the image, where the row itself has none.

        Raises:
            RequestError: the verdict is none, or `other` without an answer.
            OSError: it cannot be written.
        """
        item = self.items[number]
        self._file.add(verdict_on(item, verdict, typed, self._reviewer, self._sample, image_uri=image_uri))

    def undo(self) -> int | None:
        """Take back the last verdict; return its item, or None for none.

        Raises:
            OSError: it cannot be written.
        """
        label = self._file.undo()
        return None if label is None else self._number[label.item]


def verdict_on(
    item: Item, verdict: str, typed: str, reviewer: str, sample: str, *, image_uri: str | None = None
) -> Label:
    """Make the label of a verdict.

    Args:
        item: that was judged.
        verdict: `right`, `wrong` or `other`.
        typed: the right answer, with `other`; that of the run makes it `right`.
        reviewer: whose verdict it is.
        sample: how the item was chosen, in words.
        image_uri: of the image, where the row itself has none.

    Raises:
        RequestError: the verdict is none, or `other` without an answer.
    """
    answer = " ".join(typed.split())[:_LONGEST_ANSWER]
    if verdict not in VERDICTS or (verdict == "other" and not answer):
        raise RequestError("a verdict is right, wrong, or other with the right answer")
    judged: Verdict = "right" if verdict == "other" and answer == item.answer else verdict
    row = item.row
    return Label(
        item=item.id,
        row_id=row["row_id"],
        image_id=row["image_id"],
        question_id=row.get("question_id"),
        image_uri=row.get("image_uri") or image_uri,
        question=item.question,
        attribute=item.attribute,
        several=item.several,
        answer=right_answer(judged, item.answer, answer),
        prediction=item.answer,
        score=item.score,
        verdict=judged,
        reviewer=reviewer,
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        inclusion_probability=item.probability,
        sample=sample,
    )


def user_name() -> str:
    """Return the name of the user of this process; `unknown` where there is none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
