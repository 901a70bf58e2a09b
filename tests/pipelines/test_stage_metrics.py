"""The metrics of model actors, and the dashboard that draws them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from vqa_ray.pipelines import stage_metrics
from vqa_ray.pipelines.stage_metrics import METRICS, StageMetrics
from vqa_ray.stages.row_report import RowReport
from vqa_ray.stages.stage_clock import StageTimes

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana.json"


class FakeCounter:
    """Takes what Ray's counter takes."""

    counted: ClassVar[list[tuple[str, float, dict[str, str]]]] = []

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.tag_keys = name, tag_keys

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0, "Ray refuses it"
        assert tags.keys() <= set(self.tag_keys)
        self.counted.append((self.name, value, tags))


def test_each_table_is_counted_by_run_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_metrics, "Counter", FakeCounter)
    monkeypatch.setattr(FakeCounter, "counted", [])
    report = RowReport({}.__setitem__, "part-1", StageMetrics("r1"))
    rows = pa.table({"status": ["ok", "error"], "error_code": [None, "image_missing"], "error_message": [None, "gone"]})
    report.add(rows, StageTimes())
    report.add(rows.slice(0, 1), StageTimes(1, 2.0, 0.5))
    run = {"run": "r1"}
    assert FakeCounter.counted == [
        ("vqa_ray_rows", 2, run),
        ("vqa_ray_batches", 1, run),
        ("vqa_ray_errors", 1, run | {"code": "image_missing"}),
        ("vqa_ray_rows", 1, run),
        ("vqa_ray_batches", 1, run),
        ("vqa_ray_busy_seconds", 2.0, run),
        ("vqa_ray_idle_seconds", 0.5, run),
    ]


def test_the_dashboard_draws_metrics_that_exist() -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    drawn = {name for text in (*expressions, *variables) for name in re.findall(r"ray_(vqa_ray_\w+?)_total\b", text)}
    assert drawn == set(METRICS)
    others = {name for text in expressions for name in re.findall(r"\bray_\w+", text)}
    assert others - {f"ray_{name}_total" for name in METRICS} == {"ray_node_gpus_utilization"}
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
