"""One writer per output: the lock of every job that writes a directory, on disks and on object stores.

Writers are files with rising numbers, created exclusively: whoever made the highest one writes. It repeats a beat in
its own file while it works and says in it when it is done. One that has died is taken over from: at once where its
process can be seen to be gone, else after its beat has stood still for a while, by the observer's own clock.

A writer that was taken over from while it stood still learns it from the numbers: its driver by the beat, its workers
by the `Fence` that they check before each file.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from types import TracebackType

from vqa_ray.errors import RequestError
from vqa_ray.runs.claims import (
    Fence,
    LockRecord,
    claim_uri,
    describe,
    parse_claim,
    read_claim,
    read_raw,
    writer_numbers,
)
from vqa_ray.runs.process_identity import process_start, this_host
from vqa_ray.runs.record import to_json
from vqa_ray.storage.atomic import create, write_bytes_atomic
from vqa_ray.storage.canonical import canonical_uri
from vqa_ray.storage.delete import delete
from vqa_ray.storage.store_errors import refused, store_failures, store_reason

logger = logging.getLogger(__name__)

BEAT_S = 5.0
SILENCE_S = 45.0
_WAITING_LINE_EVERY_S = 60.0


class OutputLock(AbstractContextManager["OutputLock"]):
    """The right to write to an output, held while the block runs.

    Args:
        output: the directory.
        started: UTC, ISO 8601, for whoever is refused.
        wait: whether to wait for another writer instead of refusing.
        beat_s: seconds between beats.
        silence_s: seconds without a beat after which a writer counts as dead.
        sleep: waits so many seconds.
        host, pid: of this process.

    Raises:
        RequestError: on entering: another process writes.
        RunError: on leaving a block that was interrupted because another process took over.
    """

    def __init__(
        self,
        output: str,
        started: str,
        *,
        wait: bool = False,
        beat_s: float = BEAT_S,
        silence_s: float = SILENCE_S,
        sleep: Callable[[float], None] = time.sleep,
        host: str | None = None,
        pid: int | None = None,
    ) -> None:
        token = f"{process_start(os.getpid()) or 0}-{uuid.uuid4().hex}"
        self._output, self._wait = output, wait
        self._claim = LockRecord(token, host or this_host(), os.getpid() if pid is None else pid, started)
        self._beat_s, self._silence_s, self._sleep = beat_s, silence_s, sleep
        self._fence: Fence | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = False

    @property
    def fence(self) -> Fence:
        """The right to write, for workers."""
        assert self._fence is not None, "the lock is not held"
        return self._fence

    @property
    def is_lost(self) -> bool:
        """Whether another process has taken over while the block ran."""
        return self._lost

    def check(self) -> None:
        """See `Fence.check`."""
        self.fence.check()

    def __enter__(self) -> OutputLock:
        with refused(f"--output {self._output}: cannot be written"):
            self.acquire()
        is_main = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._beat, args=(is_main,), name="output-lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._lost:
            # Whatever the block ended with: it may not go on.
            raise self.fence.taken_over()
        if self.fence.holds():
            self._write(self._claim.beat + 1, released=True)

    def acquire(self) -> None:
        """Become the writer, without beats; entering does this.

        Raises:
            RequestError: another process writes.
        """
        waited = 0.0
        while self._fence is None:
            numbers = writer_numbers(self._output)
            highest = numbers[-1] if numbers else 0
            if highest and not self._is_over(highest):
                waited = self._wait_or_refuse(highest, waited)
                continue
            # Workers have working directories of their own.
            fence = Fence(canonical_uri(self._output), highest + 1, self._claim.token)
            if not create(claim_uri(self._output, fence.number), to_json(asdict(self._claim))):
                # Another one was quicker; it lives, unless it has finished already.
                other = read_claim(self._output, fence.number)
                if other is not None and not other.released:
                    waited = self._wait_or_refuse(fence.number, waited)
                continue
            if fence.holds():
                self._fence = fence
            elif (claim := read_claim(self._output, fence.number)) is not None and claim.token == fence.token:
                # Others have come and gone since the numbers were read.
                delete(claim_uri(self._output, fence.number))
        for number in numbers:
            delete(claim_uri(self._output, number))

    def _is_over(self, number: int) -> bool:
        """Check whether a writer is done, or dead; waits until its beat tells.

        A claim that cannot be read counts as alive until it has stood still like any other.
        """
        first = read_raw(self._output, number)
        waited = 0.0
        while True:
            data = read_raw(self._output, number)
            if data is None:
                return True
            claim = parse_claim(data)
            if claim is not None and (claim.released or self._is_gone(claim)):
                return True
            if data != first:
                return False
            if waited == 0.0:
                logger.info("%s: another process was writing here; seeing whether it still is …", self._output)
            elif waited >= self._silence_s:
                logger.warning("%s: %s is dead; taking over", self._output, describe(claim))
                return True
            self._sleep(self._beat_s / 2)
            waited += self._beat_s / 2

    def _is_gone(self, claim: LockRecord) -> bool:
        """Check whether the process of a claim is gone: its number is free, or that of a younger process."""
        if claim.host != self._claim.host or claim.token == self._claim.token:
            return False
        start = process_start(claim.pid)
        return start is None or (claim.process_start not in (None, 0, start))

    def _wait_or_refuse(self, number: int, waited: float) -> float:
        """Seconds waited by now.

        Raises:
            RequestError: the command does not wait.
        """
        who = describe(read_claim(self._output, number))
        if not self._wait:
            raise RequestError(
                f"--output {self._output}: is being written by {who}, which is alive; run this again when it is done, "
                "or with --wait"
            )
        if waited % _WAITING_LINE_EVERY_S < self._beat_s:
            logger.info("%s: is being written by %s; waiting for it (--wait)", self._output, who)
        self._sleep(self._beat_s)
        return waited + self._beat_s

    def _beat(self, is_main: bool) -> None:
        """Repeat the beat until the block ends; interrupt the block when another writer has taken over.

        Args:
            is_main: whether the block runs in the main thread, the only one that can be interrupted.
        """
        beat = 0
        while not self._stop.wait(self._beat_s):
            try:
                if not self.fence.holds():
                    self._lost = True
                    logger.error("%s; this process stops", self.fence.taken_over())
                    if is_main and not self._stop.is_set():
                        # A signal, because it also ends a call that waits.
                        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                    return
                beat += 1
                self._write(beat)
            except store_failures() as error:
                logger.warning(
                    "%s: the beat of this writer could not be written: %s", self._output, store_reason(error)
                )

    def _write(self, beat: int, *, released: bool = False) -> None:
        claim = {**asdict(self._claim), "beat": beat, "released": released}
        write_bytes_atomic(claim_uri(self._output, self.fence.number), to_json(claim))
