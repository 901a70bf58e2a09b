"""`vqa-ray export`: the rows of a run or of an index in the form of other tools."""

from __future__ import annotations

import logging
import posixpath
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.counted import counted
from vqa_ray.errors import RequestError
from vqa_ray.export.coco import write_coco
from vqa_ray.export.fiftyone import DATA, LABELS, write_fiftyone
from vqa_ray.export.hub import check_repository, upload
from vqa_ray.export.image_sizes import ImageSizes
from vqa_ray.export.label_studio import write_tasks
from vqa_ray.export.labels import check_columns
from vqa_ray.export.llava import llava_lines
from vqa_ray.export.submissions import FORMS, is_folder, submission_columns, write_submission
from vqa_ray.export.text_files import csv_lines, exported_columns, jsonl_lines
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.index.reader import open_index
from vqa_ray.jobs.runtime.output_file import check_file
from vqa_ray.jobs.spec.tools import ExportSpec
from vqa_ray.readers.source import BENCHMARKS
from vqa_ray.report.dataset_card import dataset_card
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory, require_directory
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.record import RunRecord
from vqa_ray.schema import STATUS_GONE, metadata_of
from vqa_ray.storage.filesystem import FileEntry, copy_file, exists, filesystem_for, list_files
from vqa_ray.storage.foreign_files import refuse_foreign_files
from vqa_ray.storage.python_rows import python_rows
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.storage.uri import name_of

logger = logging.getLogger(__name__)

TEXT = ("csv", "jsonl")
ANNOTATIONS = ("coco", "label-studio", "fiftyone")
_ROWS = 1024
_SUBMISSION = "submission:"
SUBMISSIONS = tuple(_SUBMISSION + name for name in FORMS)
FOLDERS = ("fiftyone", *(_SUBMISSION + name for name in FORMS if is_folder(name)))
# Benchmark → another whose questions have submissions of the same form.
_ALIKE = {"okvqa": "vqa-v2", "mmbench": "mmbench-circular"}
_WORKBOOKS = (".xlsx", ".xls", ".ods")
FORMATS = (*TEXT, *ANNOTATIONS, "llava", "hub", f"{_SUBMISSION}NAME")


