"""Events of OpenLineage about a run, from its record and manifest.

The specification: https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from vqa_ray import __version__
from vqa_ray.runs.lineage_dataset import dataset, inputs
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.uri import redacted_uri

_SPEC = "https://openlineage.io/spec"
_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
# Of a facet that OpenLineage does not know.
_RUN_FACET = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunFacet"
_PRODUCER = f"https://pypi.org/project/vqa-ray/{__version__}"


class EventType(StrEnum):
    """What has happened to a run."""

    START = "START"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"


class Parent(NamedTuple):
    """The run that has started this one, such as the task of a scheduler."""

    namespace: str
    job: str
    run_id: str


class Lineage:
    """The events of one process of a run.

    Args:
        record: of the run.
        output: URI of its directory.
        began: when the process began, with a time zone.
        namespace: of its job.
        parent: what has started it; None for a command of its own.
    """

    def __init__(
        self,
        record: RunRecord,
        output: str,
        began: datetime,
        namespace: str = "vqa-ray",
        parent: Parent | None = None,
    ) -> None:
        self._record, self._output, self._namespace, self._parent = record, output, namespace, parent
        # A run that is resumed is one run for us and several for OpenLineage, where an ended one does not go on.
        self._run = str(uuid.uuid5(uuid.NAMESPACE_URL, f"vqa-ray:{record.run_id}:{began.isoformat()}"))

    def event(
        self,
        kind: EventType,
        at: datetime,
        *,
        counts: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> dict[str, Any]:
        """Return an event as JSON content.

        Args:
            kind: what has happened.
            at: when, with a time zone.
            counts: `rows` that stand in the output, and `ok`, `failed` and `errors` where known.
            error: why it failed.
        """
        record = self._record
        facets: dict[str, Any] = {
            "processing_engine": _facet(
                "1-1-1/ProcessingEngineRunFacet", name="ray", version=record.versions.get("ray", "")
            ),
            "vqa_ray": {
                "_producer": _PRODUCER,
                "_schemaURL": _RUN_FACET,
                "run_id": record.run_id,
                "model": redacted_uri(str(record.model.get("reference"))),
                "spec_hash": record.spec_hash,
            },
        }
        if self._parent is not None:
            facets["parent"] = _facet(
                "1-2-0/ParentRunFacet",
                run={"runId": self._parent.run_id},
                job={"namespace": self._parent.namespace, "name": self._parent.job},
            )
        if error is not None:
            facets["errorMessage"] = _facet("1-0-1/ErrorMessageRunFacet", message=error, programmingLanguage="python")
        output = dataset(self._output)
        if counts is not None:
            statistics = _facet("1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=counts["rows"])
            output["outputFacets"] = {"outputStatistics": statistics}
            facets["vqa_ray"] |= {name: counts[name] for name in ("ok", "failed", "errors") if name in counts}
        return {
            "eventType": str(kind),
            "eventTime": at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "producer": _PRODUCER,
            "schemaURL": _EVENT,
            "run": {"runId": self._run, "facets": facets},
            "job": {
                "namespace": self._namespace,
                "name": _job_name(record.job, output),
                "facets": {
                    "jobType": _facet(
                        "2-0-4/JobTypeJobFacet", processingType="BATCH", integration="VQA_RAY", jobType="JOB"
                    )
                },
            },
            "inputs": inputs(record.input, record.command),
            "outputs": [output],
        }


def _job_name(job: str, output: Mapping[str, Any]) -> str:
    """Name a job after the place that it writes; outputs of the same name in two buckets are two jobs."""
    store = str(output["namespace"]).partition("://")[2]
    return f"{job}.{'/'.join(part.strip('/') for part in (store, output['name']) if part.strip('/'))}"


def _facet(schema: str, **content: Any) -> dict[str, Any]:
    name = schema.partition("/")[2]
    return {"_producer": _PRODUCER, "_schemaURL": f"{_SPEC}/facets/{schema}.json#/$defs/{name}", **content}
