"""The rows of an evaluation as its report needs them: numbers of all rows, and a few rows whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.evaluation.protocol import Outcome
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.storage.python_rows import python_rows

_COLUMNS = ("score", "confidence", "outcome", "read_as", "truth", "error_code")
_RIGHT_FROM = 0.5
_EXAMPLES = 3

Row = dict[str, Any]


@dataclass(frozen=True)
class EvaluatedRows:
    """Rows of an evaluation.

    Attributes:
        files: their URIs, in order.
        starts: int64 (F + 1,), the number of the first row of each file.
        table: of all rows: score, confidence, outcome, read_as, truth, error_code.
    """

    files: Sequence[str]
    starts: npt.NDArray[np.int64]
    table: pa.Table

    @classmethod
    def read(cls, uri: str) -> EvaluatedRows:
        """Read the rows of an evaluation, by its directory."""
        files = EvaluationDirectory(uri).rows_files()
        tables = [read_columns(file, _COLUMNS).replace_schema_metadata(None) for file in files]
        starts = np.cumsum([0, *(table.num_rows for table in tables)])
        return cls(files, starts, pa.concat_tables(tables))

    @property
    def have_scores(self) -> bool:
        """Whether any row has a confidence."""
        return bool(self.table["confidence"].null_count < self.table.num_rows)

    def mistakes(self, limit: int) -> list[Row]:
        """Return wrong rows, the most confident first; rows without a confidence last."""
        outcome, score = self.table["outcome"], self.table["score"]
        wrong = pc.and_(pc.equal(outcome, Outcome.JUDGED), pc.less(score, _RIGHT_FROM))
        numbers = np.flatnonzero(pc.fill_null(wrong, False))
        confidence = self.table["confidence"].take(pa.array(numbers)).fill_null(-1.0).to_numpy()
        return self._rows(numbers[np.argsort(-confidence, kind="stable")[:limit]])

    def unparsed(self, limit: int) -> list[Row]:
        """Return rows that could not be read, from all over the evaluation."""
        numbers = np.flatnonzero(pc.equal(self.table["outcome"], Outcome.UNPARSED))
        return self._rows(
            numbers[np.unique(np.linspace(0, len(numbers) - 1, limit).astype(int))] if len(numbers) else numbers
        )

    def confusions(self, limit: int) -> list[tuple[tuple[str, str], int]]:
        """Return the most frequent pairs of truth and what was read instead."""
        wrong = pc.and_(pc.equal(self.table["outcome"], Outcome.JUDGED), pc.less(self.table["score"], _RIGHT_FROM))
        pairs = (
            self.table.filter(pc.fill_null(wrong, False)).group_by(["truth", "read_as"]).aggregate([([], "count_all")])
        )
        counts = Counter(
            {(row["truth"] or "(none)", row["read_as"] or "(none)"): row["count_all"] for row in pairs.to_pylist()}
        )
        return [each for each in counts.most_common(limit) if each[1] > 1]

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """Yield (error code, image, question) of some rows of each code."""
        codes = self.table["error_code"]
        for code in pc.unique(codes.drop_null()).to_pylist():
            numbers = np.flatnonzero(pc.fill_null(pc.equal(codes, code), False))[:_EXAMPLES]
            for row in self._rows(numbers):
                yield code, row.get("image_id") or row["key"], row.get("question") or ""

    def _rows(self, numbers: npt.NDArray[np.int64]) -> list[Row]:
        """Read rows whole, by their numbers, in this order."""
        found: dict[int, Row] = {}
        place = np.searchsorted(self.starts, numbers, side="right") - 1
        for number in np.unique(place):
            mine = numbers[place == number]
            taken = python_rows(read_columns(self.files[number]).take(pa.array(mine - self.starts[number])))
            found.update(zip(mine.tolist(), taken, strict=True))
        return [found[number] for number in numbers.tolist()]
