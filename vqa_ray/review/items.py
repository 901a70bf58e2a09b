"""What can be reviewed of a run: each answer to a question, or each value of an attribute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.browse.dataset import Collection
from vqa_ray.errors import RequestError
from vqa_ray.report.given_answers import SEPARATOR, given_answers
from vqa_ray.review.sample import STRATEGIES, Sample, Strategy, draw

# Strata that are no column of the rows: a value of an attribute or an answer to a question; a question or attribute.
TAG, QUESTION = "tag", "question"
_MOST_CHOICES = 60


@dataclass(frozen=True, slots=True)
class Item:
    """An answer to review.

    Attributes:
        id: its place in the run, see `Label.item`.
        position: of its row in the collection.
        row: its row.
        question: that a person is asked: that of the run, or of the taxonomy.
        answer, score: see `GIVEN`.
        attribute: of `tag`, which may have several values if `several`; None for other runs.
        probability: of its inclusion in the sample.
    """

    id: str
    position: int
    row: dict[str, Any]
    question: str
    answer: str | None
    score: float | None
    attribute: str | None
    several: bool
    probability: float


class Items:
    """All answers of a run.

    Args:
        collection: the run.
        questions: attribute → its question in the taxonomy; an attribute without one is asked for by its name.

    Raises:
        RequestError: it is an index, or has no answered rows.
    """

    def __init__(self, collection: Collection, questions: Mapping[str, str] | None = None) -> None:
        if collection.job in ("index", "fill"):
            what = "an index" if collection.job == "index" else "a run of answer --schema"
            raise RequestError(f"{collection.uri}: is {what}; a review is of a run of answer, tag, caption or retrieve")
        self._collection = collection
        self._questions = questions or {}
        self._given = given_answers(collection.job, collection.rows).combine_chunks()
        if not self._given.num_rows:
            raise RequestError(f"{collection.uri}: no row of the run has an answer to review")
        rows = self._given["row"].to_numpy()
        # The answers of a row are numbered in their order.
        order = np.argsort(rows, kind="stable")
        first = np.searchsorted(rows[order], rows[order])
        number = np.empty(len(rows), np.int64)
        number[order] = np.arange(len(rows)) - first
        keys = collection.rows["source_key"].to_numpy()[rows]
        index = number
        if "question_index" in collection.rows.column_names:
            index = collection.rows["question_index"].to_numpy()[rows] + number
        self._ids = [f"{key}/{place}" for key, place in zip(keys.tolist(), index.tolist(), strict=True)]

    def __len__(self) -> int:
        return len(self._ids)

    def sample(self, strategy: Strategy, size: int, seed: int, by: str | None) -> list[Item]:
        """Draw a sample, see `draw`.

        Args:
            strategy: of the choice.
            size: items to draw.
            seed: of the choice.
            by: the strata: `tag`, `question`, or a column of the rows; `tag` where it is None.

        Raises:
            RequestError: the rows have no such column.
        """
        assert strategy in STRATEGIES
        scores = self._given["score"].to_numpy().astype(np.float64)
        drawn: Sample = draw(strategy, size, seed, self._strata(by or TAG), scores)
        return [self._item(int(n), float(p)) for n, p in zip(drawn.items, drawn.probability, strict=True)]

    def by_key(self) -> dict[int, dict[str, int]]:
        """Return source_key → question or attribute → the number of the item."""
        found: dict[int, dict[str, int]] = {}
        keys = self._collection.rows["source_key"].take(self._given["row"]).to_pylist()
        for number, (key, question) in enumerate(zip(keys, self._given["question"].to_pylist(), strict=True)):
            found.setdefault(key, {})[question or ""] = number
        return found

    def at(self, number: int) -> Item:
        """Return an item by its number, as one that is certain to be in the sample."""
        return self._item(number, 1.0)

    def choices(self, item: Item) -> list[str]:
        """Return the answers to the question of an item in this run, the most frequent first."""
        mine = self._given.filter(pc.equal(self._given["question"], item.attribute or item.question))
        counts = Counter({each["values"]: each["counts"] for each in mine["answer"].value_counts().to_pylist()})
        # Several values of an attribute are choices of their own.
        single: Counter[str] = Counter()
        for answer, count in counts.items():
            for part in (answer or "").split(SEPARATOR):
                single[part] += count
        return [answer for answer, _ in single.most_common(_MOST_CHOICES) if answer]

    def _strata(self, by: str) -> npt.NDArray[Any]:
        if by in (TAG, QUESTION):
            columns = [self._given["question"], *([self._given["answer"]] if by == TAG else [])]
            text = pc.binary_join_element_wise(*(pc.fill_null(each, "") for each in columns), "\x1f")
            pairs: npt.NDArray[Any] = np.asarray(text.combine_chunks().dictionary_encode().indices)
            return pairs
        rows = self._collection.rows
        if by not in rows.column_names:
            raise RequestError(
                f"--by {by}: wanted {TAG}, {QUESTION} or a column of the run: {', '.join(rows.column_names)}"
            )
        column = rows[by].combine_chunks()
        if pa.types.is_nested(column.type):
            raise RequestError(f"--by {by}: holds lists or structs; wanted a column with one value a row")
        codes: npt.NDArray[Any] = np.asarray(pc.fill_null(column.dictionary_encode().indices, -1))
        rows_of: npt.NDArray[np.int64] = self._given["row"].to_numpy()
        return codes[rows_of]

    def _item(self, number: int, probability: float) -> Item:
        given = self._given.slice(number, 1).to_pylist()[0]
        (row,) = self._collection.take([given["row"]])
        name = given["question"] or ""
        attribute = name if self._collection.job == "tag" else None
        several = attribute is not None and pa.types.is_list(self._collection.rows.schema.field(attribute).type)
        return Item(
            id=self._ids[number],
            position=given["row"],
            row=row,
            question=self._questions.get(name, name) if attribute else name,
            answer=given["answer"],
            score=given["score"],
            attribute=attribute,
            several=bool(several),
            probability=probability,
        )
