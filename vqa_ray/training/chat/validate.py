"""Validation of a chat model: the loss of every row, and the last answers of some, generated and measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute

from vqa_ray import schema
from vqa_ray.errors import RunError, one_line
from vqa_ray.evaluation.anls import anls
from vqa_ray.evaluation.relaxed_accuracy import relaxed_match
from vqa_ray.evaluation.vqa_accuracy import answer_accuracy
from vqa_ray.text import canonical
from vqa_ray.training.accuracy_interval import interval_note
from vqa_ray.training.chat.row import ChatRow
from vqa_ray.training.config import Metric
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import SkippedRow
from vqa_ray.training.validation import ValidationMetrics, by_key, failed_rows, usable_rows

if TYPE_CHECKING:
    # Commands read this module for its metrics; importing transformers takes seconds.
    from vqa_ray.training.chat.trainer import ChatTrainer

# One row per validation row: the loss summed over the tokens of all answers, and the last answer where it was
# generated.
CHAT_RESULTS = pa.schema(
    [
        schema.SOURCE_KEY,
        pa.field("loss", pa.float64()),
        pa.field("tokens", pa.int64()),
        pa.field("answer", pa.string()),
        *schema.STATUS,
    ]
)
_MEASURES: Mapping[Metric, Callable[[str, str], float]] = {
    # The official accuracy does not normalise where there is one annotator.
    "vqa-accuracy": lambda answer, truth: answer_accuracy(canonical(answer), [canonical(truth)]),
    "exact-match": lambda answer, truth: float(answer.strip().lower() == truth.strip().lower()),
    "anls": lambda answer, truth: anls(answer, [truth]),
    "relaxed-accuracy": lambda answer, truth: float(relaxed_match(answer.strip(), truth.strip())),
}
_SHORT_ANSWER_WORDS = 5


def usual_metric(rows: LabelledRows) -> Metric:
    """Choose a metric by the answers: of a few words they can be the same, of sentences only their loss tells."""
    words = [len(answer.split()) for answer in rows.answers.flatten().to_pylist()]
    return "vqa-accuracy" if words and np.median(words) <= _SHORT_ANSWER_WORDS else "loss"


def validate_rows(
    tables: Iterable[pa.Table],
    render: Callable[[pa.Table], tuple[Mapping[int, ChatRow], Sequence[SkippedRow]]],
    trainer: ChatTrainer,
    write: Callable[[Mapping[int, ChatRow]], Mapping[int, str]],
) -> pa.Table:
    """Run the network over validation rows, of this rank alone.

    Args:
        tables: DECODED rows with `CONVERSATION`, cut anywhere.
        render: DECODED rows, none in error → rows by `source_key`, and those that cannot be used.
        trainer: whose network runs.
        write: generates the last answers of those rows of which they are wanted.

    Returns:
        CHAT_RESULTS, one row for each row.
    """
    found = [CHAT_RESULTS.empty_table()]
    for usable, skipped in usable_rows(tables):
        rows, failed = render(usable)
        losses, answers = trainer.row_losses(list(rows.values())), write(rows)
        columns = {
            "source_key": list(rows),
            "loss": losses,
            "tokens": [row.answer_tokens for row in rows.values()],
            "answer": [answers.get(key) for key in rows],
            "status": [schema.STATUS_OK] * len(rows),
        }
        nothing = [None] * len(rows)
        found.append(pa.table({name: columns.get(name, nothing) for name in CHAT_RESULTS.names}, CHAT_RESULTS))
        found.append(failed_rows([*skipped, *failed], CHAT_RESULTS))
    return pa.concat_tables(found)


def measured(results: pa.Table, rows: LabelledRows, metric: Metric) -> pa.Table:
    """Return the results in the order of `rows`, beside question, truth and `accuracy` (null without an answer).

    Raises:
        RunError: a row is missing, came twice or is none of `rows`.
    """
    results = by_key(results, rows)
    truths = [truth[-1] if truth else "" for truth in rows.answers.to_pylist()]
    measure = _MEASURES.get(metric)
    accuracy = [
        None if measure is None or answer is None else measure(answer, truth)
        for answer, truth in zip(results["answer"].to_pylist(), truths, strict=True)
    ]
    results = results.add_column(1, "question", rows.questions).add_column(2, "truth", pa.array(truths, pa.string()))
    return results.append_column("accuracy", pa.array(accuracy, pa.float64()))


def metrics_of(measured: pa.Table, rows: LabelledRows, metric: Metric) -> ValidationMetrics:
    """Return the metrics of a validation.

    Args:
        measured: what `measured` returned.
        rows: what was validated on.
        metric: of the answers; `loss` measures the mean probability of an answer token in their place.

    Raises:
        RunError: no row could be measured; the loss is no number.
    """
    is_ok = schema.is_ok(measured)
    skipped = Counter(measured["error_code"].filter(pa.array(~is_ok)).to_pylist())
    tokens = compute.sum(measured["tokens"]).as_py()
    if not tokens:
        reasons = ", ".join(f"{code} {number}" for code, number in sorted(skipped.items())) or "there are none"
        raise RunError(f"validation: none of {len(rows)} rows could be judged: {reasons}")
    loss = compute.sum(measured["loss"]).as_py() / tokens
    if not np.isfinite(loss):
        raise RunError(f"validation: the loss is {loss} over {tokens} tokens: the network computes no numbers any more")
    values = measured["accuracy"].to_numpy()
    if metric == "loss":
        # Null, so NaN, where status is `error`.
        values = np.exp(-measured["loss"].to_numpy() / measured["tokens"].to_numpy())
    judged = ~np.isnan(values)
    if not judged.any():
        raise RunError(f"validation: none of the rows whose answers were wanted could be judged: {dict(skipped)}")
    kinds = rows.answer_types.dictionary_encode()
    codes = kinds.indices.to_numpy()
    by_type = {
        name: values[judged & (codes == code)]
        for code, name in enumerate(kinds.dictionary.to_pylist())
        if (judged & (codes == code)).any()
    }
    return ValidationMetrics(
        loss=float(loss),
        accuracy=float(np.exp(-loss)) if metric == "loss" else float(values[judged].mean()),
        by_type={name: float(by_type[name].mean()) for name in sorted(by_type)},
        rows_by_type={name: len(by_type[name]) for name in sorted(by_type)},
        rows=int(judged.sum()),
        skipped=dict(sorted(skipped.items())),
    )


def chat_notes(measured: pa.Table, rows: LabelledRows, training: LabelledRows, metric: Metric) -> tuple[str, ...]:
    """Sentences to stand beside the accuracy: its interval, and what the most frequent answer alone reaches.

    Args:
        measured: what `measured` returned of the exported weights.
        rows: what was validated on.
        training: what was trained on.
        metric: of the answers.
    """
    measure = _MEASURES.get(metric)
    values = measured["accuracy"].drop_null().to_numpy()
    if measure is None or not len(values):
        return ("the measure is the mean probability of an answer token, exp(-loss): no answers were generated",)
    notes = [interval_note(metric, float(values.mean()), len(values))]
    (frequent, _), *_ = Counter(training.answers.flatten().to_pylist()).most_common(1)
    answered = measured.filter(compute.is_valid(measured["accuracy"]))
    baseline = float(np.mean([measure(frequent, truth) for truth in answered["truth"].to_pylist()]))
    beats = "the model does not beat it" if values.mean() <= baseline else f"the model is at {values.mean():.4f}"
    notes.append(
        f"baseline: always {one_line(frequent, 40)!r}, the most frequent answer, has {metric} {baseline:.4f}; {beats}"
    )
    said = answered["answer"].unique().to_pylist()
    if len(said) == 1 and len(values) > 1:
        notes.append(f"all {len(values):,} rows were answered {one_line(said[0], 40)!r}")
    return tuple(notes)
