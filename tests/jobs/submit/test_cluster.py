"""`vqa-ray submit` against a real Ray head that wants a token.

Each command is a process of its own: Ray reads the mode and the token once a process, and one in which other tests have
used Ray would send none.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from tests.helpers.coloured import images_input, jsonl_input
from tests.helpers.ray_head import ray_head
from tests.jobs.commands import DEADLINE_S, ROOT, rows, started
from vqa_ray.jobs.submit.attempts import base_id

pytestmark = [pytest.mark.timeout(400), pytest.mark.filterwarnings("default::ResourceWarning")]
TOKEN = "a-token-that-only-this-test-knows-0123456789"
SECRET = "s3cret-of-the-bucket"


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def submit(*argv: str, cwd: Path = ROOT) -> Ended:
    with started("submit", *argv, cwd=cwd) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
        return Ended(process.returncode, out, err)


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    with ray_head(TOKEN) as url:
        yield url


@pytest.fixture(autouse=True)
def _address(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RAY_ADDRESS": head,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "BUCKET_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(name, value)


def test_a_command_runs_there_and_resumes(head: str, tmp_path: Path) -> None:
    source, output = images_input(tmp_path / "in", 12), tmp_path / "out"
    choices = tmp_path / "conf" / "tags.yaml"
    choices.parent.mkdir()
    choices.write_text("attributes: [{name: colour, question: which colour is it, choices: [red, blue]}]\n")
    line = ["tag", "--input", str(source), "--output", str(output), "--model", "fake:", "--tags", "conf/tags.yaml"]
    base = base_id("tag", [str(output)])
    ended = submit("--env", "BUCKET_*", *line, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "12 rows: 12 tagged" in ended.out
    assert f"{base}-1 is submitted" in ended.err
    assert rows(output).num_rows == 12
    job = requests.get(f"{head}/api/jobs/{base}-1", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30).json()
    assert job["runtime_env"]["env_vars"]["BUCKET_SECRET"] == SECRET
    assert SECRET not in json.dumps(job | {"runtime_env": None})
    ended = submit(*line, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert f"{base}-2 is submitted" in ended.err
    # The exit code is that of the command: the run there has other choices.
    choices.write_text(choices.read_text().replace("blue", "green"))
    ended = submit(*line, cwd=tmp_path)
    assert ended.code == 2, ended.err
    assert str(output) in ended.out
    assert ended.err.endswith(f"vqa-ray submit: {base}-3 has ended with exit code 2\n")
    listed = submit("--list").out.splitlines()
    assert [each.split()[:3] for each in listed if base in each] == [
        [f"{base}-3", "FAILED", "2"],
        [f"{base}-2", "SUCCEEDED", "0"],
        [f"{base}-1", "SUCCEEDED", "0"],
    ]
    assert "12 rows: 12 tagged" in submit("--logs", f"{base}-1", "--no-wait").out
    assert "has ended already: SUCCEEDED" in submit("--stop", f"{base}-1").err


def test_a_job_outlives_its_follower_and_is_found_again(tmp_path: Path) -> None:
    source, output = jsonl_input(tmp_path / "in", 4), tmp_path / "out"
    waiting = ["--num-gpus", "1", "--wait-for-cluster"]
    line = ["answer", "--input", str(source), "--output", str(output), "--model", "fake:", *waiting]
    base = base_id("answer", [str(output)])
    with started("submit", *line) as follower:
        assert follower.stdout is not None
        assert any("Running entrypoint" in text for text in follower.stdout)
        follower.send_signal(signal.SIGTERM)
        _, told = follower.communicate(timeout=60)
    assert follower.returncode == 128 + signal.SIGTERM
    assert f"{base}-1 goes on: --logs {base}-1 follows it" in told
    ended = submit("--no-wait", *line)
    assert ended.code == 0, ended.err
    assert f"{base}-1 is under way already" in ended.err
    ended = submit("--no-wait", *line, "--top-k", "2")
    assert ended.code == 2
    assert "works on the same output with another command" in ended.err
    shown, until = "", time.monotonic() + DEADLINE_S
    # A command that is stopped while Python starts says nothing.
    while "loading the model" not in shown:
        assert time.monotonic() < until, shown
        ended = submit("--logs", base, "--no-wait")
        assert ended.code == 0, ended.err
        shown = ended.out
    ended = submit("--stop", base)
    assert ended.code == 0, ended.err
    assert f"{base}-1 is stopped" in ended.err
    ended = submit("--logs", base)
    assert ended.code == 143
    assert "stopped by SIGTERM" in ended.out


def test_a_wrong_token_and_a_wrong_command_are_refused_before_any_job(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = submit("tag", "--inptu", "s3://bucket/photos/")
    assert ended.code == 2
    assert "no such option: --inptu; did you mean --input?" in ended.err
    wrong = submit("--address", "ray://127.0.0.1:10001", "--list")
    assert "wanted the Jobs API of the cluster's head, http://HOST:8265" in wrong.err
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another-token-0123456789")
    refused = submit("--list")
    assert refused.code == 2
    assert "does not let this command in" in refused.err
    assert "RAY_AUTH_TOKEN" in refused.err
