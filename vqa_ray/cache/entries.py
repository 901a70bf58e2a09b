"""Entries of a cache as tables: in its files, and on their way from a model to the file that will hold them."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.cache.keys import KEY_BYTES

_CHECK_BYTES = 8

FILE = pa.schema(
    [
        # Of the image, then of the question: all answers about an image stand together.
        pa.field("key", pa.binary(KEY_BYTES), nullable=False),
        # See `vqa_ray.cache.values`.
        pa.field("value", pa.string(), nullable=False),
        # Of the model for this answer.
        pa.field("seconds", pa.float32(), nullable=False),
        pa.field("created", pa.timestamp("ms"), nullable=False),
        # A hash of the cells before `created` and of the context, by which a damaged row is known.
        pa.field("check", pa.binary(_CHECK_BYTES), nullable=False),
    ]
)
_NEW = pa.struct([("context", pa.string()), *((name, FILE.field(name).type) for name in ("key", "value", "seconds"))])
NEWS = pa.field(
    "cache:news",
    pa.struct(
        [
            ("entries", pa.list_(_NEW)),
            ("hits", pa.int64()),
            ("misses", pa.int64()),
            ("saved_s", pa.float64()),
            ("problem", pa.string()),
        ]
    ),
)


class Entry(NamedTuple):
    """An answer in a cache.

    Attributes:
        value: see `vqa_ray.cache.values`.
        seconds: that the model took for it.
    """

    value: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """What a cache was good for.

    Attributes:
        hits: questions answered without the model.
        misses: questions put to the model.
        saved_s: seconds that the model once took for the hits.
        problem: the first file that could not be read or written; None for none.
    """

    hits: int = 0
    misses: int = 0
    saved_s: float = 0.0
    problem: str | None = None

    def __add__(self, other: CacheUsage) -> CacheUsage:
        return CacheUsage(
            self.hits + other.hits,
            self.misses + other.misses,
            self.saved_s + other.saved_s,
            self.problem or other.problem,
        )


def check_of(context: str, key: bytes, entry: Entry) -> bytes:
    """Return the hash by which a row is known to be whole and in its place."""
    digest = blake2b(f"{context} ".encode(), digest_size=_CHECK_BYTES)
    digest.update(key + struct.pack("<f", entry.seconds) + entry.value.encode())
    return digest.digest()


def file_table(context: str, entries: Mapping[bytes, Entry]) -> pa.Table:
    """Return new entries of one context as a table of `FILE`, sorted."""
    ordered = sorted(entries.items())
    columns: list[list[Any]] = [
        [key for key, _ in ordered],
        [entry.value for _, entry in ordered],
        [entry.seconds for _, entry in ordered],
        [int(1000 * time.time())] * len(ordered),
        [check_of(context, *each) for each in ordered],
    ]
    return pa.table([pa.array(cells, part.type) for cells, part in zip(columns, FILE, strict=True)], schema=FILE)


def attach(table: pa.Table, news: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Append the column `NEWS` to rows, with news in the first cells; several go into one where rows are few."""
    cells: list[Mapping[str, Any] | None] = list(news)
    if len(cells) > max(1, table.num_rows):
        cells = [_joined(cell for cell in cells if cell)]
    cells = [*cells, *[None] * table.num_rows][: table.num_rows]
    return table.append_column(NEWS, pa.array(cells, NEWS.type))


def detach(table: pa.Table) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Part rows from their news: the rows without the column, and its cells that are not null."""
    if NEWS.name not in table.column_names:
        return table, []
    return table.drop_columns([NEWS.name]), pc.drop_null(table[NEWS.name]).to_pylist()


def news_cell(usage: CacheUsage, entries: Mapping[tuple[str, bytes], Entry]) -> dict[str, Any]:
    """Return a cell of `NEWS`."""
    hits, misses, saved_s, problem = astuple(usage)
    added = [
        {"context": context, "key": key, "value": entry.value, "seconds": entry.seconds}
        for (context, key), entry in entries.items()
    ]
    return {"entries": added, "hits": hits, "misses": misses, "saved_s": saved_s, "problem": problem}


def usage_of(cell: Mapping[str, Any]) -> CacheUsage:
    """Read the usage in a cell of `NEWS`."""
    return CacheUsage(cell["hits"], cell["misses"], cell["saved_s"], cell["problem"])


def entries_of(cells: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[bytes, Entry]]]:
    """Yield the contexts of news, each with its entries."""
    by_context: dict[str, dict[bytes, Entry]] = {}
    for cell in cells:
        for each in cell["entries"]:
            by_context.setdefault(each["context"], {})[each["key"]] = Entry(each["value"], each["seconds"])
    yield from by_context.items()


def _joined(cells: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = news_cell(CacheUsage(), {})
    for cell in cells:
        joined = usage_of(whole) + usage_of(cell)
        whole = {**news_cell(joined, {}), "entries": [*whole["entries"], *cell["entries"]]}
    return whole
