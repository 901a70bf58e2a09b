"""What a training announces before its first step and after it."""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from pathlib import Path

import pytest

from vqa_ray.jobs.finetune import train as finetune_train
from vqa_ray.jobs.runtime import progress as progress_lines
from vqa_ray.jobs.runtime.progress import background

_STEP = {
    "step": 5,
    "steps": 50,
    "steps_per_s": 1.0,
    "epoch": 0,
    "epochs": 2,
    "task": "vqa",
    "accuracy": None,
    "loss": 0.5,
    "samples_per_s": 8.0,
}


def test_a_training_announces_that_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vqa_ray.jobs")
    monkeypatch.setattr(progress_lines, "POLL_S", 0.01)
    monkeypatch.setattr(progress_lines, "LINE_EVERY_S", 0.02)
    progress = tmp_path / "progress.json"
    progress.write_text(json.dumps(_STEP))
    with background(partial(finetune_train._log_progress, str(progress))):
        _until("starting the training workers and loading the model: 0 s", caplog)
        assert "step 5 of 50" not in caplog.text, "it is what an earlier try has left"
        other = tmp_path / "new.json"
        other.write_text(json.dumps(_STEP | {"step": 6}))
        other.replace(progress)
        _until("step 6 of 50", caplog)


def _until(text: str, caplog: pytest.LogCaptureFixture) -> None:
    deadline = time.monotonic() + 30
    while text not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        time.sleep(0.01)
