"""Events of OpenLineage."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from vqa_ray.runs.lineage import EventType, Lineage, Parent
from vqa_ray.runs.lineage_dataset import dataset
from vqa_ray.runs.record import RunRecord

RECORD = RunRecord(
    "r1",
    "answer",
    "2027-01-15T08:00:00Z",
    {},
    {"reference": "fake:", "fingerprint": "f"},
    {"uri": "s3://bucket/photos/a"},
    {"ray": "2.60.0"},
)
BEGAN = datetime(2027, 1, 15, 8, tzinfo=UTC)


def test_events_of_one_process_share_a_run() -> None:
    events = Lineage(RECORD, "s3://bucket/answers", BEGAN)
    start = events.event(EventType.START, BEGAN)
    counts = {"rows": 10, "ok": 9, "failed": 1, "errors": {"image_missing": 1}}
    end = events.event(EventType.COMPLETE, BEGAN, counts=counts)
    assert start["run"]["runId"] == end["run"]["runId"] == str(uuid.UUID(start["run"]["runId"]))
    assert (
        start["run"]["runId"]
        != Lineage(RECORD, "s3://bucket/answers", datetime.now(UTC)).event(EventType.START, BEGAN)["run"]["runId"]
    )
    assert start["eventTime"] == "2027-01-15T08:00:00.000+00:00"
    assert (start["job"]["namespace"], start["job"]["name"]) == ("vqa-ray", "answer.bucket/answers")
    assert start["inputs"] == [{"namespace": "s3://bucket", "name": "photos/a"}]
    statistics = end["outputs"][0]["outputFacets"]["outputStatistics"]
    assert statistics["rowCount"] == 10
    assert statistics["_schemaURL"].endswith("OutputStatisticsOutputDatasetFacet")
    assert end["run"]["facets"]["vqa_ray"]["errors"] == {"image_missing": 1}


# Written down from the specification, 2-0-2: what an event must hold, and what its facets may.
_TEXT = {"type": "string", "minLength": 1}
_FACETS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["_producer", "_schemaURL"],
        "properties": {key: {"type": "string", "pattern": "^https://"} for key in ("_producer", "_schemaURL")},
    },
}


def _named(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    properties = {**required, "facets": _FACETS, **more}
    return {"type": "object", "additionalProperties": False, "required": [*required], "properties": properties}


_JOB = {"namespace": _TEXT, "name": _TEXT}
_PARENT = {"job": _named(_JOB), "run": _named({"runId": {"type": "string", "format": "uuid"}})}
EVENT = _named(
    {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "format": "date-time", "pattern": r"(Z|[+-]\d\d:\d\d)$"},
        "producer": {"type": "string", "format": "uri"},
        "schemaURL": {"const": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"},
        "run": _named({"runId": {"type": "string", "format": "uuid"}}),
        "job": _named(_JOB),
        "inputs": {"type": "array", "items": _named(_JOB, inputFacets=_FACETS)},
        "outputs": {"type": "array", "items": _named(_JOB, outputFacets=_FACETS)},
    }
)
FACETS = {
    "processing_engine": {"required": ["version"], "properties": {"version": _TEXT, "name": _TEXT}},
    "errorMessage": {"required": ["message", "programmingLanguage"], "properties": {"message": _TEXT}},
    "parent": {"required": ["run", "job"], "properties": _PARENT},
    "jobType": {"required": ["processingType", "integration"], "properties": {"processingType": {"enum": ["BATCH"]}}},
    "outputStatistics": {"properties": {"rowCount": {"type": "integer", "minimum": 0}}},
    "vqa_ray": {"required": ["run_id", "model", "spec_hash"]},
}


def _facets(event: dict[str, Any]) -> dict[str, Any]:
    outputs = [each.get("outputFacets", {}) for each in event["outputs"]]
    return {
        name: facet
        for each in (event["run"]["facets"], event["job"]["facets"], *outputs)
        for name, facet in each.items()
    }


def test_events_are_those_of_the_specification() -> None:
    parent = Parent("airflow", "nightly.tag", "5f1f6c0e-37d9-4d55-9d6a-3d4b2f6f5e11")
    events = Lineage(RECORD, "/data/answers", BEGAN, "shop", parent)
    counts = {"rows": 10, "ok": 9, "failed": 1, "errors": {"image_missing": 1}}
    made = [
        events.event(EventType.START, BEGAN),
        events.event(EventType.RUNNING, BEGAN, counts=counts),
        events.event(EventType.COMPLETE, BEGAN, counts=counts),
        events.event(EventType.FAIL, BEGAN, error="the cluster is gone"),
    ]
    formats = jsonschema.FormatChecker()
    for event in made:
        jsonschema.validate(event, EVENT, format_checker=formats)
        for name, facet in _facets(event).items():
            jsonschema.validate(facet, FACETS[name], format_checker=formats)
    assert {name for event in made for name in _facets(event)} == FACETS.keys()
    assert made[0]["job"]["namespace"] == "shop"
    assert made[0]["run"]["facets"]["parent"]["job"] == {"namespace": "airflow", "name": "nightly.tag"}
    assert made[3]["run"]["facets"]["errorMessage"]["message"] == "the cluster is gone"


def test_outputs_of_one_name_in_two_buckets_are_two_jobs() -> None:
    names = {
        Lineage(RECORD, uri, BEGAN).event(EventType.START, BEGAN)["job"]["name"] for uri in ("s3://a/t", "s3://b/t/")
    }
    assert names == {"answer.a/t", "answer.b/t"}


def test_images_that_lie_apart_are_an_input() -> None:
    record = replace(RECORD, command={"images_from": "index:s3://bucket/index/"})
    event = Lineage(record, "/data/answers", BEGAN).event(EventType.START, BEGAN)
    assert [each["name"] for each in event["inputs"]] == ["photos/a", "index"]


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("/data/in", "file", "/data/in"),
        ("s3://b/x/y", "s3://b", "x/y"),
        ("s3://b", "s3://b", "/"),
        ("gs://b/x", "gs://b", "x"),
        ("iceberg:prod.photos", "iceberg", "prod.photos"),
        ("iceberg:prod.photos@42", "iceberg", "prod.photos"),
        ("delta:s3://b/t", "s3://b", "t"),
        ("delta:s3://b/t@3", "s3://b", "t"),
        ("lance:/data/t@3", "file", "/data/t"),
        ("s3://b/x@3", "s3://b", "x@3"),
        ("s3://b/x/", "s3://b", "x"),
        ("s3://b//x", "s3://b", "/x"),
        ("s3a://b/x", "s3://b", "x"),
        ("S3://b/x", "s3://b", "x"),
        ("/data/run/../in/", "file", "/data/in"),
        ("file:///data/x/", "file", "/data/x"),
        (f"s3://b/{'a' * 300}", "s3://b", "a" * 300),
        (f"/data/{'a' * 300}", "file", f"/data/{'a' * 300}"),
        ("s3://KEY:SECRET@b/x", "s3://b", "x"),
        ("https://user:word@host/x?signature=1", "https://host", "x"),
        ("abfs://box@account.dfs.core.windows.net/x", "abfss://box@account.dfs.core.windows.net", "x"),
        ("abfss://user:word@account.dfs.core.windows.net/x", "abfss://account.dfs.core.windows.net", "x"),
        ("hf://datasets/org/set", "hf://datasets", "org/set"),
    ],
)
def test_a_dataset_is_named_by_its_store(uri: str, namespace: str, name: str) -> None:
    assert dataset(uri) == {"namespace": namespace, "name": name}


def test_a_dataset_of_the_hub_is_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dataset("org/set@main#config/test", "hf") == {"namespace": "hf://datasets", "name": "org/set"}
    (tmp_path / "org" / "set").mkdir(parents=True)
    assert dataset("org/set", "hf") == {"namespace": "file", "name": f"{tmp_path}/org/set"}


def test_a_name_that_is_not_utf_8_leaves_json_that_is() -> None:
    name = dataset(os.fsdecode(b"/data/\xff"))["name"]
    assert json.dumps(name, ensure_ascii=False).encode() == b'"/data/?"'
