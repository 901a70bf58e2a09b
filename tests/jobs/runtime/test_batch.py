"""`--batch-file`: what ends the writing of requests is told in one line."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.data.exceptions import ExecutionTimeoutError

from vqa_ray.errors import OutageError, RequestError, RunError, VqaRayError
from vqa_ray.jobs.runtime import batch
from vqa_ray.jobs.runtime.cluster.connect import Cluster
from vqa_ray.jobs.spec.images import AnswerSpec


class Failing:
    """A pipeline whose rows fail when they are read."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def build(self, _work: object, _plan: object) -> Failing:
        return self

    def iter_batches(self, **_options: object) -> Any:
        raise self._error


def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, cpus: float = 4.0) -> None:
    monkeypatch.setattr(batch, "connect_ray", lambda _: nullcontext(Cluster({"CPU": cpus}, None, "a cluster")))
    given = {"input": "in", "output": "out", "model": "openai:tiny", "base_url": "http://localhost"}
    spec = AnswerSpec.model_validate(given | {"batch_file": str(tmp_path / "requests")})
    job: Any = SimpleNamespace(spec=spec, pipeline=Failing(error))
    work: Any = None
    batch.write_requests(job, work)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ray.exceptions.RayTaskError("f", "Traceback", OutageError("s3 is down")), OutageError, "^s3 is down$"),
        (ray.exceptions.ActorDiedError(), RunError, "not all requests are written; begin anew in a new directory: "),
        (ExecutionTimeoutError("nothing moves"), RunError, "begin anew in a new directory: .*nothing moves"),
    ],
)
def test_a_failure_of_ray_is_one_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[VqaRayError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        write(tmp_path, monkeypatch, error)


def test_a_cluster_that_is_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="a cluster: too small for this job: CPU"):
        write(tmp_path, monkeypatch, AssertionError("not reached"), cpus=1.0)
