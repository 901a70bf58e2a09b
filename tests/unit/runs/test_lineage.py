"""Events of OpenLineage."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from vqa_ray.runs.lineage import EventType, Lineage, dataset
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
    assert start["job"] == {"namespace": "vqa-ray", "name": "answer.answers"}
    assert start["inputs"] == [{"namespace": "s3://bucket", "name": "photos/a"}]
    statistics = end["outputs"][0]["outputFacets"]["outputStatistics"]
    assert statistics["rowCount"] == 10
    assert statistics["_schemaURL"].endswith("OutputStatisticsOutputDatasetFacet")
    assert end["run"]["facets"]["vqa_ray"]["errors"] == {"image_missing": 1}


def test_every_event_and_facet_has_what_the_specification_requires() -> None:
    event = Lineage(RECORD, "/data/answers", BEGAN).event(EventType.FAIL, BEGAN, error="the cluster is gone")
    assert event.keys() >= {"eventType", "eventTime", "producer", "schemaURL", "run", "job"}
    for facet in event["run"]["facets"].values():
        assert facet.keys() >= {"_producer", "_schemaURL"}
    assert event["run"]["facets"]["errorMessage"]["message"] == "the cluster is gone"


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
    ],
)
def test_a_dataset_is_named_by_its_store(uri: str, namespace: str, name: str) -> None:
    assert dataset(uri) == {"namespace": namespace, "name": name}
