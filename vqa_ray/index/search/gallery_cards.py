"""Gallery cards of hits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vqa_ray.report.card import Card, Line, ScoredText, failure
from vqa_ray.storage.python_rows import python_rows


def hit_cards(hits: pa.Table, images: Sequence[bytes | None]) -> Iterator[Card]:
    """Yield a card for each hit with its score, its verdict or error, and its tags.

    Args:
        hits: a table of `vqa_ray.index.search.hits.hits_table`.
        images: a thumbnail or the image of each hit; None for none.
    """
    for row, image in zip(python_rows(hits), images, strict=True):
        title = row["image_id"] or row["image_uri"] or f"row {row['row_id']}"
        tags = row.get("tags")
        yield Card(
            f"{row['rank']}. {title}",
            image,
            tuple(map(str, tags)) if isinstance(tags, list) else (),
            (Line("search score", (ScoredText("similarity", row["score"]),)), *_verdict(row)),
            **failure(row),
        )


def _verdict(row: Mapping[str, Any]) -> Iterator[Line]:
    if row.get("verified_score") is not None:
        yield Line("verified", (ScoredText("fits", row["verified_score"]),))
    for each in row.get("verified_scores") or ():
        values = () if each["score"] is None else (ScoredText(each["answer"] or "yes", each["score"]),)
        yield Line(each["question"], values)
