"""`vqa-ray watch`: the state of a run from its directory, in a terminal and on a page."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from vqa_ray.index.paths import IndexDirectory
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.watch.live_page import app
from vqa_ray.report.live_report import live_report, live_text
from vqa_ray.runs import manifest
from vqa_ray.runs.claims import LockRecord, claim_uri
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.process_identity import process_start
from vqa_ray.runs.progress import Point, Progress
from vqa_ray.runs.record import RunRecord, to_json
from vqa_ray.runs.run_state import SILENCE_S, Status, read_state
from vqa_ray.storage.atomic import write_bytes_atomic

NOW = 1_800_000_000.0
COUNTS = {
    "rows": 100,
    "ok": 98,
    "failed": 2,
    "errors": {"image_missing": 2},
    "attempts": [],
    "updates": [],
    "findings": [],
}
TIMING = {"finished": "2027-01-15T08:30:00Z", "duration_s": 60.0, "stages_s": {"model": 30.0}}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(str(tmp_path / "run"))
    model, given = {"reference": "fake:", "fingerprint": "f"}, {"uri": "s3://b/in", "format": "images"}
    RunRecord("r1", "answer", "2027-01-15T08:00:00Z", {}, model, given, {}).write(directory.record)
    return directory


def progress(**more: Any) -> Progress:
    history = [Point(NOW - 60, 0), Point(NOW - 30, 30), Point(NOW - 1, 59)]
    state = Progress("r1", 1, NOW - 60, NOW, 0, 59, 1_000, failed=1, history=history, actors=2, host="far", pid=1)
    return replace(state, errors={"image_missing": 1}, examples={"image_missing": "no file (<b>x</b>)"}, **more)


def claim(run: RunDirectory, beat_at: float = NOW, **more: Any) -> None:
    content = asdict(LockRecord(**{"token": "1-a", "host": "far", "pid": 1, "started": "", **more}))
    uri = Path(claim_uri(run.output, 3))
    uri.parent.mkdir(parents=True, exist_ok=True)
    uri.write_bytes(to_json(content))
    os.utime(uri, (beat_at, beat_at))


def test_a_run_under_way(run: RunDirectory) -> None:
    claim(run)
    assert read_state(run.output, NOW).status == Status.STARTING
    progress(actors=0).write(run.progress)
    assert read_state(run.output, NOW).status == Status.LOADING
    progress().write(run.progress)
    state = read_state(run.output, NOW)
    assert (state.status, state.rows, state.share, state.processes) == (Status.RUNNING, 59, 0.059, 3)
    text = live_text(state)
    assert "rows 59 (of 1,000, 5.9%), rows/s 1.0 (in the last 2 min)" in text
    assert "left 15 min 41 s" in text
    assert "image_missing: 1, such as no file" in text
    replace(progress(), total=50).write(run.progress)
    assert read_state(run.output, NOW).share == 1, "rows that are repeated after a fault count twice"


def test_the_process_of_another_machine_falls_silent(run: RunDirectory) -> None:
    claim(run, beat_at=NOW - SILENCE_S - 5)
    replace(progress(), updated=NOW - SILENCE_S - 7).write(run.progress)
    state = read_state(run.output, NOW)
    assert state.status == Status.GONE
    assert state.reason == "no sign of its process on far for 65 s; the same command goes on"


def test_a_process_that_cannot_write_its_progress_is_seen_by_its_claim(run: RunDirectory) -> None:
    claim(run)
    replace(progress(), updated=NOW - 200).write(run.progress)
    state = read_state(run.output, NOW)
    assert state.status == Status.RUNNING
    note = "The counts are 3 min 20 s old: its process works, but does not write its progress."
    assert live_report(state).notes == (note,)
    replace(progress(), updated=NOW - 20).write(run.progress)
    assert live_report(read_state(run.output, NOW)).notes == ()


def test_a_run_that_stands_still_has_no_rate_and_no_end(run: RunDirectory) -> None:
    claim(run)
    still = replace(progress(), moved=NOW - 600, down=["s3://photos is down, waiting (--outage-timeout-s): 503"])
    still.write(run.progress)
    text = live_text(read_state(run.output, NOW))
    assert "rows/s 0 (no row for 10 min 00 s)" in text
    assert "left" not in text
    assert "  s3://photos is down, waiting (--outage-timeout-s): 503" in text.splitlines()
    replace(still, moved=NOW - 20).write(run.progress)
    assert "no row for 20 s" in live_text(read_state(run.output, NOW))
    still = replace(still, down=[])
    slow = [Point(NOW - 2000, 0), Point(NOW - 1000, 32), Point(NOW - 600, 64)]
    replace(still, history=slow).write(run.progress)
    assert "no row for" not in live_text(read_state(run.output, NOW)), "its batches take minutes"
    replace(still, moved=0.0).write(run.progress)
    assert "no row for" not in live_text(read_state(run.output, NOW)), "a run of an earlier version"


def test_errors_of_a_resumed_run_are_those_of_its_last_process(run: RunDirectory) -> None:
    claim(run)
    progress().write(run.progress)
    state = read_state(run.output, NOW)
    assert "of the last process" not in live_text(state)
    assert live_report(state).sections[1].bars[0].bars[0].value == "1.7 %"
    replace(progress(), present=39).write(run.progress)
    state = read_state(run.output, NOW)
    assert "failed 1 (of the last process)" in live_text(state)
    assert live_report(state).sections[1].bars[0].bars[0].value == "5.0 %", "of 20 rows"


def test_a_process_that_died_before_its_first_progress_falls_silent(run: RunDirectory) -> None:
    claim(run, beat_at=NOW - SILENCE_S - 5)
    state = read_state(run.output, NOW)
    assert state.status == Status.GONE
    assert state.reason == "no sign of its process on far for 65 s; the same command goes on"


def test_a_reason_keeps_its_capitals(run: RunDirectory) -> None:
    claim(run, released=True)
    progress(end="stopped: s3://Bucket/Photos is down").write(run.progress)
    state = read_state(run.output, NOW)
    assert live_report(state).notes[0] == "Stopped: s3://Bucket/Photos is down"


def test_an_end_beyond_all_dates_is_told(run: RunDirectory) -> None:
    claim(run)
    replace(progress(), total=10**15).write(run.progress)
    assert "ends about 9999-12-31 23:59:59 UTC" in live_text(read_state(run.output, NOW))


def test_a_killed_process_of_this_machine_is_seen_at_once(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqa_ray.runs.run_state.this_host", lambda: "here")
    progress().write(run.progress)
    claim(run, host="here", pid=os.getppid(), token=f"{process_start(os.getppid())}-a")
    assert read_state(run.output, NOW).status == Status.RUNNING
    claim(run, host="here", pid=os.getppid(), token="1-a")
    assert read_state(run.output, NOW).status == Status.GONE


def test_a_run_that_was_stopped(run: RunDirectory) -> None:
    claim(run, released=True)
    assert read_state(run.output, NOW).status == Status.STOPPED
    progress(end="stopped: --max-hours 1 is over").write(run.progress)
    state = read_state(run.output, NOW)
    assert (state.status, state.reason) == (Status.STOPPED, "--max-hours 1 is over")


def test_a_finished_run_and_its_update(run: RunDirectory) -> None:
    claim(run, released=True)
    finished = {**COUNTS, "timing": TIMING, "throughput": {"rows_per_s": 1.7}}
    manifest.write(run.manifest, finished)
    progress(end="").write(run.progress)
    state = read_state(run.output, NOW)
    # The last progress is older than the manifest.
    assert NOW < 1_800_001_800
    assert (state.status, state.rows, state.share) == (Status.FINISHED, 100, 1.0)
    assert "took 1 min 00 s" in live_text(state)
    claim(run, started="2027-01-15T08:00:00Z")
    assert read_state(run.output, NOW).status == Status.FINISHED, "its process is about to give its claim up"
    claim(run, started="2027-01-15T08:31:00Z", beat_at=1_800_001_861.0)
    state = read_state(run.output, 1_800_001_862.0)
    assert (state.status, state.is_over) == (Status.STARTING, False), "an update, whose progress is not there yet"
    claim(run, beat_at=1_800_002_010.0)
    replace(progress(), attempt=2, started=1_800_002_000.0, updated=1_800_002_010.0).write(run.progress)
    assert read_state(run.output, 1_800_002_011.0).status == Status.RUNNING
    dead = read_state(run.output, 1_800_002_011.0 + SILENCE_S)
    assert (dead.status, dead.is_over) == (Status.GONE, True), "the update died, though the run before it is whole"
    manifest.write(run.manifest, finished | {"findings": ["2 rows are missing"]})
    claim(run, released=True)
    progress(end="").write(run.progress)
    assert read_state(run.output, NOW).status == Status.INCONSISTENT


def test_the_command_prints_the_state_once(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(run, beat_at=time.time())
    replace(progress(), updated=time.time()).write(run.progress)
    assert main(["watch", run.output, "--once"]) == 0
    assert f"answer → {run.output}: running" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert main(["watch", str(tmp_path / "empty"), "--once"]) == 2
    assert "wanted the --output of answer, caption, index, instruct, retrieve or tag" in capsys.readouterr().err
    assert main(["watch", str(tmp_path / "none"), "--once"]) == 2
    error = (
        "no such directory or prefix; expected the --output of a run (there is none while a command lists its input)"
    )
    assert error in capsys.readouterr().err


def test_a_training_has_a_page_of_its_own(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    RunRecord("r1", "finetune", "2027-01-15T08:00:00Z", {}, {"reference": "scratch"}, {"uri": "s3://b/in"}, {}).write(
        run.record
    )
    assert main(["watch", run.output, "--once"]) == 2
    page = f"a run of finetune, which writes a page of its own at its end: {run.output}/training.html"
    assert page in capsys.readouterr().err


def test_the_last_update_of_an_index_is_watched(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    index = IndexDirectory(run.output)
    Path(run.record).unlink()
    for name, rows in (("000001-aa", 3), ("000002-bb", 7)):
        update = index.update(name)
        RunRecord("r1", "index", "2027-01-15T08:00:00Z", {}, {"reference": "org/clip"}, {"uri": "s3://b/in"}, {}).write(
            update.record
        )
        replace(progress(), updated=time.time(), rows=rows).write(update.progress)
    Path(index.path("updates/000003-rebuilt")).mkdir()
    claim(run, beat_at=time.time())
    assert main(["watch", run.output, "--once"]) == 0
    text = capsys.readouterr().out
    assert f"index → {run.output}: running" in text
    assert "rows 7 (of 1,000, 0.7%)" in text


def test_a_run_in_a_bucket_is_watched(s3_session: str, capsys: pytest.CaptureFixture[str]) -> None:
    directory = RunDirectory(f"{s3_session}/watched")
    model, given = {"reference": "fake:", "fingerprint": "f"}, {"uri": "s3://b/in", "format": "images"}
    RunRecord("r1", "answer", "2027-01-15T08:00:00Z", {}, model, given, {}).write(directory.record)
    replace(progress(), updated=time.time()).write(directory.progress)
    write_bytes_atomic(claim_uri(directory.output, 1), to_json(asdict(LockRecord("1-a", "far", 1, ""))))
    assert main(["watch", directory.output, "--once"]) == 0
    text = capsys.readouterr().out
    assert f"answer → {directory.output}: running" in text
    assert "rows 59 (of 1,000, 5.9%)" in text
    assert main(["watch", f"{s3_session}/nothing", "--once"]) == 2


def test_a_headline_says_of_how_many_rows_and_the_page_when_it_began(run: RunDirectory) -> None:
    claim(run)
    replace(progress(), total=None).write(run.progress)
    assert "rows 59, " in live_text(read_state(run.output, NOW))
    replace(progress(), total=None, total_estimate=590).write(run.progress)
    state = read_state(run.output, NOW)
    assert "rows 59 (of about 590, 10.0%)" in live_text(state)
    assert "started 2027-01-15 08:00:00 UTC; this page is of 2027-01-15 08:00:00 UTC." in live_report(state).about


async def _pages(run: RunDirectory, host: str = "localhost") -> tuple[int, str, str]:
    async with TestClient(TestServer(app(lambda: read_state(run.output, NOW), []))) as client:
        reply = await client.get("/", headers={"Host": host})
        return reply.status, await reply.text(), reply.headers.get("Content-Security-Policy", "")


def test_the_page_loads_itself_again_until_the_end(run: RunDirectory) -> None:
    claim(run)
    progress().write(run.progress)
    status, text, policy = asyncio.run(_pages(run))
    assert status == 200
    assert '<meta http-equiv="refresh" content="5">' in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert "script" not in policy
    progress(end="the cluster is gone").write(run.progress)
    _, text, _ = asyncio.run(_pages(run))
    assert 'http-equiv="refresh"' not in text
    assert "the cluster is gone" in text
    assert asyncio.run(_pages(run, "evil.example"))[0] == 403
    Path(run.progress).write_text("{")
    status, text, _ = asyncio.run(_pages(run))
    assert status == 503
    assert "is damaged" in text
