"""Events of OpenLineage about a run, from its record and manifest.

The specification: https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from vqa_ray import __version__
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.lake_storage import TABLE
from vqa_ray.storage.uri import redacted_uri

_SPEC = "https://openlineage.io/spec"
_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_PRODUCER = f"https://pypi.org/project/vqa-ray/{__version__}"


class EventType(StrEnum):
    """What has happened to a run."""

    START = "START"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"


class Lineage:
    """The events of one process of a run.

    Args:
        record: of the run.
        output: URI of its directory.
        began: when the process began, with a time zone.
    """

    def __init__(self, record: RunRecord, output: str, began: datetime) -> None:
        self._record, self._output = record, output
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
                "_schemaURL": _EVENT,
                "run_id": record.run_id,
                "model": redacted_uri(str(record.model.get("reference"))),
                "spec_hash": record.spec_hash,
            },
        }
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
            "job": {"namespace": "vqa-ray", "name": f"{record.job}.{output['name'].strip('/')}"},
            "inputs": [dataset(str(record.input["uri"]))],
            "outputs": [output],
        }


def dataset(uri: str) -> dict[str, Any]:
    """Name a dataset as OpenLineage does: the store is its namespace, the path its name.

    A table is one dataset in all of its versions.
    """
    if (table := TABLE.fullmatch(uri)) is not None:
        if table[1] == "iceberg":
            return {"namespace": "iceberg", "name": table[2]}
        uri = table[2]
    scheme, separator, rest = redacted_uri(uri).partition("://")
    if not separator or scheme == "file":
        return {"namespace": "file", "name": str(Path(rest or scheme).absolute())}
    store, _, path = rest.partition("/")
    return {"namespace": f"{scheme}://{store}", "name": path or "/"}


def _facet(schema: str, **content: Any) -> dict[str, Any]:
    name = schema.partition("/")[2]
    return {"_producer": _PRODUCER, "_schemaURL": f"{_SPEC}/facets/{schema}.json#/$defs/{name}", **content}
