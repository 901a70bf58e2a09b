"""The comparison of runs without truth: how the values, scores and errors of each attribute or question drifted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.comparison.drift_tally import PARTS, DriftTally, Kind
from vqa_ray.comparison.flipped import FlippedRows
from vqa_ray.comparison.pairing import JOINED, SHOWN_KEY, Overlap, Partitions, PreparedRows, joined_ids
from vqa_ray.comparison.record import ALL_QUESTIONS, Drift, Pair
from vqa_ray.errors import RequestError
from vqa_ray.judging.run_table import RunTable
from vqa_ray.readers.source import join_names
from vqa_ray.text import normalise

# Of more questions than this, none is compared by itself.
_MOST_QUESTIONS = 200
# Job → what a row is of where it is neither an attribute nor a question.
_WHOLE: Mapping[str, Kind] = {"retrieve": "match", "caption": "caption"}
_KINDS: Mapping[str, Kind] = {"tag": "attribute", "answer": "question", **_WHOLE}


@dataclass(slots=True)
class RunPairs:
    """Runs of one job to be compared.

    Attributes:
        tables: of them.
        seed: of the simulated noise.
        max_drift: greatest drift that is none; None for any.
        by: none, as drift is by attribute or question.
    """

    tables: Sequence[RunTable]
    seed: int
    max_drift: float | None
    by: Sequence[str] = ()
    _questions: set[str] = field(default_factory=set, init=False)

    @property
    def job(self) -> str:
        """The job of all of them."""
        return self.tables[0].job

    @property
    def key(self) -> str:
        """The column that joins the rows: the first id that all runs have."""
        shared = frozenset.intersection(*(table.ids for table in self.tables))
        return "image_id" if "image_id" in shared else "row_id"

    @property
    def attributes(self) -> list[str]:
        """The attributes that all runs of tag have."""
        return [name for name in self.tables[0].attributes if all(name in table.attributes for table in self.tables)]

    def prepared(self) -> list[PreparedRows]:
        """Return the rows of each run.

        Raises:
            RequestError: the runs are of different jobs, or of taxonomies without a common attribute.
        """
        first = self.tables[0]
        for table in self.tables[1:]:
            if table.job != first.job:
                raise RequestError(
                    f"{table.uri}: is a run of {table.job}, {first.uri} of {first.job}; expected runs of one job"
                )
            if first.attributes and not set(first.attributes).intersection(table.attributes):
                raise RequestError(
                    f"{table.uri}: has another taxonomy than {first.uri}: {join_names(table.attributes)} and "
                    f"{join_names(first.attributes)}; expected runs with a common attribute"
                )
        return [PreparedRows(table.uri, table.rows, table.tasks, partial(self._rows, table)) for table in self.tables]

    def compare(self, partitions: Partitions, flipped: FlippedRows) -> tuple[list[Pair], list[str]]:
        """Compare the first with each of the others.

        Args:
            partitions: of `prepared`.
            flipped: takes the rows that differ.

        Returns:
            The pairs, and notes.

        Raises:
            RequestError: two runs have no question in common.
        """
        notes = []
        for table in self.tables:
            if lonely := [name for name in table.attributes if name not in self.attributes]:
                notes.append(f"attributes that not all runs have are not compared: {table.uri}: {join_names(lonely)}")
        return [self._pair(partitions, number, flipped, notes) for number in range(1, len(self.tables))], notes

    def _pair(self, partitions: Partitions, second: int, flipped: FlippedRows, notes: list[str]) -> Pair:
        overlap, before = Overlap(), flipped.rows
        tally = DriftTally(None if len(self._questions) <= _MOST_QUESTIONS else ALL_QUESTIONS)
        for paired in partitions.pairs(0, second):
            overlap.add(paired)
            tally.add(paired)
            one, other = (pc.fill_null(table["value"], "\0") for table in (paired.first, paired.second))
            differs = pc.not_equal(one, other)
            flipped.write(second, paired.first.filter(differs), paired.second.filter(differs))
        names = self.tables[0].uri, self.tables[second].uri
        for side, lonely in enumerate(tally.lonely()):
            if lonely:
                notes.append(f"questions that only {names[side]} asks are not compared: {join_names(lonely)}")
        drift = [self._judged(each) for each in tally.drift(_KINDS[self.job], self.seed)]
        if not any(each.kind != "error_code" for each in drift):
            raise RequestError(f"{names[1]}: shares no question with {names[0]}; expected runs with common questions")
        if by_chance := [each for each in drift if self._is_great(each) and not each.exceeds]:
            greatest = max(by_chance, key=lambda each: each.value)
            notes.append(
                f"{names[1]}: {len(by_chance)} drifted further than --max-drift, but no further than so few rows may "
                f"by chance, and do not count (the furthest: {greatest.name}, {greatest.value:.3f})"
            )
        if not overlap.both:
            notes.append(f"{names[0]} and {names[1]} have no row in common, so that their shares alone are compared")
        return Pair(
            second=second,
            both=overlap.both,
            only_first=overlap.only[0],
            only_second=overlap.only[1],
            only_first_keys=overlap.keys[0],
            only_second_keys=overlap.keys[1],
            flipped=flipped.rows - before,
            drift=drift,
        )

    def _judged(self, drift: Drift) -> Drift:
        return replace(drift, exceeds=self._is_great(drift) and drift.is_beyond_chance)

    def _is_great(self, drift: Drift) -> bool:
        return self.max_drift is not None and drift.value > self.max_drift

    def _rows(self, table: RunTable, task: int) -> Iterator[pa.Table]:
        for part in table.tables(task):
            if table.attributes:
                part = part.filter(pc.is_in(part["attribute"], pa.array(self.attributes)))
            count = part.num_rows
            keys, question = part[self.key], part["question"]
            name = part["attribute"] if table.kind == "labels" else question
            if self.job in _WHOLE:
                name = pa.array([_WHOLE[self.job]] * count, pa.string())
            elif self.job == "answer" and len(self._questions) <= _MOST_QUESTIONS:
                self._questions.update(pc.unique(question.drop_null()).to_pylist())
            value, shown = _values(table.kind, part)
            # One row of an image tells its error, whatever the number of its attributes.
            leads = pc.equal(part["attribute"], self.attributes[0]) if self.attributes else pa.array([True] * count)
            yield pa.table(
                {
                    JOINED: joined_ids(keys, name if self.job != "answer" else question),
                    SHOWN_KEY: keys,
                    "attribute": part["attribute"],
                    "image_id": part["image_id"],
                    "image_uri": part["image_uri"],
                    "question": question,
                    "prediction": shown,
                    "confidence": part["confidence"],
                    "error_code": part["error_code"],
                    "name": name,
                    "value": value,
                    "leads": leads,
                }
            )


def _values(kind: str, part: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Return the predictions of rows as they are compared, null in error, and as they are shown."""
    form = _FORMS[kind]
    pairs = [
        (None, None) if failed or value is None else form(value)
        for failed, value in zip(part["failed"].to_pylist(), part["prediction"].to_pylist(), strict=True)
    ]
    values, shown = zip(*pairs, strict=True) if pairs else ((), ())
    return pa.array(values, pa.string()), pa.array(shown, pa.string())


def _match(fits: bool) -> tuple[str, str]:
    return ("match", "match") if fits else ("no match", "no match")


@lru_cache(maxsize=10_000)
def _text(text: str) -> tuple[str, str]:
    return normalise(text) or text, text


def _labels(labels: Sequence[str]) -> tuple[str, str]:
    return PARTS.join(sorted(labels)), "; ".join(labels)


# Kind of prediction → what makes its two forms.
_FORMS: Mapping[str, Callable[[Any], tuple[str, str]]] = {"match": _match, "text": _text, "labels": _labels}
