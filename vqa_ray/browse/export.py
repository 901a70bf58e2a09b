"""The rows of a view as a CSV or JSON file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, Literal

from vqa_ray.browse.dataset import Collection
from vqa_ray.browse.view_model import ResultPage
from vqa_ray.export.plain import to_plain
from vqa_ray.export.text_files import csv_cell, exported_columns

Form = Literal["csv", "json"]

MEDIA_TYPES: dict[str, str] = {"csv": "text/csv", "json": "application/json"}
# Rows per piece.
_STEP = 500


def export_rows(collection: Collection, results: ResultPage, form: Form) -> Iterator[bytes]:
    """Yield the file in pieces: the rows of a view in its order, without columns of bytes and vectors.

    Args:
        collection: of the rows.
        results: the rows of the view; a search adds a column `likeness`.
        form: `csv`, with lists and structs as JSON, or `json`, a list of objects.
    """
    names = exported_columns(collection.rows.schema)
    found = results.hits
    header = [*(["likeness"] if found is not None else []), *names]
    yield _csv([header]) if form == "csv" else b"["
    for first in range(0, len(results.positions), _STEP):
        here = slice(first, first + _STEP)
        rows = collection.take(results.positions[here].tolist())
        if found is not None:
            scores = found.scores[here].tolist()
            rows = [{"likeness": round(score, 6), **row} for score, row in zip(scores, rows, strict=True)]
        if form == "csv":
            yield _csv(
                [[csv_cell(value) for value in to_plain({name: row[name] for name in header}).values()] for row in rows]
            )
        else:
            objects = (json.dumps(to_plain({name: row[name] for name in header}), allow_nan=False) for row in rows)
            yield ((",\n" if first else "\n") + ",\n".join(objects)).encode()
    if form == "json":
        yield b"\n]\n"


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")
