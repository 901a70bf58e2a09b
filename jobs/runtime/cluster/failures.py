"""Why Ray failed, in one line: the innermost cause rather than Ray's advice around it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ray

from vqa_ray.errors import OutageError, RequestError, RunError, VqaRayError, one_line
from vqa_ray.storage.store_errors import advice_on

# Where Ray's exceptions keep the exception that they wrap: tasks, the controller of a training, a worker of it that
# stopped answering, and user code in such a worker.
_WRAPPED = ("cause", "controller_failure", "health_check_failure", "_base_exc")
# A refusal in an actor's constructor, which Ray passes on as text alone.
_REFUSED = re.compile(r"^(?:\([^)]*\) )?vqa_ray\.errors\.(?:ModelLoadError|RequestError): (.+)$", re.MULTILINE)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it, the innermost last."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = _inner(error)


def typed_failure(error: BaseException) -> RequestError | OutageError | None:
    """Return the failure that a worker meant for the driver: a wrong request that only it could see, or an outage."""
    for cause in causes(error):
        if isinstance(cause, RequestError | OutageError):
            kind = OutageError if isinstance(cause, OutageError) else RequestError
            # Below the message, Ray Data notes how often it tried.
            lines = str(getattr(cause, "cause", None) or cause).splitlines()
            return kind(one_line(lines[0] if lines else "", 1000))
    return None


def failed_run(error: BaseException, what: str) -> RequestError | RunError:
    """Translate a failure of Ray: a wrong request that only a worker could see, or a failed run.

    Args:
        error: of Ray.
        what: has failed, and what to do.
    """
    if (typed := typed_failure(error)) is not None:
        return typed
    refused = _REFUSED.findall(str(error))
    if refused:
        return RequestError(one_line(refused[-1], 1000))
    return RunError(f"{what}: {reason(error)}")


def reason(error: BaseException) -> str:
    """Describe the innermost cause of an error, or the innermost of our own exceptions among the causes.

    A worker that was killed because its node ran out of memory is named as such.
    """
    chain = list(causes(error))
    killed = [cause for cause in chain if isinstance(cause, ray.exceptions.OutOfMemoryError)]
    if killed:
        return (
            "a worker was ended because the memory of its node was full; fewer --num-actors, a smaller "
            f"--batch-size or a larger node help ({_last_line(killed[-1])})"
        )
    ours = [cause for cause in chain if isinstance(cause, VqaRayError)]
    last = (ours or chain)[-1]
    plain = ours or type(last).__module__.partition(".")[0] == "ray"
    named = _last_line(last) if plain else f"{type(last).__name__}: {_last_line(last)}"
    advice = next(filter(None, (advice_on(str(cause)) for cause in chain)), None) if isinstance(last, OSError) else None
    return f"{named.rstrip('.')}: {advice}" if advice else named


def _inner(error: BaseException) -> BaseException | None:
    """Give the exception that `error` wraps, or that it was raised from."""
    for name in _WRAPPED:
        inner = getattr(error, name, None)
        if isinstance(inner, BaseException):
            return inner
    failures = getattr(error, "worker_failures", None)
    if failures:
        first: BaseException = failures[min(failures)]
        return first
    return error.__cause__


def _last_line(error: BaseException) -> str:
    """Pick the line that names an error: the last of a traceback, the first of a plain text."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return one_line(lines[-1 if "Traceback" in str(error) else 0], 1000)
