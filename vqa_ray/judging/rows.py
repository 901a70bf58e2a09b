"""The columns of judged rows, and the reading of them.

An evaluation writes a row for each row of truth, for each attribute of a `tag` run, then the rows of the run without
truth: the columns of JUDGED, then those that the measures are broken down by, then the numbers of
`vqa_ray.evaluation.protocol.Judgement.extra` under names that begin with `extra:`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import pyarrow as pa

from vqa_ray.evaluation.protocol import Outcome
from vqa_ray.judging.directory import EvaluationDirectory
from vqa_ray.runs.part_files import read_columns

EXTRA = "extra:"
# Outcomes whose rows are in the measures.
MEASURED = tuple(str(outcome) for outcome in Outcome)

JUDGED = pa.schema(
    [
        # The id by which prediction and truth belong together, as text.
        pa.field("key", pa.string()),
        # Of a tag run; else null.
        pa.field("attribute", pa.string()),
        pa.field("image_id", pa.string()),
        pa.field("image_uri", pa.string()),
        pa.field("question", pa.string()),
        # As the model gave it, labels joined by "; "; null in error or missing.
        pa.field("prediction", pa.string()),
        # Null where it could not be read.
        pa.field("read_as", pa.string()),
        pa.field("truth", pa.string()),
        # 0..1; 0 without a readable prediction; null where the row is not in the measures.
        pa.field("score", pa.float64()),
        # See `vqa_ray.evaluation.protocol.Outcome` and `Unmeasured`.
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("error_code", pa.string()),
        # The model's own score of its prediction; null for none.
        pa.field("confidence", pa.float32()),
    ]
)


class Unmeasured(StrEnum):
    """Why a row is not in the measures, beside the outcomes of those that are."""

    # A row of the run to which no row of truth belongs.
    NO_TRUTH = "no_truth"
    # The truth cannot be used, e.g. it has no annotators.
    BAD_TRUTH = "bad_truth"


def judged_schema(groups: Iterable[str], extra: Iterable[str]) -> pa.Schema:
    """Return the schema of the rows of an evaluation.

    Args:
        groups: the columns that the measures are broken down by.
        extra: the names of the protocol's further numbers.
    """
    fields = [pa.field(name, pa.string()) for name in groups if name not in JUDGED.names]
    return pa.schema([*JUDGED, *fields, *(pa.field(f"{EXTRA}{name}", pa.float64()) for name in extra)])


def extra_names(schema: pa.Schema) -> list[str]:
    """Return the names of the protocol's further numbers."""
    return [name.removeprefix(EXTRA) for name in schema.names if name.startswith(EXTRA)]


def read_judged(output: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of an evaluation, a table for each file.

    Args:
        output: its directory.
        columns: those of them that are there; None for all.

    Raises:
        RequestError: a file is damaged.
    """
    for uri in EvaluationDirectory(output).rows_files():
        yield read_columns(uri, columns).replace_schema_metadata(None)
