"""The questions of input rows, and their outcomes in an output.

A row with several questions passes through Ray Data as one row, so that it is committed as a whole: `pack` puts the
outcomes of its questions into one list, and `one_row_per_question` turns the list into rows when they are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.errors import RowError
from vqa_ray.row_text.hidden_columns import TEXT
from vqa_ray.row_text.template import word
from vqa_ray.stages.model_stage import row_texts, with_text_warning

# The column of a packed table: the cells of OF_QUESTION for each question of a row. No kept column has such a name.
PACKED = "packed:outcomes"
# The column of the first of two models' outcome of a row, as a struct of the columns of its stage.
OUTCOME = "first:outcome"
# The columns of ANSWER that differ between the questions of a row, in order.
OF_QUESTION = (
    "question_id",
    "question",
    "answer",
    "answer_score",
    "answers",
    "boxes",
    "finish_reason",
    # See `opinions.with_opinions`.
    *("decided_by", "agrees", "first_answer", "first_score", "second_answer", "second_score"),
    # See `usage.USAGE`.
    *("prompt_tokens", "completion_tokens", "cost"),
    *(field.name for field in schema.STATUS),
    "warning",
    "question_index",
)


@dataclass(frozen=True, slots=True)
class QuestionUnit:
    """Questions of one row that are answered or fail together.

    Attributes:
        row: number of the row in its table.
        indices: of the questions in the row, ascending; empty for a row without questions.
    """

    row: int
    indices: tuple[int, ...]


def question_units(
    questions: Sequence[Sequence[str | None] | None], rows: Sequence[int], *, apart: bool
) -> list[QuestionUnit]:
    """Divide the questions of rows into units that are answered or fail together.

    Args:
        questions: of each row of a table; a null is not asked.
        rows: numbers of the rows to answer.
        apart: each question is a unit of its own; otherwise the questions of a row are one unit.
    """
    found = []
    for row in rows:
        indices = tuple(index for index, question in enumerate(questions[row] or ()) if question is not None)
        parts = [(index,) for index in indices] if apart and indices else [indices]
        found += [QuestionUnit(row, part) for part in parts]
    return found


def with_worded_questions(table: pa.Table) -> pa.Table:
    """Put the texts of each row in the places of its questions, and drop their columns."""
    texts = row_texts(table)
    if not any(texts):
        return table
    cells = [
        asked and [question and word(question, beside) for question in asked]
        for asked, beside in zip(table["questions"].to_pylist(), texts, strict=True)
    ]
    index, form = table.schema.get_field_index("questions"), table.schema.field("questions")
    table = table.set_column(index, form, pa.array(cells, form.type))
    return table.drop_columns([f"{TEXT}{name}" for name in texts[0]])


def packed_schema(rows: pa.Schema, of_question: Sequence[str] = OF_QUESTION) -> pa.Schema:
    """Return `rows`, ANSWER with kept columns, with all questions of an input row in one list, `PACKED`.

    Args:
        rows: the schema of the output.
        of_question: its columns that differ between the questions of a row.
    """
    packed = pa.field(PACKED, pa.list_(pa.struct([rows.field(name) for name in of_question if name in rows.names])))
    return pa.schema([*(field for field in rows if field.name not in of_question), packed])


def pack(table: pa.Table, answered: Mapping[tuple[int, int], Mapping[str, Any] | RowError]) -> dict[int, Any]:
    """Make the cells of `PACKED`, by row: the outcome of each question, at least one entry so that no row is lost.

    Args:
        table: DECODED rows; a row in error gives its error to each of its questions.
        answered: (row, question index) → cells of the answer by column, or the error.
    """
    ids, questions = (table[name].to_pylist() for name in ("question_id", "questions"))
    failures = zip(*(table[field.name].to_pylist() for field in schema.STATUS), strict=True)
    cells: dict[int, Any] = {}
    for row, (status, code, message) in enumerate(failures):
        asked = questions[row] or []
        cells[row] = [
            {
                "question_id": ids[row] if ids[row] is None or len(asked) < 2 else f"{ids[row]}#{index}",
                "question": asked[index] if asked else None,
                "question_index": index,
                "status": status,
                "error_code": code,
                "error_message": message,
                **(outcome := _outcome(answered.get((row, index), {}))),
                "warning": with_text_warning(table, row, outcome.get("warning")),
            }
            for index in range(max(1, len(asked)))
            if not asked or asked[index] is not None
        ]
    return cells


def _outcome(answer: Mapping[str, Any] | RowError) -> Mapping[str, Any]:
    if isinstance(answer, RowError):
        return schema.error_cells(answer)
    return answer


def one_row_per_question(table: pa.Table, form: pa.Schema) -> pa.Table:
    """Unpack a table with packed questions into one row per question; any other table stays as it is.

    Args:
        table: rows of `form`, or of its `packed_schema`.
        form: the schema of the output.
    """
    if PACKED not in table.column_names:
        return table
    packed = table[PACKED].combine_chunks()
    parents, questions = pc.list_parent_indices(packed), pc.list_flatten(packed)
    rest = table.drop_columns([PACKED]).take(parents)
    own = [field.name for field in questions.type]
    columns = [pc.struct_field(questions, name) if name in own else rest[name] for name in form.names]
    return pa.table(columns, schema=form)
