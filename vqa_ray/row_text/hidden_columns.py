"""The columns that carry the texts of rows through READ and DECODED tables, and into no output."""

from __future__ import annotations

import pyarrow as pa

# Before the name of a column of the input whose text stands in questions; no kept column's name begins so.
TEXT = "beside:"
# What was done to the texts of a row; in a run whose questions name columns.
TEXT_WARNING = pa.field(f"{TEXT}warning:", pa.string())
