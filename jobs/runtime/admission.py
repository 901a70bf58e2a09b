"""Admission to an output: a command may begin a run there, continue its own, or is refused."""

from __future__ import annotations

import importlib.metadata
import platform
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vqa_ray import __version__
from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.readers import Source
from vqa_ray.readers.changes.snapshot import input_place, read_snapshot, snapshot_of, write_snapshot
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.enclosing import refuse_inside_output
from vqa_ray.runs.record import RunRecord
from vqa_ray.schema import COLUMNS_VERSION
from vqa_ray.storage.delete import delete
from vqa_ray.storage.foreign_files import refuse_foreign_files
from vqa_ray.storage.store_errors import store_failures, store_reason

_PACKAGES = ("ray", "torch", "transformers", "pyarrow", "pillow")


def new_record(
    job: str, spec: RunSpec, source: Source, model: Checkpoint, extra: dict[str, Any] | None = None
) -> RunRecord:
    """Make the record of a command as if its run were new.

    Args:
        job: `answer`, `tag`, `caption` or `retrieve`.
        spec: of the command.
        source: the input, opened.
        model: the model, opened.
        extra: further entries that affect the result, such as the fingerprint of a taxonomy file.
    """
    return RunRecord(
        run_id=uuid.uuid4().hex[:12],
        job=job,
        started=now(),
        command=spec.command() | {"input": input_place(spec.input)} | (extra or {}),
        model=model.record(model.score_meaning),
        input=input_of(source),
        versions=versions(),
        columns_version=columns_version(spec.output),
    )


def columns_version(output: str) -> int:
    """Give the version of the columns that a command writes: that of the run it continues, or the current one.

    Raises:
        RequestError: the output cannot be read.
    """
    existing = _record_at(RunDirectory(output))
    return COLUMNS_VERSION if existing is None else existing.columns_version


def input_of(source: Source) -> dict[str, Any]:
    """Describe an input for a record."""
    return {
        "uri": source.config.uri,
        "place": input_place(source.config.uri),
        "format": source.format,
        "fingerprint": source.fingerprint,
        "shards": len(source.shards),
        "rows": source.total_rows,
        "several": source.multi_question,
        "notes": list(source.notes),
    }


def versions() -> dict[str, str]:
    """Give the versions of Python and the packages that affect results."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"vqa_ray": __version__, "python": platform.python_version(), **packages}


def existing_record(
    directory: RunDirectory, wanted: RunRecord, may_differ: frozenset[str] = frozenset()
) -> RunRecord | None:
    """Find the record that a command continues, without writing anything; None for a new output.

    Args:
        directory: the run directory.
        wanted: the record of the command.
        may_differ: entries of its `command` that are not compared.

    Raises:
        RequestError: the output holds another run or other files, or cannot be read.
    """
    existing = _record_at(directory)
    if existing is not None:
        require_same_request(directory.output, existing.agreeing_in(may_differ, wanted), wanted)
        return existing
    foreign = [entry.uri for entry in (*directory.foreign_files(), *directory.part_files())]
    refuse_foreign_files(f"--output {directory.output}", foreign, "a run")
    if not directory.is_update:
        refuse_inside_output("--output", directory.output)
    return None


def claim_output(directory: RunDirectory, wanted: RunRecord, inputs: Mapping[str, Source]) -> tuple[RunRecord, bool]:
    """Give the record that a command continues, and whether it is new. A new one is written at once.

    Args:
        directory: the run directory.
        wanted: the record of the command.
        inputs: URI → the source whose listing is written there, so that the run can continue with the same files.

    Raises:
        RequestError: the output holds another run or other files, or cannot be written.
    """
    existing = existing_record(directory, wanted)
    try:
        for uri, source in inputs.items():
            if existing is None or read_snapshot(uri) is None:
                write_snapshot(uri, snapshot_of(source))
        if existing is not None:
            return existing, False
        wanted.write(directory.record)
    except store_failures() as error:
        raise RequestError(f"--output {directory.output}: cannot be written: {store_reason(error)}") from error
    return wanted, True


def release_output(directory: RunDirectory) -> None:
    """Forget a request that was claimed for an output and refused before any row was written."""
    delete(directory.record)
    delete(directory.listing())


def _record_at(directory: RunDirectory) -> RunRecord | None:
    try:
        return RunRecord.read(directory.record)
    except store_failures() as error:
        raise RequestError(f"--output {directory.output}: cannot be read: {store_reason(error)}") from error


def require_same_request(output: str, existing: RunRecord, wanted: RunRecord) -> None:
    """Refuse a command that differs from the run that the output holds.

    Raises:
        RequestError: the differences.
    """
    differences = existing.differences(wanted)
    if differences:
        is_taxonomy = all(each.startswith(("--tags", "--calibration")) for each in differences)
        more = ", or --update --taxonomy-changed, which asks everything again" if is_taxonomy else ""
        raise RequestError(
            f"--output {output}: holds another run ({existing.job} of {existing.started}): {'; '.join(differences)}; "
            f"use another --output, or the command it was made with{more}"
        )


def now() -> str:
    """Give the time: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
