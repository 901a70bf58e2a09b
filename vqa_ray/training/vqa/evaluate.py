"""How right the answers of a written ViLT are, beside what is needed to judge them: baseline, interval, confusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.validation import ValidationMetrics
from vqa_ray.training.validation_notes import accuracy_notes
from vqa_ray.training.vqa.validate import RESULTS, confusion, metrics_of

_MOST_ANSWERS = 20


@dataclass(frozen=True, slots=True)
class AnswerEvaluation:
    """The accuracy of answers.

    Attributes:
        metrics: of the rows that could be measured.
        confusion: of the most frequent answers, see `validate.confusion`.
        notes: sentences to stand beside the accuracy.
    """

    metrics: ValidationMetrics
    confusion: tuple[tuple[str, ...], npt.NDArray[np.int64]]
    notes: tuple[str, ...]


def evaluate_answers(answers: pa.Table, rows: LabelledRows, training: LabelledRows, loss: float) -> AnswerEvaluation:
    """Measure answers.

    Args:
        answers: ANSWER rows of a model, one for each validation row, in any order.
        rows: what was validated on.
        training: what was trained on.
        loss: of the validation during training, which stays that of the written weights.

    Raises:
        RunError: a row is missing, came twice or is none of `rows`; none could be measured.
    """
    losses = pa.array(np.full(len(answers), loss, np.float32), mask=~schema.is_ok(answers))
    results = pa.table([losses if name == "loss" else answers[name] for name in RESULTS.names], schema=RESULTS)
    found = metrics_of(results, rows)
    notes = accuracy_notes(results, rows, found, training)
    return AnswerEvaluation(found, confusion(results, rows, _MOST_ANSWERS), notes)
