"""Why Ray failed: the innermost cause, and workers that were killed because memory was short."""

from __future__ import annotations

import pickle

import pytest
import ray
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError, UserCodeException
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError

from vqa_ray.errors import OutageError, RequestError, RunError
from vqa_ray.jobs.runtime.cluster.failures import failed_run, reason, typed_failure

_MEMORY = "Task was killed due to the node running low on memory.\nRefer to the documentation on how to address it."
_NAMED = "a worker was ended because the memory of its node was full"


def of_task(cause: Exception) -> Exception:
    """What the driver gets of an exception in a task."""
    error = RayTaskError("work", f"Traceback (most recent call last):\n{type(cause).__name__}: {cause}\n", cause)
    return error.as_instanceof_cause()


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (of_task(ValueError("bad scale")), "ValueError: bad scale"),
        (of_task(raised_from(UserCodeException("advice of Ray"), KeyError("q"))), "KeyError: 'q'"),
        (
            raised_from(RuntimeError("outer"), of_task(OSError(28, "No space left"))),
            "OSError: [Errno 28] No space left",
        ),
        (of_task(raised_from(RunError("rows are missing"), KeyError("q"))), "rows are missing"),
        (ActorDiedError(), "The actor died unexpectedly before finishing this task."),
        (RuntimeError(""), "RuntimeError: RuntimeError"),
        (
            WorkerGroupError("advice", {1: ValueError("later"), 0: UserExceptionWithTraceback(ValueError("nan"), "…")}),
            "ValueError: nan",
        ),
        (ControllerError(OSError("no bucket")), "OSError: no bucket"),
    ],
)
def test_the_innermost_cause_is_quoted(error: Exception, expected: str) -> None:
    assert reason(error) == expected


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError(_MEMORY),
        raised_from(UserCodeException("advice"), OutOfMemoryError(_MEMORY)),
        of_task(OutOfMemoryError(_MEMORY)),
        WorkerGroupError("advice", {0: WorkerHealthCheckFailedError("no answer", OutOfMemoryError(_MEMORY))}),
    ],
)
def test_a_worker_killed_for_memory_is_named(error: Exception) -> None:
    assert reason(error).startswith(_NAMED)
    assert "Task was killed due to the node running low on memory." in reason(error)
    assert str(failed_run(error, "it failed")).startswith(f"it failed: {_NAMED}")


def test_a_gpu_out_of_memory_is_no_worker_killed_for_memory() -> None:
    class OutOfMemoryError(RuntimeError):
        """As torch.cuda.OutOfMemoryError is called."""

    text = "CUDA out of memory. Tried to allocate 20.00 MiB. OutOfMemory"
    assert reason(of_task(OutOfMemoryError(text))) == f"OutOfMemoryError: {text}"


def test_a_refusal_of_a_worker_is_a_wrong_request() -> None:
    assert isinstance(failed_run(of_task(RequestError("model m: damaged")), "it failed"), RequestError)


def test_an_outage_that_a_worker_met_is_one() -> None:
    outage = typed_failure(of_task(OutageError("s3://b has been down\nFailed to apply UDF transform after 1/4")))
    assert isinstance(outage, OutageError)
    assert str(outage) == "s3://b has been down"
    failed = WorkerGroupError("advice", {0: UserExceptionWithTraceback(OutageError("s3://b is down"), "…")})
    assert str(typed_failure(failed)) == "s3://b is down"


def test_an_error_that_causes_itself_ends() -> None:
    error = RuntimeError("round")
    error.__cause__ = error
    assert reason(error) == "RuntimeError: round"


def test_causes_survive_the_way_between_processes() -> None:
    failed = WorkerGroupError("advice", {0: UserExceptionWithTraceback(ValueError("nan"), "…")})
    assert reason(pickle.loads(pickle.dumps(failed))) == "ValueError: nan"
    assert ray.exceptions.OutOfMemoryError is OutOfMemoryError


def test_a_refusal_of_a_store_comes_with_what_to_do() -> None:
    text = "Traceback …\nClientError: An error occurred (ExpiredToken) when calling the GetObject operation: expired"
    failed = of_task(PermissionError("The token has expired."))
    failed.args = (text,)
    assert reason(RayTaskError("read", f"{text}\nPermissionError: The token has expired.", failed.cause)) == (
        "PermissionError: The token has expired: check or renew the credentials "
        "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)"
    )
