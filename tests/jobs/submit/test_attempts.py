"""Submission ids: one job for one output, one number for each attempt, whatever happens to the connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from ray.job_submission import JobStatus

from vqa_ray.errors import RequestError, RunError
from vqa_ray.jobs.submit import attempts
from vqa_ray.jobs.submit.attempts import JobRequest, base_id, find, submit

BASE = base_id("tag", ["s3://bucket/tags"])
REQUEST = JobRequest("python -m vqa_ray.jobs tag", {}, {})


@dataclass
class FakeCluster:
    """The jobs of a cluster; `faults` are raised by the next submissions, before or after they take effect."""

    jobs: list[Any] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, submission_id: str | None, status: str, entrypoint: str = REQUEST.entrypoint) -> None:
        start = len(self.jobs) + 1
        job = SimpleNamespace(
            submission_id=submission_id, entrypoint=entrypoint, status=JobStatus(status), start_time=start
        )
        self.jobs.append(job)

    def list_jobs(self) -> list[Any]:
        return list(self.jobs)

    def submit_job(self, *, submission_id: str, entrypoint: str, runtime_env: dict[str, Any], metadata: Any) -> str:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "lost before":
            raise requests.ConnectionError("reset")
        if fault == "another was faster":
            self.add(submission_id, "RUNNING")
        if any(job.submission_id == submission_id for job in self.jobs):
            raise RuntimeError(f"Request failed: Job with submission_id {submission_id} already exists.")
        self.add(submission_id, "PENDING", entrypoint)
        if fault == "lost after":
            raise requests.Timeout("no answer")
        return submission_id


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts.time, "sleep", lambda _: None)


def test_the_id_follows_from_command_and_output() -> None:
    assert base_id("tag", ["s3://bucket/tags"]) == BASE
    assert len({BASE, base_id("answer", ["s3://bucket/tags"]), base_id("tag", ["s3://bucket/other"])}) == 3
    assert BASE.startswith("vqa-ray-tag-")


def test_an_attempt_that_has_ended_is_followed_by_the_next() -> None:
    cluster = FakeCluster()
    cluster.add(None, "RUNNING")
    cluster.add("raysubmit_of_somebody", "RUNNING")
    cluster.add(f"{base_id('answer', ['s3://bucket/answers'])}-4", "RUNNING", "another")
    for number, status in enumerate(("FAILED", "STOPPED", "SUCCEEDED"), 1):
        assert submit(cluster, BASE, REQUEST) == (f"{BASE}-{number}", True)
        cluster.jobs[-1].status = JobStatus(status)


def test_an_attempt_under_way_is_found_and_another_command_on_its_output_is_refused() -> None:
    cluster = FakeCluster()
    cluster.add(f"{BASE}-7", "RUNNING")
    assert submit(cluster, BASE, REQUEST) == (f"{BASE}-7", False)
    with pytest.raises(RequestError, match=f"{BASE}-7 works on the same output with another command"):
        submit(cluster, BASE, REQUEST._replace(entrypoint="another"))


@pytest.mark.parametrize(
    ("faults", "jobs", "is_new"),
    [
        (["lost after"], 1, True),
        (["lost before"] * 4, 1, True),
        (["lost before", "lost after"], 1, True),
        (["another was faster"], 1, False),
    ],
)
def test_a_lost_connection_starts_no_second_job(faults: list[str], jobs: int, is_new: bool) -> None:
    cluster = FakeCluster(faults=faults)
    assert submit(cluster, BASE, REQUEST) == (f"{BASE}-1", is_new)
    assert len(cluster.jobs) == jobs


def test_a_cluster_that_stays_away_is_named() -> None:
    with pytest.raises(RunError, match="lost again and again"):
        submit(FakeCluster(faults=["lost before"] * 9), BASE, REQUEST)


def test_a_job_is_found_by_its_id_with_or_without_number() -> None:
    cluster = FakeCluster()
    cluster.add(f"{BASE}-1", "FAILED")
    cluster.add(f"{BASE}-2", "RUNNING")
    assert find(cluster, "--stop", BASE).number == 2
    assert find(cluster, "--stop", f"{BASE}-1").number == 1
    with pytest.raises(RequestError, match=f"--stop x: no such job .*; the last are {BASE}-1, {BASE}-2"):
        find(cluster, "--stop", "x")
