"""Recognise a published benchmark by the contents of its files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyarrow import parquet

from vqa_ray.format_names import Format
from vqa_ray.readers.benchmarks.documents import first_records
from vqa_ray.readers.benchmarks.fields import Record
from vqa_ray.readers.benchmarks.folders import is_task, task_files
from vqa_ray.readers.benchmarks.layout import Layout
from vqa_ray.readers.benchmarks.layouts import LAYOUTS
from vqa_ray.readers.benchmarks.tables import tsv_names
from vqa_ray.readers.damage import DAMAGE, watched
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.source import InputConfig
from vqa_ray.storage.filesystem import FileEntry

_FILES = 16
_JSON = re.compile(r"\.jsonl?(?:\.(?:gz|bz2|xz|zst))?$", re.IGNORECASE)
_TSV = re.compile(r"\.(?:tsv|csv)(?:\.(?:gz|bz2|xz|zst))?$", re.IGNORECASE)
_PARQUET = re.compile(r"\.parquet$", re.IGNORECASE)
# The columns of Parquet files that tests of signatures read: short ones.
_TESTED = ("category", "question_type")
# Files beside the questions of ScienceQA.
_BESIDE = re.compile(r"(?:^|/)(?:pid_splits|captions)\.json$")


def recognised(config: InputConfig, listing: Listing) -> Format | None:
    """Return the benchmark whose questions an input holds, or None where any of its tables is something else.

    Inputs are looked at only where the job asks the questions that the rows bring, or reads truth, under their usual
    names: whatever else a user names is read as named.
    """
    asks = config.needs_question and not config.questions and not config.labels
    if not (asks or not config.needs_image) or config.columns.keys() - {"image_folder"}:
        return None
    tables = [entry for entry in tables_of(listing) if not _BESIDE.search(entry.uri)]
    if not tables:
        return "mme" if _is_mme(listing) else None
    found = format_of(tables[0])
    return found if found and all(format_of(entry) == found for entry in tables[1:_FILES]) else None


def _is_mme(listing: Listing) -> bool:
    suffixes = (".txt", ".jpg", ".png", ".jpeg")
    if not all(entry.uri.endswith(suffixes) for entry in listing.entries):
        return False
    files = task_files(listing)
    try:
        return bool(files) and is_task(listing, files[0])
    except DAMAGE:
        return False


def tables_of(listing: Listing) -> list[FileEntry]:
    """Return the files that may hold records."""
    patterns = (_JSON, _TSV, _PARQUET)
    return [entry for entry in listing.entries if any(pattern.search(entry.uri) for pattern in patterns)]


def kind_of_table(uri: str) -> str:
    """Return `parquet`, `tsv` or `json`, by the name of a file."""
    return "parquet" if _PARQUET.search(uri) else "tsv" if _TSV.search(uri) else "json"


def format_of(entry: FileEntry) -> Format | None:
    """Return the benchmark that a file is of; None for any other."""
    try:
        for record in _beginnings(entry.uri):
            for name, layout in LAYOUTS.items():
                if _fits(layout, record):
                    return name
    except DAMAGE:
        # The reader of the usual format says what is wrong.
        return None
    return None


def _fits(layout: Layout, record: Record) -> bool:
    names = frozenset(name for name in record if not name.startswith("\0"))
    return any(mark.fits(names) and (mark.test is None or mark.test(record)) for mark in layout.signatures)


def _beginnings(uri: str) -> Iterator[Record]:
    kind = kind_of_table(uri)
    if kind == "json":
        yield from first_records(uri)
    elif kind == "tsv":
        yield dict.fromkeys(tsv_names(uri, None), "")
    else:
        with watched(uri) as file:
            opened = parquet.ParquetFile(file)
            names = opened.schema_arrow.names
            marks = [mark for layout in LAYOUTS.values() for mark in layout.signatures if mark.fits(frozenset(names))]
            tested = [name for name in _TESTED if name in names and any(mark.test for mark in marks)]
            batch = next(opened.iter_batches(1, columns=tested), None) if tested else None
            yield {**dict.fromkeys(names, ""), **(batch.to_pylist()[0] if batch is not None else {})}
