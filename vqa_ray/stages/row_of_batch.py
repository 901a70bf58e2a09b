"""Model stages whose endpoint is asked by batch: each row by itself, under its own name."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.models.endpoint.batch import request_line, row_of_batch

# Requests of a row: the lines of the file of requests, none for a row that cannot be asked about.
REQUESTS = pa.schema([schema.SOURCE_KEY, *schema.STATUS, pa.field("lines", pa.list_(pa.large_binary()))])


class RowsOfBatch:
    """Wraps a model stage that reads results, or that writes requests.

    Args:
        make_stage: makes the stage.
        run: names the run.
        writes: give the requests of the rows instead of the stage's columns.
    """

    def __init__(self, make_stage: Callable[[], Callable[[pa.Table], pa.Table]], run: str, *, writes: bool) -> None:
        self._stage, self._run, self._writes = make_stage(), run, writes

    def __call__(self, table: pa.Table) -> pa.Table:
        """Run the stage on a DECODED table, row by row; with `writes`, return `REQUESTS`."""
        tables = []
        for number, key in enumerate(table[schema.SOURCE_KEY.name].to_pylist()):
            one = table.slice(number, 1)
            with row_of_batch(self._run, key) as row:
                answered = self._stage(one)
            if self._writes:
                lines = [request_line(name, body) for name, body in row.requests.items()]
                cells = {name: one[name] for name in (schema.SOURCE_KEY.name, *(each.name for each in schema.STATUS))}
                answered = pa.table({**cells, "lines": pa.array([lines], REQUESTS.field("lines").type)}, REQUESTS)
            tables.append(answered)
        return pa.concat_tables(tables) if tables else (REQUESTS.empty_table() if self._writes else self._stage(table))
