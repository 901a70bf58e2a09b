"""What is told while a run goes on: counts and the first error, and when a run is given up."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.data import DataContext
from ray.experimental.internal_kv import _internal_kv_list

from tests.jobs.commands import run_here
from vqa_ray.images.outage import Outage
from vqa_ray.jobs.runtime.job import Attempt
from vqa_ray.jobs.runtime.progress_file import ProgressFile
from vqa_ray.jobs.runtime.reading_time import TimeLimit
from vqa_ray.jobs.runtime.signals import STOP
from vqa_ray.jobs.runtime.watch import ProgressReporter, is_hopeless
from vqa_ray.pipelines.reading import Reading
from vqa_ray.pipelines.reports import StopOnRequest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.progress import Progress
from vqa_ray.runs.record import RunRecord
from vqa_ray.stages.questions import PACKED
from vqa_ray.stages.row_report import ReturnedRows, RowReport


@pytest.mark.parametrize(
    ("rows", "failed", "total", "fraction", "stops"),
    [
        (199, 199, None, 0.1, False),
        (200, 200, None, 0.1, True),
        (200, 199, None, 0.1, False),
        (200, 200, None, 1.0, False),
        (200, 30, 250, 0.1, True),
        (200, 25, 250, 0.1, False),
        (100, 100, 150, 0.1, False),
    ],
)
def test_when_a_run_is_hopeless(rows: int, failed: int, total: int | None, fraction: float, stops: bool) -> None:
    assert is_hopeless(ReturnedRows(rows, failed), total, fraction) == stops


FIRST = "image_missing: no such file (s3://b/1.jpg)"
NONE = {"error_code": None, "error_message": None}


def table(*statuses: str) -> pa.Table:
    rows = [
        {
            "image_id": str(number),
            "image_uri": f"s3://b/{number}.jpg" if number else None,
            "status": status,
            "error_code": None if status == "ok" else "image_missing",
            "error_message": None if status == "ok" else "no such file",
        }
        for number, status in enumerate(statuses)
    ]
    return pa.Table.from_pylist(rows)


def test_a_report_counts_and_names_the_first_error() -> None:
    stored: dict[str, bytes] = {}
    report = RowReport(stored.__setitem__, "run/")
    report.add(table("ok", "ok"))
    report.add(table("ok", "error", "error"))
    (key,) = stored
    assert key.startswith("run/")
    assert ReturnedRows.from_json(stored[key]) == ReturnedRows(
        5, 2, FIRST, {"image_missing": 2}, {"image_missing": FIRST}
    )
    report.add(table("error"))
    assert ReturnedRows.from_json(stored[key]).rows == 5, "not at every call"


def test_a_row_with_several_questions_fails_when_all_of_them_do() -> None:
    ok, bad = ({"status": "ok"} | NONE, {"status": "error", "error_code": "model_error", "error_message": "no"})
    rows = [{"image_id": "a", PACKED: [ok, bad]}, {"image_id": "b", PACKED: [bad, bad]}]
    stored: dict[str, bytes] = {}
    RowReport(stored.__setitem__, "run/").add(pa.Table.from_pylist(rows))
    assert ReturnedRows.from_json(*stored.values()) == ReturnedRows(
        2, 1, "model_error: no (b)", {"model_error": 1}, {"model_error": "model_error: no (b)"}
    )


@pytest.fixture
def missing(tmp_path: Path) -> Path:
    """Rows whose images are all gone."""
    (tmp_path / "in").mkdir()
    uris = [f"{tmp_path}/in/gone-{number}.jpg" for number in range(4000)]
    pq.write_table(pa.table({"image_uri": uris, "image_id": uris}), tmp_path / "in" / "a.parquet")
    return tmp_path / "in"


STEP = StopOnRequest.on_execution_step


def wait_for_the_reporter(self: StopOnRequest, executor: object) -> None:
    """Hold the scheduler from the first report on until the reporter has seen it, on a machine however busy."""
    while StopOnRequest.error is None and _internal_kv_list("part-", namespace="vqa-ray"):
        time.sleep(0.01)
    STEP(self, executor)


def test_a_run_whose_rows_all_fail_is_stopped_and_goes_on(
    local_ray: None, missing: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqa_ray.jobs.runtime.progress.POLL_S", 0.05)
    monkeypatch.setattr(StopOnRequest, "on_execution_step", wait_for_the_reporter)
    # The first batch holds enough rows for a verdict, and is reported at once.
    ask = ("--question", "what?", "--batch-size", "400", "--rows-per-file", "100")
    assert run_here("answer", missing, tmp_path / "out", *ask) == 3
    assert not (tmp_path / "out" / "_vqa_ray" / "manifest.json").exists()
    said = capfd.readouterr().err
    # The line that ends the run quotes the first error, which may come too soon for a line of its own.
    assert "(image_missing: " in said
    assert "the same command goes on from there, with --max-error-fraction 1 to the end" in said
    assert "Traceback" not in said
    monkeypatch.setattr(StopOnRequest, "on_execution_step", STEP)
    assert run_here("answer", missing, tmp_path / "out", *ask, "--max-error-fraction", "1") == 0
    assert json.loads((tmp_path / "out" / "_vqa_ray" / "manifest.json").read_text())["failed"] == 4000


def test_max_hours_ends_the_reading_and_the_same_command_goes_on(
    local_ray: None, missing: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_stop = Reading.may_stop

    def stop_at_once(self: Reading, context: DataContext) -> None:
        may_stop(self, context)
        self.stop()

    monkeypatch.setattr(Reading, "may_stop", stop_at_once)
    ask = ("--question", "what?", "--max-error-fraction", "1", "--limit", "20", "--max-hours", "0.5")
    assert run_here("answer", missing, tmp_path / "out", *ask) == 1
    assert (
        "stopped: --max-hours 0.5 is over; what is written stays, and the same command goes" in capfd.readouterr().err
    )
    directory = RunDirectory(str(tmp_path / "out"))
    progress = Progress.read(directory.progress)
    assert progress is not None
    assert progress.end is not None
    assert progress.end.startswith("stopped: --max-hours")
    monkeypatch.setattr(Reading, "may_stop", may_stop)
    assert run_here("answer", missing, tmp_path / "out", *ask) == 0
    progress = Progress.read(directory.progress)
    assert progress is not None
    assert (progress.rows, progress.total, progress.end) == (20, 20, "")
    assert progress.errors == {"image_missing": 20}
    assert progress.stages_s.keys() >= {"read", "model"}


def test_the_driver_tells_its_metrics(
    local_ray: None, missing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, tuple[float, dict[str, str]]] = {}

    class FakeGauge:
        def __init__(self, name: str, *_: object) -> None:
            self.name = name

        def set(self, value: float, tags: dict[str, str]) -> None:
            told[self.name] = (value, tags)

    monkeypatch.setattr("vqa_ray.pipelines.stage_metrics.Gauge", FakeGauge)
    ask = ("--question", "what?", "--max-error-fraction", "1", "--limit", "20")
    assert run_here("answer", missing, f"{tmp_path}/./out/", *ask) == 0
    record = RunRecord.read(RunDirectory(str(tmp_path / "out")).record)
    assert record is not None
    labels = {"run": record.run_id, "command": "answer", "output": str(tmp_path / "out")}
    assert told == {
        "vqa_ray_done_rows": (20, labels),
        "vqa_ray_expected_rows": (20, labels),
        "vqa_ray_stores_down": (0, labels),
    }


def test_a_time_limit_stops_the_reading_once(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqa_ray.jobs.runtime.reading_time._now", iter([0.0, 1.0, 10.0, 99.0]).__next__)
    reading = Reading("part-limit")
    limit = TimeLimit(reading, 5)
    limit.look(ReturnedRows())
    assert not reading.is_stopped()
    limit.look(ReturnedRows())
    assert reading.is_stopped()
    assert not reading.is_cut()
    reading.forget()
    assert not reading.is_stopped()


def test_progress_is_written_again_when_its_store_takes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vqa_ray.jobs.runtime.progress_file.EVERY_S", 0.0)
    directory = RunDirectory(f"{tmp_path}/out")
    record = RunRecord("r1", "answer", "2027-01-15T08:00:00Z", {}, {}, {}, {})
    file = ProgressFile(cast("Attempt", SimpleNamespace(directory=directory, record=record, present=0, total=9)), 1, 0)
    write = Progress.write
    monkeypatch.setattr(Progress, "write", raising(OSError("503 Slow Down")))
    file.update(1, ReturnedRows(1), 9, None, [])
    file.update(2, ReturnedRows(2), 9, None, [])
    assert caplog.text.count("cannot be written, `vqa-ray watch` sees old counts: 503 Slow Down") == 1
    monkeypatch.setattr(Progress, "write", write)
    file.update(3, ReturnedRows(3), 9, None, [])
    state = Progress.read(directory.progress)
    assert state is not None
    assert state.rows == 3
    moved = state.moved
    file.update(3, ReturnedRows(3), 9, None, [])
    again = Progress.read(directory.progress)
    assert again is not None
    assert (again.moved, again.updated > moved) == (moved, True), "no row came"


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def reporter(**more: Any) -> ProgressReporter:
    file = cast("ProgressFile", FakeFile())
    return ProgressReporter(9, present=0, quiet=True, reports="p-", file=file, max_error_fraction=1.0, **more)


class FakeFile:
    """Takes the progress and its end."""

    def __init__(self) -> None:
        self.state, self.down, self.end = Progress("r1", 1, 0.0, 0.0, 0), [""], ""

    def update(self, rows: int, returned: ReturnedRows, total: int | None, about: int | None, down: list[str]) -> None:
        self.down = down

    def close(self, end: str, stages_s: object) -> None:
        self.end = end


def test_a_store_that_is_down_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    outages = [Outage("s3://photos", "HTTP 503", 1.0, 2.0)]
    monkeypatch.setattr("vqa_ray.jobs.runtime.watch.outages", lambda prefix: outages)
    monkeypatch.setattr("vqa_ray.jobs.runtime.watch.returned_rows", lambda prefix: ReturnedRows())
    seen: list[Progress] = []
    watch = reporter(observe=seen.append)
    watch.count()
    file = cast("FakeFile", watch._file)
    assert file.down == ["s3://photos is down, waiting (--outage-timeout-s): HTTP 503"]
    outages[0] = Outage("s3://photos", "", 1.0, 3.0, is_over=True)
    watch.count()
    assert file.down == []
    assert seen == [file.state, file.state]


def test_the_end_by_a_signal_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgressReporter, "_run", lambda self, stop: None)
    watch = reporter()
    with pytest.raises(KeyboardInterrupt), watch.reporting():
        raise KeyboardInterrupt
    assert cast("FakeFile", watch._file).end == "ended by Ctrl-C; the same command goes on from here"
    monkeypatch.setattr(STOP, "received", signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), watch.reporting():
        raise KeyboardInterrupt
    assert cast("FakeFile", watch._file).end == "ended by SIGTERM; the same command goes on from here"