def run(spec: ExportSpec) -> None:
    """Write the rows, or the labels, to the output."""
    to, output, errors = spec.to, spec.output, spec.errors
    if to.startswith(_SUBMISSION) and to not in SUBMISSIONS:
        raise RequestError(f"--to {to}: unknown benchmark; wanted {', '.join(SUBMISSIONS)}")
    if to not in (*FORMATS[:-1], *SUBMISSIONS):
        raise RequestError(f"--to {to}: unknown format; wanted {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if errors and to not in TEXT:
        raise RequestError(f"--errors: failed rows have no labels; it goes with --to {' and '.join(TEXT)}")
    if to == "hub":
        _to_hub(spec.run, output)
        return
    _check_output(to, output)
    uris, schema = _files(spec.run)
    counts = {"ok": 0, "error": 0, "gone": 0}
    with tempfile.TemporaryDirectory() as folder:
        written = _write(to, uris, schema, Path(folder), errors=errors, counts=counts, run=spec.run)
        try:
            files = sorted(Path(folder).iterdir())
            for file in files:
                # A directory is written for a format of several files.
                target = _file_of(output, file.name) if to not in FOLDERS else f"{output.rstrip('/')}/{file.name}"
                copy_and_rename(file, target)
        except store_failures() as error:
            raise RequestError(f"--output {output}: cannot be written: {store_reason(error, named=True)}") from error
    if to in SUBMISSIONS and (read_as := _other_benchmark(spec.run, to.removeprefix(_SUBMISSION))):
        logger.warning("%s: its questions were read as %s, the form is that of %s", spec.run, read_as, to)
    failed = "failed rows written too" if errors or to in SUBMISSIONS else "failed rows left out"
    hint = "" if errors or to not in TEXT else " (--errors writes them)"
    targets = output if to in FOLDERS else ", ".join(_file_of(output, file.name) for file in files)
    gone = f"; {counts['gone']} that are gone from the input left out" if counts["gone"] else ""
    logger.info("%s → %s; %d %s%s%s", written, targets, counts["error"], failed, hint, gone)


def _check_output(to: str, output: str) -> None:
    """Refuse an output that cannot be written, or where files of others lie."""
    if to not in FOLDERS:
        if output.lower().endswith(_WORKBOOKS):
            raise RequestError(
                f"--output {output}: --to {to} writes text, no workbook; expected a name such as *.tsv, which a "
                "spreadsheet opens and saves as a workbook"
            )
        check_file("--output", output)
        return
    refuse_inside_output("--output", output)
    there = list_files(output) if exists(output) else []
    own = (DATA, LABELS) if to == "fiftyone" else tuple(name for name in map(_name, there) if name.endswith(".txt"))
    foreign = [entry.uri for entry in there if _name(entry) not in own]
    what = "a FiftyOne data set" if to == "fiftyone" else "a submission"
    refuse_foreign_files(f"--output {output}", foreign, what)


def _file_of(output: str, name: str) -> str:
    """Return the place of `rows`, or of `rows-PART`, whose part stands before the ending."""
    folder, slash, base = output.rpartition("/")
    stem, dot, ending = base.rpartition(".")
    part = name.removeprefix("rows")
    return f"{folder}{slash}{stem}{part}{dot}{ending}" if stem else output + part


def _other_benchmark(run: str, name: str) -> str | None:
    """Return the benchmark that a run was read as, where its submissions are of another form; None else."""
    record = RunRecord.read(RunDirectory(run).record)
    read_as = str(record.input.get("format")) if record else ""
    is_benchmark = read_as in (*BENCHMARKS, "vqa-v2")
    return read_as if is_benchmark and read_as not in (name, _ALIKE.get(name)) else None


def _image_roots(run: str) -> list[str]:
    """Return the places that the images of a run are named relative to."""
    record = RunRecord.read(RunDirectory(run).record)
    if record is None:
        return []
    place = str(record.input.get("place") or "")
    return [root for root in (record.command.get("image_root"), place, posixpath.dirname(place)) if root]


def _name(entry: FileEntry) -> str:
    return name_of(entry.uri)


def _to_hub(run: str, repository: str) -> None:
    """Upload all rows of a finished run, failed ones too, with its card."""
    require_directory(run, run, "a finished run")
    if IndexDirectory(run).version_numbers():
        raise RequestError(f"{run}: --to hub takes runs; export an index with --to jsonl, or upload its files")
    full = check_repository(repository)
    uris, schema = _files(run)
    content = manifest.read(RunDirectory(run).manifest)
    assert content is not None
    uri = upload(uris, dataset_card(content, schema), full)
    logger.info("%d rows, %d of them failed → %s", content["rows"], content["failed"], uri)


def _write(
    to: str, uris: Sequence[str], schema: pa.Schema, folder: Path, *, errors: bool, counts: dict[str, int], run: str
) -> str:
    """Write the files of a format into a local directory; give a phrase that counts what was written."""

    file = folder / "rows"
    if to in SUBMISSIONS:
        name = to.removeprefix(_SUBMISSION)
        columns = submission_columns(name, schema, run)
        table = pa.concat_tables(_table(uri, columns).select(columns) for uri in uris)
        counts |= Counter(table["status"].to_pylist())
        table = table.filter(pc.not_equal(table["status"], STATUS_GONE))
        return write_submission(name, table, folder, run)
    columns = exported_columns(schema)
    batches = _batches(uris, columns, errors, counts)
    if to in TEXT:
        rows = (row for batch in batches for row in batch)
        with file.open("w", encoding="utf-8", newline="") as opened:
            opened.writelines(csv_lines(rows, columns) if to == "csv" else jsonl_lines(rows))
        return counted(counts["ok"] + (counts["error"] if errors else 0), "row")
    if to == "llava":
        if not {"conversation"} & {*schema.names} and not {"question", "answer"} <= {*schema.names}:
            raise RequestError(f"{run}: has no conversations; --to llava takes runs of instruct and answer")
        with file.open("w", encoding="utf-8", newline="") as opened:
            opened.writelines(llava_lines((row for batch in batches for row in batch), _image_roots(run)))
        return counted(counts["ok"], "conversation")
    check_columns(schema, run, to)
    if to == "fiftyone":
        return write_fiftyone(batches, folder)
    model = metadata_of(schema).get("model")
    reference = str(model["reference"]) if isinstance(model, dict) else "vqa-ray"
    if to == "coco":
        return write_coco(batches, file, ImageSizes(), f"made by vqa-ray with {reference}")
    return write_tasks(batches, file, ImageSizes(), reference)


def _files(run: str) -> tuple[Sequence[str], pa.Schema]:
    """Find the files with the rows of a finished run or of the latest version of an index, and their schema."""
    require_directory(run, run, "a finished run, or an index")
    if IndexDirectory(run).version_numbers():
        index = open_index(run)
        return [index.file_uri(file) for file in index.version.files], index.schema
    directory = RunDirectory(run)
    if manifest.read(directory.manifest) is None:
        begun = RunRecord.read(directory.record) is not None
        hint = "; finish the run with the command that began it" if begun else ""
        raise RequestError(f"{run}: neither a finished run nor an index{hint}")
    uris = [entry.uri for entry in directory.part_files()]
    if not uris:
        raise RequestError(f"{run}: its files of rows are gone; nothing is left to export")
    return uris, _table(uris[0]).schema


def _table(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one file of rows.

    Raises:
        RequestError: it is damaged or gone.
    """

    try:
        return read_columns(uri, columns)
    except store_failures(pa.ArrowInvalid) as error:
        raise RequestError(f"{uri}: cannot be read: {store_reason(error)}") from error


def _batches(
    uris: Sequence[str], columns: Sequence[str], errors: bool, counts: dict[str, int]
) -> Iterator[list[dict[str, Any]]]:
    for uri in uris:
        for batch in _table(uri, columns).to_batches(_ROWS):
            rows = python_rows(batch)
            for row in rows:
                counts[row["status"]] += 1
            yield [row for row in rows if row["status"] == "ok" or (errors and row["status"] == "error")]


def copy_and_rename(file: Path, target: str) -> None:
    """Copy a local file to its place, so that a reader finds all of it or the older one."""

    copy_file(str(file), target + ".part")
    filesystem, path = filesystem_for(target)
    filesystem.move(path + ".part", path)
