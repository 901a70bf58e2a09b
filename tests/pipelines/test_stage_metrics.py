"""The metrics of a run, and the dashboard that draws them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import yaml

from vqa_ray.pipelines import stage_metrics
from vqa_ray.pipelines.stage_metrics import COUNTERS, GAUGES, LABELS, RunMetrics, StageMetrics, labels
from vqa_ray.runs.progress import Progress
from vqa_ray.stages.row_report import RowReport
from vqa_ray.stages.stage_clock import StageTimes

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana.json"
PROMTOOL = shutil.which("promtool")
# What Prometheus sees → its labels, as Ray and we give them.
OURS = {f"ray_{name}_total": {*LABELS, "code"} if name == "vqa_ray_errors" else {*LABELS} for name in COUNTERS}
OURS |= {f"ray_{name}": {*LABELS} for name in GAUGES}
# Ray 2.60 has these of every node and GPU.
OF_RAY = ("node_gpus_utilization", "node_gram_used", "node_gram_available", "node_cpu_utilization", "node_mem_used")
RAYS = {f"ray_{name}": {"ip"} for name in (*OF_RAY, "node_mem_total")}
# Prometheus adds it to every series: where it has asked.
INSTANCE = "instance"


class FakeMetric:
    """Takes what Ray's counters and gauges take."""

    seen: ClassVar[list[tuple[str, float, dict[str, str]]]] = []

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.tag_keys = name, tag_keys

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0, "Ray refuses it"
        self.set(value, tags)

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert tags.keys() == set(self.tag_keys)
        assert all(text.isascii() for text in tags.values()), "Ray takes nothing else"
        self.seen.append((self.name, value, tags))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    for name in ("Counter", "Gauge"):
        monkeypatch.setattr(stage_metrics, name, FakeMetric)
    monkeypatch.setattr(FakeMetric, "seen", [])
    return FakeMetric.seen


def test_each_table_is_counted_by_run_and_code(seen: list[tuple[str, float, dict[str, str]]]) -> None:
    run = labels("r1", "answer", "s3://bucket/answers")
    report = RowReport({}.__setitem__, "part-1", StageMetrics(run))
    rows = pa.table({"status": ["ok", "error"], "error_code": [None, "image_missing"], "error_message": [None, "gone"]})
    report.add(rows, StageTimes())
    report.add(rows.slice(0, 1), StageTimes(1, 2.0, 0.5))
    assert seen == [
        ("vqa_ray_rows", 2, run),
        ("vqa_ray_batches", 1, run),
        ("vqa_ray_errors", 1, run | {"code": "image_missing"}),
        ("vqa_ray_rows", 1, run),
        ("vqa_ray_batches", 1, run),
        ("vqa_ray_busy_seconds", 2.0, run),
        ("vqa_ray_idle_seconds", 0.5, run),
    ]


def test_the_driver_tells_how_far_its_run_is(seen: list[tuple[str, float, dict[str, str]]]) -> None:
    run = labels("r1", "tag", "/data/é x\udcff\n")
    assert run["output"] == "/data/%C3%A9 x%FF\n"
    tell = RunMetrics(run)
    tell(Progress("r1", 1, 0.0, 1.0, 100, rows=120, down=["s3://photos"]))
    tell(Progress("r1", 1, 0.0, 2.0, 100, rows=130, total_estimate=1_000))
    assert seen == [
        ("vqa_ray_done_rows", 120, run),
        ("vqa_ray_stores_down", 1, run),
        ("vqa_ray_done_rows", 130, run),
        ("vqa_ray_stores_down", 0, run),
        ("vqa_ray_expected_rows", 1_000, run),
    ]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return loaded


def targets() -> list[tuple[str, str, str]]:
    """Title of the panel, expression and legend of everything that is drawn."""
    return [(p["title"], each["expr"], each["legendFormat"]) for p in dashboard()["panels"] for each in p["targets"]]


def test_the_dashboard_draws_metrics_and_labels_that_exist() -> None:
    known = OURS | RAYS
    queries = [each["query"] for each in dashboard()["templating"]["list"] if each["type"] == "query"]
    drawn = {name for text in (*queries, *(expression for _, expression, _ in targets())) for name in _metrics(text)}
    assert drawn == known.keys()
    for title, expression, legend in targets():
        for name, matchers in re.findall(r"\b(ray_\w+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)\s*=~?", matchers)) <= known[name], title
        by = {label for part in re.findall(r"\bby \(([^)]*)\)", expression) for label in part.split(", ")}
        assert by <= {INSTANCE}.union(*(known[name] for name in _metrics(expression))), title
        assert set(re.findall(r"{{(\w+)}}", legend)) <= by, title
    for query in queries:
        assert re.fullmatch(r"label_values\(ray_vqa_ray_rows_total, (\w+)\)", query)[1] in LABELS  # type: ignore[index]


