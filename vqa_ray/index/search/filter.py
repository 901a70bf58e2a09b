"""SQL conditions on the rows of an index."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.errors import RequestError, one_line

Mask = npt.NDArray[np.bool_]

# Source locations and phrases around the reason in Lance's messages.
_PLACE = re.compile(r",? /\S+\.rs:\d+:\d+")
_PARSER = re.compile(r".*\(sql parser error: (.*)\)", re.DOTALL)
_UNKNOWN = re.compile(r"No field named (.+?)\. Valid fields are")
_QUOTED = re.compile(r'"([^"]*)"')


def matching(rows: pa.Table, condition: str) -> Mask:
    """Find the rows that match a condition: bool (N,).

    The language is SQL as Lance parses it: `category = 'mug' and price < 10`,
    `colour in ('red', 'blue')`, `title like '%dog%'`, `tags is not null`, `array_has(tags, 'red')`. Names of
    columns with a space stand in backticks; null is neither true nor false.

    Raises:
        RequestError: the text does not parse, is no condition, or names an unknown column; or Lance is not installed.
    """
    names = rows.column_names
    for quoted in _QUOTED.findall(re.sub(r"'[^']*'", "''", condition)):
        if quoted in names:
            raise RequestError(f'filter {condition!r}: "{quoted}" is a text; the column is written `{quoted}`')
    try:
        import lance
    except ImportError as error:
        raise RequestError("a filter needs pylance, which is not installed: pip install 'vqa-ray[index]'") from error
    mentioned = [name for name in names if name.lower() in condition.lower()]
    uri = f"memory://{uuid.uuid4().hex}"
    dataset = lance.write_dataset(rows.select(mentioned or names[:1]), uri, max_rows_per_file=max(1, rows.num_rows))
    try:
        # The parentheses allow conditions only; the line break ends a comment.
        found = dataset.to_table(columns=[], filter=f"({condition}\n)", with_row_id=True)
    except (ValueError, OSError, NotImplementedError) as error:
        raise RequestError(f"filter {condition!r}: {_reason(error, names)}") from error
    mask: Mask = np.zeros(rows.num_rows, np.bool_)
    mask[found["_rowid"].to_numpy()] = True
    return mask


def _reason(error: Exception, names: Sequence[str]) -> str:
    text = _PLACE.sub("", str(error)).replace("Invalid user input: ", "")
    unknown: Any = _UNKNOWN.search(text)
    if unknown:
        return f"no column {unknown[1]}; the columns are {', '.join(names)} (texts stand in single quotes)"
    parser = _PARSER.search(text)
    return f"does not parse: {one_line(parser[1])}" if parser else one_line(text)
