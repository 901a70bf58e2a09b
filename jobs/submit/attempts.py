"""The attempts of a command on a cluster: submission ids that follow from the command and its output.

The output names the job, so a command whose connection was lost finds its job again instead of starting a second one.
An attempt that has ended is followed by one with the next number, which resumes the run.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import requests

from vqa_ray.errors import RequestError, RunError, one_line

logger = logging.getLogger(__name__)

PREFIX = "vqa-ray-"
_NUMBERED = re.compile(rf"({PREFIX}.+)-(\d+)")
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
# What a lost or stalled connection raises.
LOST = (requests.ConnectionError, requests.Timeout)

T = TypeVar("T")


class Jobs(Protocol):
    """What is needed of Ray's client."""

    def list_jobs(self) -> list[Any]:
        """All jobs of the cluster."""

    def submit_job(
        self, *, submission_id: str, entrypoint: str, runtime_env: dict[str, Any], metadata: dict[str, str]
    ) -> str:
        """Start a job; RuntimeError where its id is taken."""


class JobRequest(NamedTuple):
    """A job to be submitted: its shell command, Ray's runtime environment, and notes for its list."""

    entrypoint: str
    runtime_env: dict[str, Any]
    metadata: dict[str, str]


class Attempt(NamedTuple):
    """A job of ours: its id without number, its number, and what Ray knows of it."""

    base: str
    number: int
    details: Any

    @property
    def id(self) -> str:
        """The submission id."""
        return f"{self.base}-{self.number}"


def base_id(command: str, identity: Sequence[str]) -> str:
    """Name a job by its command and by what identifies it: its output, or its whole line."""
    digest = hashlib.sha256("\0".join((command, *identity)).encode()).hexdigest()
    return f"{PREFIX}{command}-{digest[:10]}"


def attempts(client: Jobs, base: str | None = None) -> list[Attempt]:
    """List our jobs, or the attempts of one, in the order of their starts."""
    found: list[Attempt] = []
    for details in patiently(client.list_jobs):
        match = _NUMBERED.fullmatch(details.submission_id or "")
        if match and base in (None, match[1]):
            found.append(Attempt(match[1], int(match[2]), details))
    return sorted(found, key=lambda each: (each.details.start_time or 0, each.number))


def find(client: Jobs, option: str, text: str) -> Attempt:
    """Find a job by its id, or the last attempt of one by its id without number.

    Raises:
        RequestError: no such job; the known ones are named.
    """
    known = attempts(client)
    for each in known[::-1]:
        if text in (each.id, each.base):
            return each
    names = ", ".join(each.id for each in known[-5:]) or "none"
    raise RequestError(f"{option} {text}: no such job of vqa-ray on this cluster; the last are {names}")


def submit(client: Jobs, base: str, request: JobRequest) -> tuple[str, bool]:
    """Start the next attempt of a job, or find the one under way.

    Args:
        client: of the cluster.
        base: of the ids.
        request: the job.

    Returns:
        The submission id, and whether this call started it.

    Raises:
        RequestError: another command writes to the same output now, or Ray refuses the job.
        RunError: the connection stays lost.
    """
    tried: set[str] = set()
    for pause in (*_PAUSES_S, 0.0):
        known = attempts(client, base)
        for each in known:
            if each.id in tried and each.details.entrypoint == request.entrypoint:
                return each.id, True
            if not each.details.status.is_terminal():
                if each.details.entrypoint != request.entrypoint:
                    raise RequestError(
                        f"the job {each.id} works on the same output with another command: {each.details.entrypoint}; "
                        f"wait for its end, or stop it: vqa-ray submit --stop {each.id}"
                    )
                return each.id, False
        wanted = f"{base}-{max((each.number for each in known), default=0) + 1}"
        tried.add(wanted)
        try:
            return client.submit_job(submission_id=wanted, **request._asdict()), True
        except LOST as error:
            logger.warning("the connection was lost while submitting %s (%s); looking again", wanted, one_line(error))
        except (RuntimeError, ValueError, TypeError) as error:
            if "already exists" not in str(error):
                raise RequestError(f"Ray refuses the job: {one_line(error, 1000)}") from error
            # Another process was faster; its job is found in the list.
            tried.discard(wanted)
        time.sleep(pause)
    raise RunError("the connection to the cluster is lost again and again; the same command looks for the job")


def patiently(call: Callable[[], T]) -> T:
    """Call the cluster, again after a lost connection.

    Raises:
        RequestError: the cluster refuses the call.
        RunError: the connection stays lost.
    """
    try:
        for pause in _PAUSES_S:
            try:
                return call()
            except LOST:
                time.sleep(pause)
        return call()
    except LOST as error:
        raise RunError(f"the cluster does not answer any more: {one_line(error, 200)}") from error
    except RuntimeError as error:
        # What Ray's client raises for each answer that is none.
        raise RequestError(f"the cluster refuses: {one_line(error, 400)}") from error