def _metrics(text: str) -> list[str]:
    return re.findall(r"\bray_\w+", text)


def test_every_panel_says_what_it_shows_and_what_it_means_to_be_empty() -> None:
    panels = dashboard()["panels"]
    for panel in panels:
        assert panel["description"].endswith((".", ")."))
        assert panel["fieldConfig"]["defaults"]["noValue"]
        assert panel["fieldConfig"]["defaults"]["unit"]
    assert len({each["id"] for each in panels}) == len({each["title"] for each in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (each["gridPos"] for each in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24


def test_a_rate_follows_the_range_that_is_shown() -> None:
    windows = {window for _, expression, _ in targets() for window in re.findall(r"\[([^]]+)\]", expression)}
    assert windows == {"$__rate_interval", "10m"}


# Two actors of run r1 on two nodes, of which one is started again after five minutes: its first process stands still in
# the agent of its node. r0 has ended, and stands still as well.
R1 = 'run="r1",command="tag",output="s3://b/tags"'
R0 = 'run="r0",command="tag",output="s3://b/old"'
SERIES = {
    f'ray_vqa_ray_rows_total{{{R1},WorkerId="a",instance="one:1"}}': "0+300x20",
    f'ray_vqa_ray_rows_total{{{R1},WorkerId="b",instance="two:1"}}': "0+300x5 1500x15",
    f'ray_vqa_ray_rows_total{{{R1},WorkerId="c",instance="two:1"}}': "_x5 0+300x15",
    f'ray_vqa_ray_rows_total{{{R0},WorkerId="z",instance="two:1"}}': "7000x20",
    f'ray_vqa_ray_errors_total{{{R1},code="image_missing",WorkerId="a",instance="one:1"}}': "0+6x20",
    f'ray_vqa_ray_errors_total{{{R0},code="image_missing",WorkerId="z",instance="two:1"}}': "70x20",
    f'ray_vqa_ray_busy_seconds_total{{{R1},WorkerId="a",instance="one:1"}}': "0+45x20",
    f'ray_vqa_ray_idle_seconds_total{{{R1},WorkerId="a",instance="one:1"}}': "0+15x20",
    f'ray_vqa_ray_batches_total{{{R1},WorkerId="a",instance="one:1"}}': "0+10x20",
    f'ray_vqa_ray_done_rows{{{R1},instance="one:1"}}': "1000+600x20",
    f'ray_vqa_ray_expected_rows{{{R1},instance="one:1"}}': "31000x20",
    f'ray_vqa_ray_stores_down{{{R1},instance="one:1"}}': "0x20",
    'ray_node_gpus_utilization{ip="1",GpuIndex="0",instance="one:1"}': "90x20",
    'ray_node_gpus_utilization{ip="1",GpuIndex="1",instance="one:1"}': "10x20",
}
TAGS = {"run": "r1", "output": "s3://b/tags"}
# After 20 minutes.
EXPECTED: dict[str, list[tuple[dict[str, str], float]]] = {
    "Rows done": [(TAGS, 13_000 / 31_000)],
    "Time left": [(TAGS, 18_000 / 10)],
    "Rows in error": [(TAGS, 120 / 12_000)],
    "Stores that are down": [(TAGS, 0)],
    "Rows per second": [(TAGS, 10)],
    "Rows in error per second, by code": [(TAGS | {"code": "image_missing"}, 0.1)],
    "Rows in error so far, by code": [(TAGS | {"code": "image_missing"}, 120)],
    "Share of their time in which model actors work": [(TAGS, 0.75)],
    "Seconds of work for a batch": [(TAGS, 4.5)],
    "Rows per second of each node": [({INSTANCE: "one:1"}, 5), ({INSTANCE: "two:1"}, 5)],
    "GPUs in use": [({}, 50), ({}, 10)],
}


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool here: apt-get install prometheus")
def test_prometheus_computes_what_the_panels_say(tmp_path: Path) -> None:
    rules, tests = [], []
    for number, (_, expression, _) in enumerate(targets()):
        text = expression.replace("$__rate_interval", "2m").replace("$output", ".*")
        rules.append({"record": f"panel:{number}", "expr": text})
    for title, expected in EXPECTED.items():
        expressions = [rules[number]["expr"] for number, each in enumerate(targets()) if each[0] == title]
        assert expressions, title
        samples = [{"labels": _braced(labels), "value": value} for labels, value in expected]
        groups = [samples] if len(expressions) == 1 else [[sample] for sample in samples]
        for text, group in zip(expressions, groups, strict=True):
            tests.append({"expr": text, "eval_time": "20m", "exp_samples": group})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    assert PROMTOOL is not None
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "tests.yml"]):
        done = subprocess.run([PROMTOOL, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _braced(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
