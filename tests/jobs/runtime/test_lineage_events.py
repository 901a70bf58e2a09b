"""OpenLineage events of a command: to a file, to a server, and when neither takes them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vqa_ray.errors import RequestError, RunError
from vqa_ray.jobs.runtime.job import Job
from vqa_ray.jobs.runtime.lineage_events import lineage
from vqa_ray.jobs.runtime.reading_time import sampling
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.progress import Progress
from vqa_ray.runs.record import RunRecord


def job(tmp_path: Path, target: str | None) -> Job:
    record = RunRecord("r1", "answer", "2027-01-15T08:00:00Z", {}, {"reference": "fake:"}, {"uri": "s3://b/in"}, {})
    spec = SimpleNamespace(output=f"{tmp_path}/out", openlineage=target)
    return cast("Job", SimpleNamespace(record=record, spec=spec))


def types(path: Path) -> list[str]:
    return [json.loads(line)["eventType"] for line in path.read_text().splitlines()]


def test_a_file_takes_the_events_of_good_and_bad_ends(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with lineage(job(tmp_path, str(path))):
        pass
    with pytest.raises(RunError), lineage(job(tmp_path, str(path))):
        raise RunError("the cluster is gone")
    with pytest.raises(KeyboardInterrupt), lineage(job(tmp_path, str(path))):
        raise KeyboardInterrupt
    assert types(path) == ["START", "COMPLETE", "START", "FAIL", "START", "ABORT"]


def test_a_run_whose_rows_do_not_add_up_has_failed(tmp_path: Path) -> None:
    path, uri = tmp_path / "events.jsonl", RunDirectory(f"{tmp_path}/out").manifest
    Path(uri).parent.mkdir(parents=True)
    manifest.write(uri, {"rows": 3, "findings": ["2 rows are missing", "1 row is there twice"]})
    with lineage(job(tmp_path, str(path))):
        pass
    assert types(path) == ["START", "FAIL"]
    end = json.loads(path.read_text().splitlines()[1])
    assert end["run"]["facets"]["errorMessage"]["message"] == "2 rows are missing; 1 row is there twice"
    assert end["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 3


def test_a_scheduler_names_its_run_and_the_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, run = tmp_path / "events.jsonl", "5f1f6c0e-37d9-4d55-9d6a-3d4b2f6f5e11"
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    with lineage(job(tmp_path, None)):
        pass
    assert not caplog.text
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "shop")
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", f"airflow/prod/nightly.tag/{run}")
    with lineage(job(tmp_path, str(path))):
        pass
    event = json.loads(path.read_text().splitlines()[0])
    assert event["job"]["namespace"] == "shop"
    parent = event["run"]["facets"]["parent"]
    assert (parent["run"]["runId"], parent["job"]) == (run, {"namespace": "airflow/prod", "name": "nightly.tag"})
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", "nightly")
    with lineage(job(tmp_path, str(path))):
        pass
    assert "parent" not in json.loads(path.read_text().splitlines()[2])["run"]["facets"]
    assert "OPENLINEAGE_PARENT_ID=nightly: expected NAMESPACE/JOB/RUN" in caplog.text


def test_a_sample_is_no_run_of_a_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with sampling(60), lineage(job(tmp_path, str(path))):
        pass
    assert not path.exists()


def test_progress_is_sent_while_the_run_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqa_ray.jobs.runtime.lineage_events._EVERY_S", 0.02)
    path, progress = tmp_path / "events.jsonl", RunDirectory(f"{tmp_path}/out").progress
    Path(progress).parent.mkdir(parents=True)
    earlier = Progress("r1", 1, time.time() - 100, time.time(), 0, rows=3)
    earlier.write(progress)
    with lineage(job(tmp_path, str(path))):
        time.sleep(0.1)
        assert types(path) == ["START"], "the progress of an earlier process was sent"
        Progress("r1", 1, time.time(), time.time(), 0, rows=7, failed=1, errors={"image_missing": 1}).write(progress)
        deadline = time.monotonic() + 30
        while "RUNNING" not in types(path) and time.monotonic() < deadline:
            time.sleep(0.02)
    start, running, *_, complete = [json.loads(line) for line in path.read_text().splitlines()]
    assert (running["eventType"], complete["eventType"]) == ("RUNNING", "COMPLETE")
    assert running["run"]["runId"] == start["run"]["runId"]
    assert running["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 7
    assert running["run"]["facets"]["vqa_ray"]["errors"] == {"image_missing": 1}


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, str | None, dict[str, Any]]]]]:
    """Yield the URL of a server, and what it has received: path, authorization, event."""
    received: list[tuple[str, str | None, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.path, self.headers.get("Authorization"), event))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", received
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_a_server_takes_them_under_the_variables_of_openlineage(
    server: tuple[str, list[tuple[str, str | None, dict[str, Any]]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = server
    monkeypatch.setenv("OPENLINEAGE_URL", url)
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "secret")
    with lineage(job(tmp_path, None)):
        pass
    assert [(path, key, event["eventType"]) for path, key, event in received] == [
        ("/api/v1/lineage", "Bearer secret", "START"),
        ("/api/v1/lineage", "Bearer secret", "COMPLETE"),
    ]


def test_a_run_goes_on_without_its_events(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with lineage(job(tmp_path, "http://127.0.0.1:9")):
        pass
    with lineage(job(tmp_path, f"{tmp_path}/missing/events.jsonl")):
        pass
    assert caplog.text.count("the START event is lost") == 2


def test_a_target_of_another_kind_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(RequestError, match="--openlineage s3://b/events: wanted an http")
    with refused, lineage(job(tmp_path, "s3://b/events")):
        pass
