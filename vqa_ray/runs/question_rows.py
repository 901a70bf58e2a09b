"""Rows of an `answer` run, one for each question, whichever form they were written in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]


def question_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows as `--layout rows` writes them.

    Args:
        rows: of either layout and any version; a nested one that failed is one row without a question.
    """
    for row in rows:
        if "results" not in row:
            yield row
            continue
        rest = {name: value for name, value in row.items() if name != "results"}
        nothing = {"question": None, "answer": None, "answer_score": None, "answers": None}
        for index, result in enumerate(row["results"] or [nothing]):
            yield {**rest, **result, "question_index": index}
