"""The state of a run, from its directory alone: whichever machine writes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.runs import manifest
from vqa_ray.runs.claims import LockRecord, last_beat, read_claim, writer_numbers
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.process_identity import process_start, this_host
from vqa_ray.runs.progress import Progress
from vqa_ray.runs.record import RunRecord

# A process writes its progress every 5 s, and its beat too; a slow store may keep some of them back.
SILENCE_S = 60.0


class Status(StrEnum):
    """What a run is doing."""

    STARTING = "starting"
    LOADING = "loading the model"
    RUNNING = "running"
    FINISHING = "checking the rows"
    FINISHED = "finished"
    INCONSISTENT = "finished, inconsistent"
    STOPPED = "stopped"
    GONE = "gone"


# Whose outputs hold a run.
_COMMANDS = "answer, caption, index, instruct, retrieve or tag"
_OVER = frozenset({Status.FINISHED, Status.INCONSISTENT, Status.STOPPED, Status.GONE})


@dataclass(frozen=True, slots=True)
class RunState:
    """A run as its directory shows it.

    Attributes:
        uri: of the directory.
        record: the request.
        progress: of the last process that wrote rows; None before the first, and for runs of earlier versions.
        manifest: of the finished run; None before the end.
        status: what it is doing.
        reason: of its end, where that is no good one; empty otherwise.
        processes: number of processes that have written to it.
        read_at: Unix time of this state.
    """

    uri: str
    record: RunRecord
    progress: Progress | None
    manifest: Mapping[str, Any] | None
    status: Status
    reason: str
    processes: int
    read_at: float

    @property
    def is_over(self) -> bool:
        """Whether no process works on it."""
        return self.status in _OVER

    @property
    def rows(self) -> int:
        """Rows with an answer or an error."""
        if self.manifest is not None and self.is_over:
            return int(self.manifest["rows"])
        return 0 if self.progress is None else self.progress.rows

    @property
    def failed(self) -> int:
        """Rows in error: of the finished run, or of the process that works."""
        if self.manifest is not None and self.is_over:
            return int(self.manifest["failed"])
        return 0 if self.progress is None else self.progress.failed

    @property
    def errors(self) -> Mapping[str, int]:
        """Error code → rows; see `failed`."""
        if self.manifest is not None and self.is_over:
            return dict(self.manifest["errors"])
        return {} if self.progress is None else self.progress.errors

    @property
    def stale_s(self) -> float:
        """Age of the progress of a run that works, in seconds; 0 where it is as fresh as it should be."""
        age = 0.0 if self.progress is None or self.is_over else self.read_at - self.progress.updated
        return age if age > SILENCE_S and self.status is not Status.STARTING else 0.0

    @property
    def share(self) -> float | None:
        """The part of all rows that is there, in 0..1; None while their number is unknown."""
        if self.status in (Status.FINISHED, Status.INCONSISTENT):
            return 1.0
        total = None if self.progress is None else self.progress.expected
        return None if not total else min(1.0, self.rows / total)


def read_state(uri: str, now: float, within: RunDirectory | None = None) -> RunState:
    """Read the state of the run at `uri`.

    Args:
        uri: of the directory that a command writes.
        now: Unix time.
        within: the directory of the run where it lies below that of the command, as an update of an index does.

    Raises:
        RequestError: there is no run, or one of its files is damaged.
    """
    directory = within or RunDirectory(uri)
    record = RunRecord.read(directory.record)
    if record is None:
        raise RequestError(f"{uri}: no run: {directory.record} is missing; wanted the --output of {_COMMANDS}")
    progress, finished = Progress.read(directory.progress), manifest.read(directory.manifest)
    numbers = writer_numbers(uri)
    claim = read_claim(uri, numbers[-1]) if numbers else None
    beat = last_beat(uri, numbers[-1]) if claim is not None and not claim.released else None
    status, reason = _status(progress, finished, claim, now, silent=None if beat is None else now - beat)
    return RunState(uri, record, progress, finished, status, reason, numbers[-1] if numbers else 0, now)


def _status(
    progress: Progress | None,
    finished: Mapping[str, Any] | None,
    claim: LockRecord | None,
    now: float,
    *,
    silent: float | None,
) -> tuple[Status, str]:
    """Give the status and the reason of the end.

    Args:
        progress: of the last process that wrote rows.
        finished: the manifest.
        claim: of the last process.
        now: Unix time.
        silent: seconds since the claim was written last; None where that is unknown.
    """
    works = claim is not None and not claim.released
    gone = _gone(claim, silent or 0.0) if claim is not None and works else ""
    is_newer = progress is not None and (
        finished is None or progress.started > _seconds(finished["timing"]["finished"])
    )
    if works and not gone and progress is not None and is_newer:
        # A process whose progress cannot be written, or not be counted, is seen by its claim.
        unseen = min(now - progress.updated, now if silent is None else silent)
        if unseen > SILENCE_S:
            gone = _no_sign(progress.host, unseen)
        elif progress.end is None:
            return (Status.RUNNING if progress.actors else Status.LOADING), ""
        elif not progress.end:
            return Status.FINISHING, ""
    if progress is not None and is_newer and progress.end:
        return Status.STOPPED, progress.end.removeprefix("stopped: ")
    if claim is not None and finished is not None and works and not gone and _is_later(claim, finished):
        # Of an update or a retry, which has not written its progress yet.
        return Status.STARTING, ""
    if finished is not None and not (is_newer and gone):
        if finished["findings"]:
            return Status.INCONSISTENT, "; ".join(finished["findings"])
        return Status.FINISHED, ""
    if gone:
        return Status.GONE, f"{gone}; the same command goes on"
    if not works:
        return Status.STOPPED, "its process ended before the last row; the same command goes on"
    return Status.STARTING, ""


def _gone(claim: LockRecord, silent: float) -> str:
    """Give the reason why the process of a claim seems to be gone; empty where it may work."""
    if claim.host != this_host():
        return _no_sign(claim.host, silent) if silent > SILENCE_S else ""
    if claim.pid == os.getpid():
        return ""
    start = process_start(claim.pid)
    is_there = start is not None and claim.process_start in (None, 0, start)
    return "" if is_there else f"process {claim.pid} of this machine is gone"


def _no_sign(host: str, silent: float) -> str:
    return f"no sign of its process on {host.partition('/')[0]} for {silent:.0f} s"


def _is_later(claim: LockRecord, finished: Mapping[str, Any]) -> bool:
    """Check whether a process began after the end of a run."""
    try:
        return _seconds(claim.started) > _seconds(finished["timing"]["finished"])
    except ValueError:
        return False


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
