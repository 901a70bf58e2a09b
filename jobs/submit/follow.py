"""Follow a job on a cluster: its messages as they come, its end, and what Ctrl-C does meanwhile."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import typer

from vqa_ray.errors import RunError, SubmittedJobError, one_line
from vqa_ray.jobs.runtime.signals import STOP
from vqa_ray.jobs.submit.attempts import patiently
from vqa_ray.jobs.submit.client import JobsClient

logger = logging.getLogger(__name__)

# Longer than a head takes that is started again by Kubernetes.
_LOST_S = 600.0
_POLL_S = 1.0
_TRIES = 5
_HEARTBEAT_S = 20.0
# Ray gives the command 30 s to unwind, as `package` sets it.
_STOPPING_S = 60.0
_STOPPED = 128 + signal.SIGTERM


class Follower:
    """Shows the messages of one job, each once, however often the connection is made anew."""

    def __init__(self, client: JobsClient, job: str) -> None:
        self._client = client
        self._job = job
        self._shown = 0
        self._heard_at = time.monotonic()

    def follow(self) -> None:
        """Show the messages to the end of the job; Ctrl-C asks what to do.

        Raises:
            SubmittedJobError: the job has failed or was stopped.
            RunError: the cluster is gone.
            KeyboardInterrupt: this command shall end; the job was stopped or left running, as a person said.
        """
        while True:
            try:
                with _interruptible():
                    details = self._until_end()
                break
            except KeyboardInterrupt:
                # Another signal than Ctrl-C has nobody to ask, and the end of a terminal is not that of the job.
                if STOP.received is None and (answer := _answer()) != "l":
                    if answer == "c":
                        continue
                    stop(self._client, self._job)
                else:
                    logger.info("%s goes on: --logs %s follows it, --stop %s stops it", *[self._job] * 3)
                raise
        _raise_unless_succeeded(self._job, details)

    def show(self) -> None:
        """Show the messages so far."""
        text = patiently(lambda: self._client.get_job_logs(self._job))
        self._write(text)

    def _until_end(self) -> Any:
        failures = unknown = 0
        while True:
            try:
                try:
                    asyncio.run(self._tail())
                    failures = 0
                except aiohttp.ClientError as error:
                    failures += 1
                    if failures == _TRIES:
                        logger.warning("%s: its messages cannot be read: %s", self._job, one_line(error, 200))
                details = self._client.get_job_info(self._job)
                self._heard_at, unknown = time.monotonic(), 0
                # Messages lie on the node of the job, which may have gone before they were read.
                if details.status.is_terminal() and (not failures or failures >= _TRIES):
                    return details
            except (OSError, RuntimeError) as error:
                # requests' errors are OSErrors; Ray's client raises RuntimeError for each answer that is none.
                unknown = unknown + 1 if "status code 404" in str(error) else 0
                if unknown == _TRIES:
                    raise RunError(
                        f"{self._job}: the cluster does not know this job any more, as after a new start of its head; "
                        "the same command starts the next attempt, which goes on from there"
                    ) from error
                if time.monotonic() - self._heard_at > _LOST_S:
                    raise RunError(
                        f"{self._job}: no answer of the cluster for {_LOST_S:.0f} s ({one_line(error, 200)}); "
                        "if the job goes on, the same command finds it"
                    ) from error
            time.sleep(_POLL_S)

    async def _tail(self) -> None:
        """Show what the server sends until it closes: the messages from the first one on."""
        client, seen = self._client, 0
        url = f"{client.url}/api/jobs/{self._job}/logs/tail"
        async with (
            aiohttp.ClientSession(headers=client.headers, trust_env=True) as session,
            session.ws_connect(url, heartbeat=_HEARTBEAT_S, max_msg_size=0) as messages,
        ):
            async for message in messages:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._heard_at = time.monotonic()
                    seen += len(message.data)
                    if seen > self._shown:
                        self._write(message.data[self._shown - seen :])
            if messages.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
                raise aiohttp.ClientConnectionError("the connection was closed before the end of the messages")

    def _write(self, text: str) -> None:
        self._shown += len(text)
        sys.stdout.write(text)
        sys.stdout.flush()


def stop(client: JobsClient, job: str) -> None:
    """Stop a job and wait for its end.

    Raises:
        RunError: it has not ended in time.
    """
    if not patiently(lambda: client.stop_job(job)):
        logger.info("%s has ended already: %s", job, patiently(lambda: client.get_job_info(job)).status)
        return
    logger.info("stopping %s", job)
    until = time.monotonic() + _STOPPING_S
    while time.monotonic() < until:
        if patiently(lambda: client.get_job_info(job)).status.is_terminal():
            logger.info("%s is stopped; its command goes on from here", job)
            return
        time.sleep(_POLL_S)
    raise RunError(f"{job}: has not stopped within {_STOPPING_S:.0f} s")


def _raise_unless_succeeded(job: str, details: Any) -> None:
    """Raise for a job that has ended otherwise than well.

    Raises:
        SubmittedJobError: with the exit code of its command.
    """
    if details.status == "SUCCEEDED":
        return
    if details.status == "STOPPED":
        raise SubmittedJobError(f"{job} was stopped; the same command goes on from there", _STOPPED)
    code = details.driver_exit_code
    if code:
        # Negative where the shell itself was killed by a signal.
        code = code if code > 0 else 128 - code
        raise SubmittedJobError(f"{job} has ended with exit code {code}", code)
    raise SubmittedJobError(f"{job} has failed: {one_line(details.message or 'no reason is known', 1000)}", 1)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let each Ctrl-C raise KeyboardInterrupt, and end nothing by force: the work is elsewhere."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    descriptor = signal.set_wakeup_fd(-1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.set_wakeup_fd(descriptor)


def _answer() -> str:
    """Ask what becomes of the job: s(top), l(eave) or c(ontinue); l where nobody can answer."""
    if not sys.stdin.isatty():
        return "l"
    try:
        with _interruptible():
            while True:
                given = typer.prompt(
                    "\nstop the job (s), leave it running (l), or follow it further (c)?", "l", err=True
                )
                if given[:1].lower() in ("s", "l", "c"):
                    return str(given[:1].lower())
    except (KeyboardInterrupt, EOFError, typer.Abort):
        return "l"
