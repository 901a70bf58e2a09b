"""OpenLineage events of a run, sent to a server or appended to a file."""

from __future__ import annotations

import json
import logging
import os
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from vqa_ray.errors import RequestError, VqaRayError, one_line
from vqa_ray.jobs.runtime.job import Job
from vqa_ray.jobs.runtime.progress import background
from vqa_ray.jobs.runtime.reading_time import is_sample
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.lineage import EventType, Lineage, Parent
from vqa_ray.runs.progress import Progress
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.store_errors import store_failures
from vqa_ray.storage.uri import redacted_uri

logger = logging.getLogger(__name__)

_TIMEOUT_S = 10.0
# Between two RUNNING events.
_EVERY_S = 60.0
# Where the clients of OpenLineage send events, below OPENLINEAGE_URL.
_ENDPOINT = "api/v1/lineage"


@contextmanager
def lineage(job: Job) -> Iterator[None]:
    """Send the events of a run while the block runs it; nothing without a target.

    An event that cannot be sent is a warning: the rows count more.

    Raises:
        RequestError: the target is neither an http(s) URL nor a local file.
    """
    is_disabled = os.environ.get("OPENLINEAGE_DISABLED", "").lower() in ("true", "1")
    target = job.spec.openlineage or (None if is_disabled else os.environ.get("OPENLINEAGE_URL"))
    if not target or is_sample():
        yield
        return
    emit = _emitter(target)
    directory, began = RunDirectory(job.spec.output), datetime.now(UTC)
    # A run that goes on keeps its id.
    record = RunRecord.read(directory.record) or job.record
    namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or "vqa-ray"
    events = Lineage(record, job.spec.output, began, namespace, _parent(os.environ.get("OPENLINEAGE_PARENT_ID")))
    emit(events.event(EventType.START, began))
    try:
        with background(partial(_report_progress, emit, events, directory, began)):
            yield
    except KeyboardInterrupt:
        emit(events.event(EventType.ABORT, datetime.now(UTC)))
        raise
    except Exception as error:
        emit(events.event(EventType.FAIL, datetime.now(UTC), error=one_line(error, 2000)))
        raise
    finished = manifest.read(directory.manifest)
    findings = one_line("; ".join((finished or {}).get("findings", ())), 2000)
    end = EventType.FAIL if findings else EventType.COMPLETE
    emit(events.event(end, datetime.now(UTC), counts=finished, error=findings or None))


def _report_progress(
    emit: Callable[[Mapping[str, Any]], None],
    events: Lineage,
    directory: RunDirectory,
    began: datetime,
    stop: threading.Event,
) -> None:
    """Send the progress that the run writes for `vqa-ray watch`, once a minute until `stop` is set."""
    while not stop.wait(_EVERY_S):
        try:
            state = Progress.read(directory.progress)
        except store_failures(VqaRayError) as error:
            logger.debug("the progress cannot be read: %s", error)
            continue
        if state is not None and state.started >= began.timestamp():
            counts = {"rows": state.rows, "failed": state.failed, "errors": dict(state.errors)}
            emit(events.event(EventType.RUNNING, datetime.now(UTC), counts=counts))


def _parent(given: str | None) -> Parent | None:
    """Read the run that has started this command, as schedulers hand it on: NAMESPACE/JOB/RUN."""
    if not given:
        return None
    try:
        namespace, job, run_id = given.rsplit("/", 2)
        return Parent(namespace, job, str(uuid.UUID(run_id)))
    except ValueError:
        logger.warning("OPENLINEAGE_PARENT_ID=%s: expected NAMESPACE/JOB/RUN, of which RUN is a UUID", given)
        return None


def _emitter(target: str) -> Callable[[Mapping[str, Any]], None]:
    if target.startswith(("http://", "https://")):
        return _Server(target)
    if "://" in target:
        raise RequestError(f"--openlineage {redacted_uri(target)}: wanted an http:// or https:// URL, or a local file")
    return _File(Path(target))


class _Server:
    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/{os.environ.get('OPENLINEAGE_ENDPOINT', _ENDPOINT)}"

    def __call__(self, event: Mapping[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENLINEAGE_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, json.dumps(event).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
                pass
        except (OSError, ValueError) as error:
            logger.warning("%s: the %s event is lost: %s", redacted_uri(self._url), event["eventType"], one_line(error))


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, event: Mapping[str, Any]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        except OSError as error:
            logger.warning("%s: the %s event is lost: %s", self._path, event["eventType"], one_line(error))
