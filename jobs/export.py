"""`vqa-ray export`: the rows of a run or of an index as a file of another kind."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqa_ray.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

FORMATS = ("csv", "jsonl")


def export(
    run: Annotated[str, typer.Argument(help="a finished run, or an index", metavar="RUN")],
    *,
    to: Annotated[str, typer.Option(help="csv or jsonl", metavar="FORMAT")],
    output: Annotated[str, typer.Option(help="the file to write; an older one is replaced", metavar="URI")],
    errors: Annotated[bool, typer.Option("--errors", help="write the rows that failed, too")] = False,
) -> None:
    """Write the rows of a run or of an index as CSV or JSON Lines; those that failed are left out and counted."""
    from jobs import logs
    from vqa_ray.export.text_files import csv_lines, exported_columns, jsonl_lines
    from vqa_ray.storage import copy_file

    logs.configure(False, "text")
    if to not in FORMATS:
        raise RequestError(f"--to {to}: unknown format; wanted {' or '.join(FORMATS)}")
    uris, schema = _files(run)
    columns = exported_columns(schema)
    counts = {"ok": 0, "error": 0}
    rows = _rows(uris, columns, errors, counts)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "rows")
        with file.open("w", encoding="utf-8", newline="") as opened:
            opened.writelines(csv_lines(rows, columns) if to == "csv" else jsonl_lines(rows))
        try:
            copy_file(str(file), output + ".part")
            _rename(output)
        except OSError as error:
            raise RequestError(f"--output {output}: cannot be written: {error}") from error
    failed = "failed rows written too" if errors else "failed rows left out (--errors writes them)"
    logger.info("%d rows → %s; %d %s", counts["ok"], output, counts["error"], failed)


def _files(run: str) -> tuple[Sequence[str], pa.Schema]:
    """The files with the rows of a finished run or of the latest version of an index, and their schema."""
    from vqa_ray.retrieval.index import open_index
    from vqa_ray.retrieval.layout import IndexLayout
    from vqa_ray.run import manifest
    from vqa_ray.run.layout import RunLayout
    from vqa_ray.run.tally import read_columns

    if IndexLayout(run).version_numbers():
        index = open_index(run)
        return [index.file_uri(file) for file in index.version.files], index.schema
    layout = RunLayout(run)
    if manifest.read(layout.manifest) is None:
        raise RequestError(f"{run}: neither a finished run nor an index; finish the run with the command that began it")
    uris = [entry.uri for entry in layout.part_files()]
    return uris, read_columns(uris[0]).slice(0, 0).schema


def _rows(uris: Sequence[str], columns: Sequence[str], errors: bool, counts: dict[str, int]) -> Iterator[Any]:
    from vqa_ray.run.tally import read_columns

    for uri in uris:
        for batch in read_columns(uri, columns).to_batches(1024):
            for row in batch.to_pylist():
                counts[row["status"]] += 1
                if errors or row["status"] == "ok":
                    yield row


def _rename(output: str) -> None:
    from vqa_ray.storage import filesystem_for

    filesystem, path = filesystem_for(output)
    filesystem.move(path + ".part", path)
