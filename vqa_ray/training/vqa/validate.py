"""Validation: every row answered once, wherever it lies, and what the answers of all are worth together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch.nn.functional as F

from vqa_ray import schema
from vqa_ray.errors import RunError
from vqa_ray.evaluation.vqa_accuracy import answer_accuracy
from vqa_ray.text import canonical
from vqa_ray.training.data.batch import Group, collate_table
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import SkippedRow
from vqa_ray.training.prefetch import Prefetcher
from vqa_ray.training.validation import UNANSWERED, ValidationMetrics, by_key, failed_rows, usable_rows
from vqa_ray.training.vqa.trainer import VqaTrainer, predictions

# One row per validation row. `loss` is the binary cross-entropy summed over labels, `answer_score` the sigmoid of the
# answer's logit; null where status is `error`.
RESULTS = pa.schema(
    [
        schema.SOURCE_KEY,
        pa.field("loss", pa.float32()),
        pa.field("answer", pa.string()),
        pa.field("answer_score", pa.float32()),
        *schema.STATUS,
    ]
)


class _Part(NamedTuple):
    keys: list[npt.NDArray[np.int64]]
    groups: list[Group]
    skipped: list[SkippedRow]


def validate(
    tables: Iterable[pa.Table], trainer: VqaTrainer, tokenize: Callable[[str], tuple[int, ...]], labels: Sequence[str]
) -> pa.Table:
    """Answer validation rows; of this rank alone, without a word to the others.

    Args:
        tables: DECODED rows with TRAINING_FIELDS, cut anywhere, in any order.
        trainer: whose network answers.
        tokenize: question → token ids.
        labels: the answer vocabulary, in the order of the logits.

    Returns:
        RESULTS, one row for each row, in no particular order.
    """
    vocabulary = pa.array(labels, pa.string())
    results = []
    with Prefetcher(_parts(tables, tokenize, len(labels), trainer.device.type == "cuda"), 1) as parts:
        for part in parts:
            for keys, (logits, targets) in zip(part.keys, predictions(trainer, part.groups), strict=True):
                loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1)
                best, positions = logits.max(dim=1)
                answers = vocabulary.take(pa.array(positions.numpy()))
                results.append(_answered(keys, loss.numpy(), answers, best.sigmoid().numpy()))
            if part.skipped:
                results.append(failed_rows(part.skipped, RESULTS))
    return pa.concat_tables(results) if results else RESULTS.empty_table()


def metrics_of(results: pa.Table, rows: LabelledRows) -> ValidationMetrics:
    """Return the metrics of a validation, however its rows were ordered and spread over ranks.

    Args:
        results: RESULTS of all ranks together.
        rows: what was validated on.

    Raises:
        RunError: a row is missing, came twice or is none of `rows`; no row could be judged; the loss is no number.
    """
    results = by_key(results, rows)
    answered = schema.is_ok(results)
    measured = answered & (rows.answers.value_lengths().to_numpy(zero_copy_only=False) > 0)
    skipped = Counter(results["error_code"].filter(pa.array(~answered)).to_pylist())
    if unanswered := int((answered & ~measured).sum()):
        skipped[UNANSWERED] = unanswered
    count = int(measured.sum())
    if count == 0:
        reasons = ", ".join(f"{code} {number}" for code, number in sorted(skipped.items())) or "there are none"
        raise RunError(f"validation: none of {len(rows)} rows could be judged: {reasons}")
    loss = float(results["loss"].filter(pa.array(measured)).to_numpy().mean(dtype=np.float64))
    if not np.isfinite(loss):
        raise RunError(f"validation: the loss is {loss} over {count} rows: the network computes no numbers any more")
    positions = np.flatnonzero(measured)
    accuracies = _accuracies(results["answer"].take(positions), rows.take(positions))
    kinds = rows.answer_types.take(pa.array(positions)).dictionary_encode()
    names, codes = kinds.dictionary.to_pylist(), kinds.indices.to_numpy()
    by_type = {name: accuracies[codes == code] for code, name in enumerate(names)}
    return ValidationMetrics(
        loss=loss,
        accuracy=float(accuracies.mean()),
        by_type={name: float(by_type[name].mean()) for name in sorted(by_type)},
        rows_by_type={name: len(by_type[name]) for name in sorted(by_type)},
        rows=count,
        skipped=dict(sorted(skipped.items())),
    )


def confusion(
    results: pa.Table, rows: LabelledRows, most_frequent: int
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Which answers were given where others were right.

    Args:
        results: RESULTS of all ranks together.
        rows: what was validated on.
        most_frequent: how many right answers to tell apart: those of the most rows, of equals the first in the
            alphabet. What is right is the majority answer of a row.

    Returns:
        (K right answers as they are written most often; counts int64 (K, K + 1): rows by right answer, columns by the
        answer given, the last one for any other), over the rows that could be answered.

    Raises:
        RunError: a row is missing, came twice or is none of `rows`.
    """
    results = by_key(results, rows)
    counts = rows.counts()
    majority = counts.majority()
    counted = schema.is_ok(results) & (majority >= 0)
    right = majority[counted]
    frequency = np.bincount(right, minlength=len(counts.names))
    shown = np.argsort(-frequency, kind="stable")[:most_frequent]
    shown = shown[frequency[shown] > 0]
    positions = {counts.names[answer]: position for position, answer in enumerate(shown.tolist())}
    given = results["answer"].filter(pa.array(counted)).combine_chunks().dictionary_encode()
    columns = [positions.get(canonical(answer), len(shown)) for answer in given.dictionary.to_pylist()]
    row_of = np.full(len(counts.names) + 1, -1)
    row_of[shown] = np.arange(len(shown))
    line, column = row_of[right], np.array(columns, np.int64)[given.indices.to_numpy()]
    matrix = np.zeros((len(shown), len(shown) + 1), np.int64)
    np.add.at(matrix, (line[line >= 0], column[line >= 0]), 1)
    return tuple(counts.spellings[answer] for answer in shown.tolist()), matrix


