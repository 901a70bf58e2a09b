"""Pages of documents are verified whatever the resolution that they were embedded with."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.index.search.verify import _as_embedded


def test_pages_are_not_compared_by_their_bytes() -> None:
    cells = {"source_key": 0, "row_id": 0, "image": b"x", "status": "ok"}
    rows = [{**cells, "image_uri": "a.pdf#page=2"}, {**cells, "image_uri": "a.jpg"}]
    checked = _as_embedded(pa.Table.from_pylist(rows, schema.READ), ["0" * 64, "0" * 64])
    assert checked["status"].to_pylist() == ["ok", "error"]
