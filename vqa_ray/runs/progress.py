"""The progress of the process that writes a run: a small file that the driver replaces every few seconds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from vqa_ray.errors import RequestError, one_line
from vqa_ray.runs.process_identity import this_host
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes

WINDOW_S = 120.0
# Without a row while a store is down, after which a run counts as standing still.
_OUTAGE_S = 15.0
_MOST_OLD_POINTS = 200
# The end of the year 9999, after which there are no dates.
_LAST_S = 253_402_300_799.0


class Point(NamedTuple):
    """Rows that were there at a time.

    Attributes:
        at: Unix time.
        rows: of the run.
    """

    at: float
    rows: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a process that writes a run.

    Attributes:
        run_id, attempt: of the run; the attempt is 1 for the run itself, later ones for retries and updates.
        host, pid: of the process.
        started, updated: of the process and of this state: Unix time.
        present: rows that were written before the process.
        rows: rows with an answer or an error, those from before included; a row repeated after a fault counts twice.
        total: all rows; None when unknown.
        total_estimate: estimate of an unknown total.
        failed: rows in error of this process.
        errors: error code → rows of this process.
        examples: error code → message and image of its first row.
        actors: processes that hold a model and have returned rows.
        stage_rows, busy_s, idle_s: see `vqa_ray.stages.stage_clock.StageTimes`, added up over the actors.
        cpus: of the cluster.
        gpus_per_actor: GPUs of one of the actors.
        down: stores of images that are down now, a sentence each.
        history: points, the older ones far apart.
        moved: when rows were returned last, by the clock of the driver; 0 where that is unknown.
        end: why the process ended; empty when it wrote its last row, None while it works.
        stages_s: operator → seconds of work; empty while it works.
    """

    run_id: str
    attempt: int
    started: float
    updated: float
    present: int
    rows: int = 0
    total: int | None = None
    total_estimate: int | None = None
    failed: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    actors: int = 0
    stage_rows: int = 0
    busy_s: float = 0.0
    idle_s: float = 0.0
    cpus: float = 0.0
    gpus_per_actor: float = 0.0
    down: Sequence[str] = field(default_factory=list)
    history: Sequence[Point] = field(default_factory=list)
    moved: float = 0.0
    end: str | None = None
    stages_s: Mapping[str, float] = field(default_factory=dict)
    host: str = field(default_factory=this_host)
    pid: int = field(default_factory=os.getpid)

    def write(self, uri: str) -> None:
        """Write it as JSON, atomically."""
        write_bytes_atomic(uri, json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "replace"))

    @classmethod
    def read(cls, uri: str) -> Progress | None:
        """Read the progress at `uri`; None where no process has written any.

        Raises:
            RequestError: the file is damaged.
        """
        try:
            content = json.loads(read_bytes(uri))
            known = {name: content[name] for name in cls.__dataclass_fields__ if name in content}
            return cls(**{**known, "history": [Point(*each) for each in known.get("history", ())]})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise RequestError(
                f"{uri}: is damaged: {one_line(error)}; the next process of the run replaces it"
            ) from error

    @property
    def expected(self) -> int | None:
        """The total, or its estimate; None where both are unknown."""
        return self.total if self.total is not None else self.total_estimate

    @property
    def stands_s(self) -> float:
        """Seconds for which a run that was under way has returned no row; 0 unless that is unusually long for it."""
        if len(self.history) < 2 or not self.moved:
            return 0.0
        # The first pause is that in which the model was loaded.
        pauses = [later.at - point.at for point, later in pairwise(self.history[1:])]
        usual = _OUTAGE_S if self.down else max(WINDOW_S, 3 * max(pauses, default=0.0))
        still = self.updated - self.moved
        return still if still > usual else 0.0

    @property
    def rows_per_s(self) -> float:
        """The rate of the last `WINDOW_S` seconds with rows; 0 before there is one, and for a run that stands still."""
        if not self.history or self.stands_s:
            return 0.0
        now = self.history[-1]
        recent = [point for point in self.history if point.at >= now.at - WINDOW_S]
        return rate(recent)

    @property
    def seconds_left(self) -> float | None:
        """Estimate the seconds to the last row; None where the total or the rate is unknown."""
        speed = self.rows_per_s
        return None if self.expected is None or not speed else max(0.0, (self.expected - self.rows) / speed)


def rate(points: Sequence[Point]) -> float:
    """Rows per second between the first and the last of these points; 0 where they are too few."""
    if len(points) < 2 or points[-1].at <= points[0].at:
        return 0.0
    return max(0.0, (points[-1].rows - points[0].rows) / (points[-1].at - points[0].at))


def with_point(history: Sequence[Point], point: Point) -> list[Point]:
    """Append a point; of those older than `WINDOW_S`, every other one goes when they are too many."""
    if history and point.at <= history[-1].at:
        return list(history)
    old = [each for each in history if each.at < point.at - WINDOW_S]
    kept = old[::2] if len(old) > _MOST_OLD_POINTS else old
    return [*kept, *history[len(old) :], point]


def utc(seconds: float) -> str:
    """Write a Unix time for a person: 2026-11-29 02:56:26 UTC."""
    return f"{datetime.fromtimestamp(min(seconds, _LAST_S), UTC):%Y-%m-%d %H:%M:%S} UTC"
