"""The output of a search: a table on the terminal, JSON, Parquet, and a page of pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.errors import one_line
from vqa_ray.export.plain import to_plain
from vqa_ray.index.search.gallery_cards import hit_cards
from vqa_ray.jobs.search.outcome import Outcome
from vqa_ray.jobs.search.spec import JSON, TABLE
from vqa_ray.report.gallery import Fact, Header, write_gallery
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.python_rows import python_rows
from vqa_ray.storage.store_errors import refused
from vqa_ray.storage.uri import redacted_uri

# Columns where the output is no terminal: wide enough that a line holds a row.
_WIDTH = 200
_CELL = 1_000


def write(outcome: Outcome, output: str) -> None:
    """Print the hits, or write them to a file at once or not at all.

    Args:
        outcome: of the search.
        output: `table`, `json`, or a file named *.json or *.parquet.

    Raises:
        RequestError: the file cannot be written.
    """
    if output == TABLE:
        _print_table(outcome.hits)
    elif output == JSON:
        sys.stdout.write(to_json(outcome))
    elif output.endswith(".json"):
        with _written("--output", output):
            write_bytes_atomic(output, to_json(outcome).encode())
    else:
        form = schema.with_metadata(outcome.hits.schema, outcome.header)
        with _written("--output", output):
            write_table_atomic(output, outcome.hits.replace_schema_metadata(form.metadata))


def write_page(outcome: Outcome, images: Sequence[bytes | None], output: str) -> None:
    """Write the gallery.

    Args:
        outcome: of the search.
        images: of each hit a thumbnail or the image itself; None where there is none.
        output: the HTML file.

    Raises:
        RequestError: it cannot be written, or Jinja2 is not installed.
    """
    facts = {"hits": outcome.hits.num_rows, "images searched": outcome.header["search"]["images"]}
    verified = outcome.header["verification"]
    if verified is not None:
        facts |= {"candidates verified": verified["candidates"], "that do not fit": verified["rejected"]}
    header = Header(
        "vqa-ray search",
        outcome.about,
        outcome.hits.num_rows,
        tuple(Fact(name, f"{value:,}") for name, value in facts.items()),
    )
    with _written("--gallery", output):
        write_gallery(output, header, hit_cards(outcome.hits, images))


def to_json(outcome: Outcome) -> str:
    """Write one object: the header, and under `hits` an object per hit."""
    content = {**outcome.header, "hits": [to_plain(row) for row in python_rows(outcome.hits)]}
    # ASCII: names of files may hold what no encoding can write.
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def lines(hits: pa.Table) -> tuple[list[str], list[list[str]]]:
    """Give the heads and the cells of a table of hits for a person, without empty columns."""
    rows = python_rows(hits)
    columns = {
        "rank": [str(row["rank"]) for row in rows],
        "score": [f"{row['score']:.4f}" for row in rows],
        "verified": [_number(row.get("verified_score")) for row in rows],
        "image": [row["image_id"] or str(row["row_id"]) for row in rows],
        "tags": [", ".join(map(str, tags)) if isinstance(tags := row.get("tags"), list) else "" for row in rows],
        "where": [redacted_uri(row["image_uri"] or "") for row in rows],
        "note": [f"{row['error_code']}: {row['error_message']}" if row["error_code"] else "" for row in rows],
        "warning": [row["warning"] or "" for row in rows],
    }
    # Names may hold line breaks and control sequences.
    shown = {name: [one_line(cell, _CELL) for cell in cells] for name, cells in columns.items() if any(cells)}
    return list(shown), [list(cells) for cells in zip(*shown.values(), strict=True)]


def _print_table(hits: pa.Table) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heads, rows = lines(hits)
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head in ("rank", "score", "verified") else "left", overflow="fold")
    for cells in rows:
        # Not strings, in which rich would look for markup.
        table.add_row(*map(Text, cells))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    if rows:
        console.print(table)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


@contextmanager
def _written(option: str, output: str) -> Iterator[None]:
    """Turn a failure to write into a RequestError that names the option."""
    with refused(f"{option} {output}: cannot be written"):
        yield
