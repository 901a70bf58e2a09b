"""The rows of a finished run, counted for its report: part files are read one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.report.given_answers import given_answers
from vqa_ray.report.plots import Floats
from vqa_ray.report.row_cards import title_of
from vqa_ray.runs.part_files import read_columns, read_schema
from vqa_ray.schema import STATUS_GONE, STATUS_OK

BINS = 40
EDGES: Floats = np.linspace(0.0, 1.0, BINS + 1)
_EXAMPLES = 3
_MOST_PAIRS = 100_000
_LARGE = ("object_json", "image", "embedding", "thumbnail", "answers", "boxes", "tag_scores")


@dataclass(frozen=True, slots=True)
class Unsure:
    """An answer with a low score, and the row that holds it."""

    score: float
    key: int
    question: str
    answer: str | None


@dataclass(slots=True)
class RunTally:
    """Counts over a run.

    Attributes:
        rows, ok: rows, and those of them that were answered.
        gone: rows that the input does not have any more; they count nowhere else.
        given: answers, or values of attributes.
        pairs: question or attribute → answer → how often; a null answer is `None`.
        scores: float64 (BINS,), how many scores lie in each bin of EDGES.
        errors, warnings: error code, text → rows.
        examples: error code → (image, message), a few.
        matches: of `retrieve`, True, False or None → rows.
        cut: texts that reached the limit of new tokens.
        unsure: the answers with the lowest scores, ascending.
    """

    rows: int = 0
    ok: int = 0
    gone: int = 0
    given: int = 0
    pairs: dict[str, Counter[str | None]] = field(default_factory=dict)
    scores: Floats = field(default_factory=lambda: np.zeros(BINS))
    errors: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    matches: Counter[bool | None] = field(default_factory=Counter)
    cut: int = 0
    unsure: list[Unsure] = field(default_factory=list)

    @property
    def scored(self) -> int:
        """The number of scores."""
        return int(self.scores.sum())


def tally_run(job: str, parts: Sequence[str], unsure: int) -> RunTally:
    """Count the rows of the part files of a run.

    Args:
        job: the command of the run.
        parts: their URIs, at least one.
        unsure: answers with low scores to keep.
    """
    names = [name for name in read_schema(parts[0]).names if name not in _LARGE]
    total = RunTally()
    for uri in parts:
        table = read_columns(uri, names)
        there = table.filter(pc.not_equal(table["status"], STATUS_GONE))
        total.gone += table.num_rows - there.num_rows
        table = there
        total.rows += table.num_rows
        ok = pc.equal(table["status"], STATUS_OK)
        total.ok += pc.sum(ok).as_py() or 0
        _count_errors(total, table.filter(pc.invert(ok)))
        total.warnings.update(_counts(table["warning"]))
        if job == "retrieve":
            total.matches.update(_counts(table.filter(ok)["match"]))
        if "finish_reason" in names:
            total.cut += pc.sum(pc.equal(table["finish_reason"], "length")).as_py() or 0
        given = given_answers(job, table)
        _count_answers(total, given, table["source_key"], unsure)
        # Of `retrieve`, how well the whole expression fits.
        scores = table.filter(ok)["score"] if job == "retrieve" else given["score"]
        total.scores += np.histogram(np.clip(scores.drop_null().to_numpy(), 0, 1), EDGES)[0]
    return total


def _count_errors(total: RunTally, failed: pa.Table) -> None:
    total.errors.update(_counts(failed["error_code"]))
    for code in pc.unique(failed["error_code"]).to_pylist():
        kept = total.examples.setdefault(code, [])
        more = failed.filter(pc.equal(failed["error_code"], code)).slice(0, max(0, _EXAMPLES - len(kept)))
        kept += [(title_of(row), row["error_message"] or "") for row in more.to_pylist()]


def _count_answers(total: RunTally, given: pa.Table, keys: pa.ChunkedArray, unsure: int) -> None:
    total.given += given.num_rows
    grouped = given.group_by(["question", "answer"]).aggregate([([], "count_all")])
    for row in grouped.to_pylist():
        total.pairs.setdefault(row["question"] or "", Counter())[row["answer"]] += row["count_all"]
    if sum(map(len, total.pairs.values())) > _MOST_PAIRS:
        _keep_frequent(total)
    scores = given["score"].to_numpy().astype(np.float64)
    known = np.flatnonzero(~np.isnan(scores))
    lowest = known[np.argsort(scores[known], kind="stable")[:unsure]]
    rows = given.take(pa.array(lowest)).to_pylist()
    found = [Unsure(row["score"], keys[row["row"]].as_py(), row["question"], row["answer"]) for row in rows]
    total.unsure = sorted([*total.unsure, *found], key=lambda each: (each.score, each.key))[:unsure]


def _keep_frequent(total: RunTally) -> None:
    """Drop the rarest half of the pairs: what a page shows are the most frequent ones."""
    every = Counter({(question, answer): n for question, counts in total.pairs.items() for answer, n in counts.items()})
    total.pairs = {}
    for (question, answer), count in every.most_common(_MOST_PAIRS // 2):
        total.pairs.setdefault(question, Counter())[answer] = count


def _counts(column: Any) -> dict[Any, int]:
    """Value → how often, without nulls."""
    return {each["values"]: each["counts"] for each in column.drop_null().value_counts().to_pylist()}
