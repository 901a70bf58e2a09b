"""Metrics of the model actors, for Ray's Prometheus endpoint; `deploy/grafana.json` draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Counter

from vqa_ray.stages.stage_clock import StageTimes

# Prometheus sees them as ray_NAME_total.
METRICS = {
    "vqa_ray_rows": "Rows that model actors have returned.",
    "vqa_ray_errors": "Rows in error, by code.",
    "vqa_ray_batches": "Batches that model actors have returned.",
    "vqa_ray_busy_seconds": "Seconds in which a model actor works.",
    "vqa_ray_idle_seconds": "Seconds in which a model actor waits for its next batch.",
}


class StageMetrics:
    """The metrics of one actor; Ray's objects are made in its process, by the first batch.

    Args:
        run: names the run.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._counters: dict[str, Any] = {}

    def __call__(self, rows: int, errors: Mapping[str, int], times: StageTimes) -> None:
        """Count a batch; `times` are those of the stage since its last batch."""
        if not self._counters:
            keys = {"vqa_ray_errors": ("run", "code")}
            self._counters = {name: Counter(name, about, keys.get(name, ("run",))) for name, about in METRICS.items()}
        tags = {"run": self._run}
        amounts = {"rows": rows, "batches": 1, "busy_seconds": times.busy_s, "idle_seconds": times.idle_s}
        for name, amount in amounts.items():
            if amount > 0:
                self._counters[f"vqa_ray_{name}"].inc(amount, tags)
        for code, count in errors.items():
            self._counters["vqa_ray_errors"].inc(count, tags | {"code": code})
