"""`vqa-ray submit` against a real Ray head that wants a token."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.helpers.coloured import images_input, jsonl_input
from tests.helpers.ray_head import ray_head
from tests.jobs.commands import DEADLINE_S, rows, started
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.submit.attempts import base_id

pytestmark = [pytest.mark.timeout(400), pytest.mark.filterwarnings("default::ResourceWarning")]
TOKEN = "a-token-that-only-this-test-knows-0123456789"
SECRET = "s3cret-of-the-bucket"


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


def test_a_command_runs_there_and_resumes(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source, output = images_input(tmp_path / "in", 12), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    Path("conf").mkdir()
    Path("conf/tags.yaml").write_text(
        "attributes: [{name: colour, question: which colour is it, choices: [red, blue]}]\n"
    )
    line = ["tag", "--input", str(source), "--output", str(output), "--model", "fake:", "--tags", "conf/tags.yaml"]
    assert main(["submit", "--env", "BUCKET_*", *line]) == 0
    shown = capfd.readouterr()
    assert "12 rows: 12 tagged" in shown.out
    assert rows(output).num_rows == 12
    base = base_id("tag", [str(output)])
    assert f"{base}-1 is submitted" in shown.err
    job = requests.get(f"{head}/api/jobs/{base}-1", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30).json()
    assert job["runtime_env"]["env_vars"]["BUCKET_SECRET"] == SECRET
    assert SECRET not in json.dumps(job | {"runtime_env": None})
    assert main(["submit", *line]) == 0
    shown = capfd.readouterr()
    assert f"{base}-2 is submitted" in shown.err
    # The exit code is that of the command: the run there has other choices.
    Path("conf/tags.yaml").write_text(Path("conf/tags.yaml").read_text().replace("blue", "green"))
    assert main(["submit", *line]) == 2
    shown = capfd.readouterr()
    assert str(output) in shown.out
    assert shown.err.endswith(f"vqa-ray submit: {base}-3 has ended with exit code 2\n")
    assert main(["submit", "--list"]) == 0
    listed = capfd.readouterr().out.splitlines()
    assert [each.split()[:3] for each in listed if base in each] == [
        [f"{base}-3", "FAILED", "2"],
        [f"{base}-2", "SUCCEEDED", "0"],
        [f"{base}-1", "SUCCEEDED", "0"],
    ]
    assert main(["submit", "--logs", f"{base}-1", "--no-wait"]) == 0
    assert "12 rows: 12 tagged" in capfd.readouterr().out
    assert main(["submit", "--stop", f"{base}-1"]) == 0
    assert "has ended already: SUCCEEDED" in capfd.readouterr().err


def test_a_job_outlives_its_follower_and_is_found_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
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
    assert main(["submit", "--no-wait", *line]) == 0
    assert f"{base}-1 is under way already" in capfd.readouterr().err
    assert main(["submit", "--no-wait", *line, "--top-k", "2"]) == 2
    assert "works on the same output with another command" in capfd.readouterr().err
    shown, until = "", time.monotonic() + DEADLINE_S
    # A command that is stopped while Python starts says nothing.
    while "loading the model" not in shown:
        assert time.monotonic() < until, shown
        assert main(["submit", "--logs", base, "--no-wait"]) == 0
        shown = capfd.readouterr().out
    assert main(["submit", "--stop", base]) == 0
    assert f"{base}-1 is stopped" in capfd.readouterr().err
    assert main(["submit", "--logs", base]) == 143
    assert "stopped by SIGTERM" in capfd.readouterr().out


def test_a_wrong_token_and_a_wrong_command_are_refused_before_any_job(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "tag", "--inptu", "s3://bucket/photos/"]) == 2
    assert "no such option: --inptu; did you mean --input?" in capfd.readouterr().err
    with started("submit", "--address", "ray://127.0.0.1:10001", "--list") as wrong:
        assert "wanted the Jobs API of the cluster's head, http://HOST:8265" in wrong.communicate()[1]
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another-token-0123456789")
    with started("submit", "--list") as refused:
        _, told = refused.communicate()
    assert refused.returncode == 2
    assert "does not let this command in" in told
    assert "RAY_AUTH_TOKEN" in told
