"""The index of a training input: questions and right answers of all rows, columnar, without any image. No torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute, parquet

from vqa_ray.errors import RequestError, one_line
from vqa_ray.schema import ROW_BITS, is_ok, metadata_of, with_metadata
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.training.data.answer_votes import AnswerCounts, count_answers
from vqa_ray.training.data.row_schema import LABELS

YES_NO, NUMBER, OTHER = "yes/no", "number", "other"
_NUMBER = re.compile(r"-?\d+([.,]\d+)*")
_AUXILIARY = "auxiliary "


@dataclass(frozen=True)
class LabelledRows:
    """N rows, sorted by key.

    Attributes:
        keys: int64 (N,), source_keys, ascending.
        image_keys: int64 (N,), a hash of what names the image: equal for rows of the same image.
        questions: string (N,).
        answers: list<string> (N,), what the annotators said, or the captions of the image; an empty list where there is
            nothing right.
        answer_types: string (N,): the input's own, else `yes/no`, `number` or `other`, told from the majority answer.
        auxiliary: column → string (N,), null where a row has none.
        weights: list<double> (N,) in 0-1, by how much each of `answers` is right; None when they are annotators'.
        failed: rows of the input that could not be read, and are not here.
        failure: what the first of them said.
        failures: how many of them have each error code; empty where that was not counted.
    """

    keys: npt.NDArray[np.int64]
    image_keys: npt.NDArray[np.int64]
    questions: pa.StringArray
    answers: pa.ListArray
    answer_types: pa.StringArray
    auxiliary: Mapping[str, pa.StringArray] = field(default_factory=dict)
    weights: pa.ListArray | None = None
    failed: int = 0
    failure: str = ""
    failures: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def unanswered(self) -> int:
        """Rows without any right answer: they can neither be trained on nor judged."""
        return len(self) - int(np.count_nonzero(self.answers.value_lengths()))

    def counts(self) -> AnswerCounts:
        """Return the distinct answers of each row, normalised."""
        return count_answers(self.answers, self.weights)

    def take(self, rows: npt.NDArray[np.int64]) -> LabelledRows:
        """Return some rows by their numbers, int64 (M,), ascending."""
        chosen = pa.array(rows)
        return replace(
            self,
            keys=self.keys[rows],
            image_keys=self.image_keys[rows],
            questions=self.questions.take(chosen),
            answers=self.answers.take(chosen),
            answer_types=self.answer_types.take(chosen),
            auxiliary={name: column.take(chosen) for name, column in self.auxiliary.items()},
            weights=None if self.weights is None else self.weights.take(chosen),
        )

    def split(self, fraction: float, seed: int) -> tuple[LabelledRows, LabelledRows]:
        """(to train on, to validate on): by image, so that no image is on both sides.

        Args:
            fraction: of the images to validate on, 0-1; at least one image is on each side, unless it is 0.
            seed: of the choice.

        Raises:
            RequestError: there are fewer than two images.
        """
        images = np.unique(self.image_keys)
        if fraction <= 0:
            return self, self.take(np.empty(0, np.int64))
        if len(images) < 2:
            raise RequestError(
                f"the {len(self)} rows show {len(images)} image, too few to set images aside for validation; "
                "give rows to validate on, or a validation fraction of 0"
            )
        count = min(max(1, round(fraction * len(images))), len(images) - 1)
        chosen = np.random.default_rng(seed).permutation(images)[:count]
        is_chosen = np.isin(self.image_keys, chosen)
        return self.take(np.flatnonzero(~is_chosen)), self.take(np.flatnonzero(is_chosen))

    @classmethod
    def from_tables(cls, tables: Iterable[pa.Table], auxiliary: Sequence[str] = ()) -> LabelledRows:
        """Gather LABELS tables, in any order.

        Args:
            tables: LABELS, in any order.
            auxiliary: the names of the auxiliary columns.

        Raises:
            RequestError: there are no rows, none could be read, or a weight is not in 0-1; the message names the row.
        """
        gathered = [table for table in tables if table.num_rows]
        if not gathered:
            raise RequestError("the input has no rows to learn from")
        table = pa.concat_tables(gathered).combine_chunks().sort_by("source_key")
        usable = is_ok(table)
        failed = table.filter(pa.array(~usable))
        errors = failed["error_message"]
        failure = one_line(errors[0].as_py()) if len(errors) else ""
        if len(errors) == table.num_rows:
            raise RequestError(f"none of the {table.num_rows} rows can be read; the first says: {failure}")
        table = table.filter(pa.array(usable)).combine_chunks()
        columns = {name: _array(table[name]) for name in LABELS.names[:-3]}
        weights = columns["weights"] if columns["weights"].null_count == 0 else None
        _check_weights(table, weights)
        rows = cls(
            keys=columns["source_key"].to_numpy(),
            image_keys=columns["image_key"].to_numpy(),
            questions=columns["question"],
            answers=columns["answers"],
            answer_types=columns["answer_type"],
            auxiliary={name: compute.list_element(columns["auxiliary"], at) for at, name in enumerate(auxiliary)},
            weights=weights,
            failed=len(errors),
            failure=failure,
            failures=dict(sorted(Counter(failed["error_code"].to_pylist()).items())),
        )
        return replace(rows, answer_types=_types(rows)) if rows.answer_types.null_count else rows

    def save(self, uri: str) -> None:
        """Write a Parquet file, whole or not at all.

        Raises:
            OSError: the store cannot be written.
        """
        columns = {
            "source_key": pa.array(self.keys),
            "image_key": pa.array(self.image_keys),
            "question": self.questions,
            "answers": self.answers,
            "answer_type": self.answer_types,
        }
        columns |= {_AUXILIARY + name: column for name, column in self.auxiliary.items()}
        if self.weights is not None:
            columns["weights"] = self.weights
        table = pa.table(columns)
        facts = {"failed": self.failed, "failure": self.failure, "failures": dict(self.failures)}
        metadata = with_metadata(table.schema, facts).metadata
        write_table_atomic(uri, table.replace_schema_metadata(metadata))

    @classmethod
    def load(cls, uri: str) -> LabelledRows:
        """Read what `save` wrote.

        Raises:
            OSError: it is not there, or the store cannot be read.
        """
        table = parquet.read_table(pa.BufferReader(read_bytes(uri))).combine_chunks()
        metadata = metadata_of(table.schema)
        columns = {name: _array(table[name]) for name in table.column_names}
        return cls(
            keys=columns["source_key"].to_numpy(),
            image_keys=columns["image_key"].to_numpy(),
            questions=columns["question"],
            answers=columns["answers"],
            answer_types=columns["answer_type"],
            auxiliary={n.removeprefix(_AUXILIARY): c for n, c in columns.items() if n.startswith(_AUXILIARY)},
            weights=columns.get("weights"),
            failed=int(str(metadata["failed"])),
            failure=str(metadata["failure"]),
            failures=_counts(metadata.get("failures")),
        )


def _counts(stored: object) -> dict[str, int]:
    """Read numbers by error code; none in what earlier versions wrote."""
    return {str(code): int(number) for code, number in stored.items()} if isinstance(stored, dict) else {}


def _array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _types(rows: LabelledRows) -> pa.StringArray:
    """Return the answer types, by the majority answer where the input does not say."""
    counts = rows.counts()
    kinds = [YES_NO if name in ("yes", "no") else NUMBER if _NUMBER.fullmatch(name) else OTHER for name in counts.names]
    # The majority of a row without answers is -1: the last.
    derived = pa.array(np.array([*kinds, OTHER], object)[counts.majority()], pa.string())
    return compute.coalesce(rows.answer_types, derived)


def _check_weights(table: pa.Table, weights: pa.ListArray | None) -> None:
    if weights is None:
        return
    values = weights.flatten().to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(wrong):
        row = int(weights.value_parent_indices()[int(wrong[0])].as_py())
        key, question = table["source_key"][row].as_py(), one_line(table["question"][row].as_py(), 60)
        raise RequestError(
            f"row {key & (2**ROW_BITS - 1)} of shard {key >> ROW_BITS} ({question!r}): a label has the weight "
            f"{values[wrong[0]]}; allowed is 0 to 1"
        )
