"""The matches of a `retrieve` run, taken out of its part files and sorted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.runs.counts import asked_questions
from vqa_ray.runs.part_files import read_columns
from vqa_ray.schema import STATUS_OK

# Parquet under a name that no reader takes for rows of the run.
MATCHES_FILE = "_matches.pq"
_ORDER = [("score", "descending"), ("row_id", "ascending"), ("source_key", "ascending")]


@dataclass(frozen=True, slots=True)
class Matches:
    """The matches of a run.

    Attributes:
        table: the rows that match, with all their columns: best first, ties by row_id.
        matches, images: how many rows match, of how many that were scored.
        asked, questions: the number of questions put to the model, and of all questions.
    """

    table: pa.Table
    matches: int
    images: int
    asked: int
    questions: int


def collect(part_uris: Iterable[str], top_k: int | None) -> Matches:
    """Read the part files one by one; the matches are held, or of them the best so far.

    Args:
        part_uris: at least one.
        top_k: how many to keep; None for all.
    """
    kept: list[pa.Table] = []
    matches = images = asked = questions = 0
    for uri in part_uris:
        rows = read_columns(uri)
        scored = rows.filter(pc.equal(rows["status"], STATUS_OK))
        images += scored.num_rows
        asked += asked_questions(scored)
        questions += pc.sum(pc.list_value_length(scored["scores"])).as_py() or 0
        found = scored.filter(scored["match"]) if scored.num_rows else scored
        matches += found.num_rows
        kept.append(found.replace_schema_metadata(None))
        if top_k is not None:
            kept = [_best(kept, top_k)]
    return Matches(_best(kept, top_k), matches, images, asked, questions)


def _best(tables: list[pa.Table], top_k: int | None) -> pa.Table:
    ordered = pa.concat_tables(tables).sort_by(_ORDER)
    return ordered if top_k is None else ordered.slice(0, top_k)
