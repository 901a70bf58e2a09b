"""One writer at a time.

Writers are files with rising numbers, created exclusively: whoever made the highest one writes. It repeats a beat in
its own file while it works and says in it when it is done. One that has died is taken over from: at once where its
process can be seen to be gone, else after its beat has stood still for a while, by the observer's own clock.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from vqa_ray.errors import RequestError, RunError
from vqa_ray.retrieval.exclusive import create
from vqa_ray.retrieval.layout import IndexLayout, files
from vqa_ray.run.layout import delete, name_of
from vqa_ray.run.record import to_json
from vqa_ray.storage import join, read_bytes, write_bytes_atomic

logger = logging.getLogger(__name__)

BEAT_S = 10.0
SILENCE_S = 45.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a writer says of itself.

    Attributes:
        token: its own.
        host, pid: where it runs; `host` is another after a restart of the machine.
        started: UTC, ISO 8601.
        beat: counted up while it works.
        released: whether it is done.
    """

    token: str
    host: str
    pid: int
    started: str
    beat: int = 0
    released: bool = False


class Writer(AbstractContextManager["Writer"]):
    """The right to change an index, held while the block runs.

    Args:
        layout: of the index.
        started: UTC, ISO 8601, for whoever is refused.
        beat_s: seconds between beats.
        silence_s: seconds without a beat after which a writer counts as dead.
        sleep: waits so many seconds.
        host, pid: of this process.

    Raises:
        RequestError: on entering: another one writes.
    """

    def __init__(
        self,
        layout: IndexLayout,
        started: str,
        *,
        beat_s: float = BEAT_S,
        silence_s: float = SILENCE_S,
        sleep: Callable[[float], None] = time.sleep,
        host: str | None = None,
        pid: int | None = None,
    ) -> None:
        self._layout = layout
        self._claim = Claim(uuid.uuid4().hex, host or this_host(), os.getpid() if pid is None else pid, started)
        self._beat_s, self._silence_s, self._sleep = beat_s, silence_s, sleep
        self._number = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Writer:
        self._number = self._acquire()
        self._thread = threading.Thread(target=self._beat, name="index-writer", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._holds():
            write_bytes_atomic(self._uri(self._number), _bytes(self._claim, self._claim.beat + 1, released=True))

    def check(self) -> None:
        """Make sure that this is still the writer: before anything that others will see.

        Raises:
            RunError: another one has taken over.
        """
        if not self._holds():
            raise RunError(
                f"{self._layout.uri}: this process stood still and another one has taken over; what it embedded is "
                "kept, run the same command again when the other is done"
            )

    def _acquire(self) -> int:
        numbers = self._numbers()
        highest = numbers[-1] if numbers else 0
        if highest:
            self._wait_for(highest)
        mine = highest + 1
        if not create(self._uri(mine), _bytes(self._claim)):
            raise self._refusal(mine)
        for number in numbers:
            delete(self._uri(number))
        return mine

    def _wait_for(self, number: int) -> None:
        """Returns when that writer is done or dead.

        Raises:
            RequestError: it is alive.
        """
        seen = self._read(number)
        waited = 0.0
        while seen is not None and not seen.released and not self._is_gone(seen):
            if waited == 0.0:
                logger.info("%s: another process was writing here; seeing whether it still is …", self._layout.uri)
            elif waited >= self._silence_s:
                logger.warning("%s: the writer on %s (process %d) is dead", self._layout.uri, seen.host, seen.pid)
                return
            self._sleep(self._beat_s / 2)
            waited += self._beat_s / 2
            now = self._read(number)
            if now is not None and now.beat != seen.beat and not now.released:
                raise self._refusal(number)
            seen = now

    def _is_gone(self, claim: Claim) -> bool:
        if claim.host != self._claim.host or claim.pid == self._claim.pid:
            return False
        try:
            os.kill(claim.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def _refusal(self, number: int) -> RequestError:
        other = self._read(number)
        who = (
            f"process {other.pid} on {other.host.partition('/')[0]}, since {other.started}"
            if other
            else "another process"
        )
        return RequestError(f"{self._layout.uri}: the index is being written by {who}; run this again when it is done")

    def _beat(self) -> None:
        beat = 0
        while not self._stop.wait(self._beat_s):
            beat += 1
            try:
                write_bytes_atomic(self._uri(self._number), _bytes(self._claim, beat))
            except OSError as error:
                logger.warning("%s: the beat of this writer could not be written: %s", self._layout.uri, error)

    def _holds(self) -> bool:
        numbers = self._numbers()
        return bool(numbers) and numbers[-1] == self._number

    def _numbers(self) -> list[int]:
        names = (name_of(entry.uri).removesuffix(".json") for entry in files(self._layout.writers))
        return sorted(int(name) for name in names if name.isdigit())

    def _uri(self, number: int) -> str:
        return join(self._layout.writers, f"{number:06}.json")

    def _read(self, number: int) -> Claim | None:
        try:
            return Claim(**json.loads(read_bytes(self._uri(number))))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def this_host() -> str:
    """This machine since its last start."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    return f"{socket.gethostname()}/{boot}"


def _bytes(claim: Claim, beat: int = 0, *, released: bool = False) -> bytes:
    return to_json({**asdict(claim), "beat": beat, "released": released})
