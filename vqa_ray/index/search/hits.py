"""The table of hits that a search writes and its page shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray import schema
from vqa_ray.index.search.scoring import Scores
from vqa_ray.index.search.top_k import Ids
from vqa_ray.index.search.verify import Verified

# Hits stand best first; `score` is the similarity. The verdict and the status of the verification follow, if there was
# one, then the kept columns of the index and the tags.
HIT = pa.schema(
    [
        pa.field("rank", pa.int32(), nullable=False),
        *schema.IDENTITY[:2],
        pa.field("image_uri", pa.string()),
        pa.field("score", pa.float32(), nullable=False),
    ]
)
VERDICT = (
    # Of the whole expression; null where the image could not be read again.
    pa.field("verified_score", pa.float32()),
    # Of each question of the expression, in order, as in `retrieve`.
    pa.field("verified_scores", pa.list_(schema.QUESTION_SCORE)),
)
_OF_IMAGE = (pa.field("height", pa.int32()), pa.field("width", pa.int32()), pa.field("sha256", pa.string()))
_TAIL = (*schema.STATUS, schema.WARNING)
# Prefix of a kept column whose name is taken by a column of hits.
PREFIX = "index_"


@dataclass(frozen=True, slots=True)
class Ranked:
    """The hits among candidates.

    Attributes:
        positions: int64 (K,), in the index.
        scores: float32 (K,), of the search.
        verdicts: RETRIEVE rows, in the same order; None without verification.
    """

    positions: Ids
    scores: Scores
    verdicts: pa.Table | None = None


def apply_verdicts(positions: Ids, scores: Scores, verified: Verified, top_k: int) -> Ranked:
    """Reduce verified candidates to hits: the matches in the order of the search, then those that failed.

    Args:
        positions: of all candidates, best first.
        scores: of the candidates.
        verified: the verdicts on the first of them.
        top_k: matches to keep; all failed ones are kept.
    """
    matched = np.flatnonzero(pc.fill_null(verified.table["match"], False).to_numpy(zero_copy_only=False))[:top_k]
    failed = np.flatnonzero(pc.not_equal(verified.table["status"], schema.STATUS_OK).to_numpy(zero_copy_only=False))
    kept = np.concatenate([matched, failed])
    return Ranked(positions[kept], scores[kept], verified.table.take(pa.array(kept)))


def hits_table(ranked: Ranked, rows: pa.Table) -> pa.Table:
    """Make the table of hits with all their columns.

    Args:
        ranked: the hits.
        rows: their rows in the index, in the same order, with the columns of tags. A kept column whose name is taken
            gets the prefix `index_`.
    """
    verdicts = ranked.verdicts
    form = pa.schema([*HIT, *(VERDICT if verdicts is not None else ()), *_OF_IMAGE, *_TAIL])
    made: dict[str, Any] = {"rank": pa.array(range(1, len(ranked.positions) + 1)), "score": pa.array(ranked.scores)}
    if verdicts is not None:
        made |= {"verified_score": verdicts["score"], "verified_scores": verdicts["scores"]}
        made |= {field.name: verdicts[field.name] for field in _TAIL}
    columns = [made[field.name] if field.name in made else rows[field.name] for field in form]
    own = schema.embedding_schema(1, 1).names
    kept = [field for field in rows.schema if field.name not in own]
    named = [field.with_name(PREFIX + field.name) if field.name in form.names else field for field in kept]
    cast = [column.cast(field.type) for column, field in zip(columns, form, strict=True)]
    return pa.table([*cast, *(rows[field.name] for field in kept)], schema=pa.schema([*form, *named]))


def conflicting_row_ids(hits: pa.Table) -> list[int]:
    """Find row_ids that stand for several different images among the hits, ascending."""
    images: dict[int, set[str]] = {}
    for row_id, sha256 in zip(hits["row_id"].to_pylist(), hits["sha256"].to_pylist(), strict=True):
        images.setdefault(row_id, set()).add(sha256)
    return sorted(row_id for row_id, different in images.items() if len(different) > 1)
