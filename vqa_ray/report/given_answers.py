"""What a run said of its images: one answer to a question, or one value of an attribute, after the other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.report.row_cards import further_columns, tag_attributes
from vqa_ray.schema import STATUS_OK

SEPARATOR = "; "
# Of a row of `retrieve`: at this score an image fits a question.
_FITS = 0.5
GIVEN = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("question", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("score", pa.float32()),
    ]
)


def given_answers(job: str, table: pa.Table) -> pa.Table:
    """Return GIVEN: what the answered rows of a table say, in the order of its rows for each question of a row.

    `row` is the number of the row in the table. `question` is the question, the name of the attribute, or `caption`;
    `answer` is null where an attribute has no value; the score of several values is that of the least sure, and the
    score of a `no` is one minus that of `yes`: how sure the run is of its answer.

    Args:
        job: `answer`, `fill`, `tag`, `caption` or `retrieve`.
        table: rows of a run of it.
    """
    rows = pa.array(np.flatnonzero(pc.equal(table["status"], STATUS_OK)))
    answered = table.take(rows).combine_chunks()
    if job in ("tag", "fill"):
        parts = [_attribute(answered, rows, name) for name in tag_attributes(table.schema)]
    elif job == "caption":
        name = pa.array(["caption"] * len(rows), pa.string())
        parts = [(rows, name, answered["caption"], answered["caption_score"])]
    elif job == "retrieve":
        parts = [_retrieved(answered, rows)]
    elif "results" in table.column_names:
        parts = [_nested(answered, rows)]
    else:
        parts = [(rows, answered["question"], answered["answer"], answered["answer_score"])]
    tables = [pa.table(dict(zip(GIVEN.names, part, strict=True))).cast(GIVEN) for part in parts]
    return pa.concat_tables([GIVEN.empty_table(), *tables])


def _attribute(answered: pa.Table, rows: pa.Array, name: str) -> tuple[object, ...]:
    if (reason := f"{name}_reason") in further_columns(answered.column_names, name):
        # An attribute that does not apply to an image says nothing of it.
        applies = pc.is_null(answered[reason].combine_chunks())
        answered, rows = answered.filter(applies), rows.filter(applies)
    values, scores = answered[name], answered[f"{name}_score"]
    if pa.types.is_boolean(values.type):
        values = pc.if_else(values, "yes", "no")
    if pa.types.is_list(values.type):
        values = values.cast(pa.list_(pa.string()))
        empty = pc.equal(pc.fill_null(pc.list_value_length(values), 0), 0)
        values = pc.if_else(empty, None, pc.binary_join(values, SEPARATOR))
        known = ([score for score in each or () if score is not None] for each in scores.to_pylist())
        least = [min(each, default=None) for each in known]
        scores = pa.array(least, pa.float32())
    return rows, pa.array([name] * len(rows), pa.string()), values, scores


def _nested(answered: pa.Table, rows: pa.Array) -> tuple[object, ...]:
    results = answered["results"].combine_chunks()
    flat = pc.list_flatten(results)
    parts = (pc.struct_field(flat, name) for name in ("question", "answer", "answer_score"))
    return (rows.take(pc.list_parent_indices(results)), *parts)


def _retrieved(answered: pa.Table, rows: pa.Array) -> tuple[object, ...]:
    """Each question that was asked: `yes` or `no`, or the wanted answer, or `not` that answer."""
    scores = answered["scores"].combine_chunks()
    flat = pc.list_flatten(scores)
    question, wanted, score = (pc.struct_field(flat, name) for name in ("question", "answer", "score"))
    fits = pc.greater_equal(score, _FITS)
    other = pc.binary_join_element_wise("not", wanted, " ")
    answer = pc.if_else(fits, pc.fill_null(wanted, "yes"), pc.fill_null(other, "no"))
    asked = pc.is_valid(score)
    sure = pc.if_else(fits, score, pc.subtract(pa.scalar(1, pa.float32()), score))
    parts = (rows.take(pc.list_parent_indices(scores)), question, answer, sure)
    return tuple(each.filter(asked) for each in parts)