def _parts(
    tables: Iterable[pa.Table], tokenize: Callable[[str], tuple[int, ...]], num_answers: int, pin: bool
) -> Generator[_Part, None, None]:
    for usable, skipped in usable_rows(tables):
        keys = usable["source_key"].to_numpy()
        grouped = collate_table(usable, tokenize, num_answers, pin=pin)
        yield _Part([keys[rows] for rows, _ in grouped], [group for _, group in grouped], skipped)


def _answered(
    keys: npt.NDArray[np.int64], loss: npt.NDArray[np.float32], answers: pa.Array, scores: npt.NDArray[np.float32]
) -> pa.Table:
    none = pa.nulls(len(keys), pa.string())
    status = pa.array([schema.STATUS_OK] * len(keys))
    return pa.table([pa.array(keys), pa.array(loss), answers, pa.array(scores), status, none, none], schema=RESULTS)


def _as_said(answer: str, truth: Sequence[str]) -> str:
    """Return the answer as an annotator spelt it, where one gave the same.

    The vocabulary has one spelling of each answer, and the official accuracy does not normalise where all annotators
    agree.
    """
    form = canonical(answer)
    return next((said for said in truth if canonical(said) == form), answer)


def _accuracies(answers: pa.ChunkedArray, rows: LabelledRows) -> npt.NDArray[np.float64]:
    """float64 (N,): the accuracy of each answer to rows that have right ones."""
    given = answers.to_pylist()
    if rows.weights is None:
        said = rows.answers.to_pylist()
        return np.array(
            [answer_accuracy(_as_said(answer, truth), truth) for answer, truth in zip(given, said, strict=True)]
        )
    counts = rows.counts()
    weights = {
        (row, counts.names[answer]): weight
        for row, answer, weight in zip(
            counts.rows.tolist(), counts.answers.tolist(), counts.weights.tolist(), strict=True
        )
    }
    return np.array([weights.get((row, canonical(answer)), 0.0) for row, answer in enumerate(given)])
