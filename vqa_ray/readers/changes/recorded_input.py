"""The input of a run directory: what the run recorded of it, and the input opened again."""

from __future__ import annotations

from vqa_ray.errors import RequestError
from vqa_ray.readers.changes.resumed import EarlierRun
from vqa_ray.readers.changes.snapshot import read_snapshot
from vqa_ray.readers.open import open_source
from vqa_ray.readers.source import InputConfig, Source
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.store_errors import store_failures, store_reason

INPUT, VALIDATION = "input", "validation"


def earlier_run(output: str, name: str = INPUT, *, update: bool = False) -> EarlierRun:
    """Read what a run directory recorded of one of its inputs.

    Args:
        output: the run directory; a new one has recorded nothing.
        name: `input`, or `validation` of a training.
        update: whether to take in files that were added since.

    Raises:
        RequestError: the directory cannot be read.
    """
    layout = RunDirectory(output)
    try:
        record = RunRecord.read(layout.record)
        snapshot = None if record is None else read_snapshot(layout.listing(name))
    except store_failures() as error:
        raise RequestError(f"--output {output}: cannot be read: {store_reason(error)}") from error
    if record is None or snapshot is not None:
        return EarlierRun(output, snapshot, update=update)
    # Versions before 0.2 kept a fingerprint of the files and nothing more.
    uri, fingerprint = record.input["uri"], record.input["fingerprint"]
    if name == VALIDATION:
        uri, fingerprint = record.command.get("validation"), record.command.get("validation_fingerprint")
    return EarlierRun(output, None, uri or "", fingerprint or "", record.started, update=update)


def reopen_input(output: str, record: RunRecord) -> Source:
    """Open the input of a run again, to read its images by the source_keys of the run.

    Raises:
        RequestError: the input is not there or cannot be read, or the keys of its rows no longer identify them.
    """
    known, command = record.input, record.command
    config = InputConfig(
        # `uri` is relative to the directory in which the run was started.
        known.get("place", known["uri"]),
        known["format"],
        command.get("columns", {}),
        needs_question=False,
        reads_several=record.job == "answer",
        image_root=command.get("image_root"),
        encoding=command.get("encoding"),
    )
    earlier = earlier_run(output)
    source = open_source(config, earlier)
    if earlier.snapshot is None and source.fingerprint != known["fingerprint"]:
        raise RequestError(f"{config.uri}: the input has changed since the run, which kept no list of its files")
    return source
