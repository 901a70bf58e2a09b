"""Notes on the accuracy of a validation: how sure it is, what the most frequent answer alone reaches. No torch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyarrow import compute

from vqa_ray.errors import one_line
from vqa_ray.schema import is_ok
from vqa_ray.training.accuracy_interval import interval_note
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.validation import ValidationMetrics
from vqa_ray.training.vqa.validate import metrics_of

_LEAST_ALIKE = 10


def accuracy_notes(
    results: pa.Table, validation: LabelledRows, found: ValidationMetrics, training: LabelledRows
) -> tuple[str, ...]:
    """Sentences to stand beside the accuracy.

    Args:
        results: RESULTS of the validation rows.
        validation: these rows.
        found: their metrics.
        training: the rows trained on, whose most frequent answer is the baseline.
    """
    notes = [interval_note("accuracy", found.accuracy, found.rows)]
    counts = training.counts()
    votes = np.bincount(counts.majority()[counts.majority() >= 0], minlength=len(counts.names))
    frequent = counts.spellings[int(votes.argmax())]
    answered = pa.array(is_ok(results))
    constant = compute.if_else(answered, pa.scalar(frequent), pa.scalar(None, pa.string()))
    index = results.schema.get_field_index("answer")
    baseline = metrics_of(results.set_column(index, results.schema.field(index), constant), validation).accuracy
    beats = "the model does not beat it" if found.accuracy <= baseline else f"the model is at {found.accuracy:.4f}"
    notes.append(
        f"baseline: always {one_line(frequent, 40)!r}, the most frequent answer, has accuracy {baseline:.4f}; {beats}"
    )
    said = results.filter(answered)["answer"].unique().to_pylist()
    if len(said) == 1 and results.num_rows >= _LEAST_ALIKE:
        notes.append(f"all {compute.sum(answered).as_py():,} rows were answered {one_line(said[0], 40)!r}")
    return tuple(notes)
