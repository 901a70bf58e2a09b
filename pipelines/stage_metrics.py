"""Metrics of a run's model actors and driver for Ray's Prometheus endpoint; `deploy/grafana.json` draws them."""

from __future__ import annotations

from collections.abc import Mapping
from string import printable
from typing import Any
from urllib.parse import quote

from ray.util.metrics import Counter, Gauge

from vqa_ray.runs.progress import Progress
from vqa_ray.stages.stage_clock import StageTimes

# On every metric: the id of the run, its command, and where it writes to.
LABELS = ("run", "command", "output")
# Counted by the model actors; Prometheus sees them as ray_NAME_total.
COUNTERS = {
    "vqa_ray_rows": "Rows that model actors have returned.",
    "vqa_ray_errors": "Rows in error, by code.",
    "vqa_ray_batches": "Batches that model actors have returned.",
    "vqa_ray_busy_seconds": "Seconds in which a model actor works.",
    "vqa_ray_idle_seconds": "Seconds in which a model actor waits for its next batch.",
}
# Told by the driver, and there as long as it works; Prometheus sees them as ray_NAME.
GAUGES = {
    "vqa_ray_done_rows": "Rows with an answer or an error, those of earlier processes included.",
    "vqa_ray_expected_rows": "All rows of the run, or their estimate.",
    "vqa_ray_stores_down": "Stores of images that are down now.",
}


def labels(run: str, command: str, output: str) -> dict[str, str]:
    """Return the values of `LABELS` for a run; Ray takes ASCII alone, so other bytes of a path stand as `%C3%A9`."""
    return {"run": run, "command": command, "output": quote(output, printable, errors="surrogateescape")}


class StageMetrics:
    """The metrics of one actor; Ray's objects are made in its process, by the first batch.

    Args:
        labels: of the run, see `labels`.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._counters: dict[str, Any] = {}

    def __call__(self, rows: int, errors: Mapping[str, int], times: StageTimes) -> None:
        """Count a batch; `times` are those of the stage since its last batch."""
        if not self._counters:
            keys = {"vqa_ray_errors": (*LABELS, "code")}
            self._counters = {name: Counter(name, about, keys.get(name, LABELS)) for name, about in COUNTERS.items()}
        amounts = {"rows": rows, "batches": 1, "busy_seconds": times.busy_s, "idle_seconds": times.idle_s}
        for name, amount in amounts.items():
            if amount > 0:
                self._counters[f"vqa_ray_{name}"].inc(amount, self._labels)
        for code, count in errors.items():
            self._counters["vqa_ray_errors"].inc(count, self._labels | {"code": code})


class RunMetrics:
    """The metrics of the driver of a run; Ray's objects are made by the first call.

    Args:
        labels: of the run, see `labels`.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._gauges: dict[str, Any] = {}

    def __call__(self, progress: Progress) -> None:
        """Tell how far the run is."""
        if not self._gauges:
            self._gauges = {name: Gauge(name, about, LABELS) for name, about in GAUGES.items()}
        self._gauges["vqa_ray_done_rows"].set(progress.rows, self._labels)
        self._gauges["vqa_ray_stores_down"].set(len(progress.down), self._labels)
        if progress.expected is not None:
            self._gauges["vqa_ray_expected_rows"].set(progress.expected, self._labels)
