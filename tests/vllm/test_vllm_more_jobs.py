"""Commands with `--engine vllm` beyond one model and its questions: search, instruct, an adapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.tiny_adapter import merge, save_adapter
from tests.helpers.tiny_chat import random_images
from tests.jobs.search.test_command import write_coloured
from tests.vllm.checkpoints import save
from tests.vllm.commands import rows, run

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

_OPTIONS = ("enforce_eager=true", "max_model_len=512", "max_num_seqs=8")
_ENGINE = (
    *("--engine", "vllm", "--dtype", "float32"),
    *(part for option in _OPTIONS for part in ("--engine-option", option)),
)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("qwen"), "qwen2_vl")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("photos")
    for number, image in enumerate(random_images(4)):
        Image.fromarray(image).save(directory / f"{number:02}.png")
    return directory


def test_search_verifies_as_with_our_own_engine(tmp_path: Path, qwen: Path) -> None:
    index = write_coloured(tmp_path / "images").uri
    verify = ("--verify", '"is it red?" or "is it blue?"', "--verify-model", str(qwen), "--threshold", "0.4")
    found = {}
    for name, engine in {"vllm": _ENGINE, "ours": ("--dtype", "float32")}.items():
        argv = ["search", index, "--text", "red", "--top-k", "6", "--output", "json", *verify, *engine]
        command, plain = [sys.executable, "-m", "vqa_ray", *argv], os.environ | {"NO_COLOR": "1"}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=plain)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "EngineDeadError" not in done.stderr
        found[name] = json.loads(done.stdout)
    assert found["vllm"] == found["ours"]


def test_an_adapter_answers_as_the_merged_checkpoint(tmp_path: Path, qwen: Path, photos: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", qwen)
    merged = merge(tmp_path / "model", qwen, adapter)
    common = ("--question", "what is this?", "--max-new-tokens", "8")
    models = {
        "adapted": ("--model", str(qwen), "--lora", f"mine={adapter}", *_ENGINE),
        "merged": ("--model", str(merged), "--dtype", "float32"),
        "plain": ("--model", str(qwen), "--dtype", "float32"),
    }
    for name, engine in models.items():
        code, messages = run("answer", photos, tmp_path / name, *common, *engine)
        assert code == 0, messages
    adapted, wanted, plain = (rows(tmp_path / name, "image_id", "answer", "status") for name in models)
    assert adapted == wanted
    assert adapted != plain


def test_a_teacher_writes_as_with_our_own_engine(tmp_path: Path, qwen: Path, photos: Path) -> None:
    common = ("--model", str(qwen), "--max-new-tokens", "12", "--tasks", "detailed_description,conversation")
    for name, engine in {"vllm": _ENGINE, "ours": ("--dtype", "float32")}.items():
        code, messages = run("instruct", photos, tmp_path / name, *common, "--max-error-fraction", "1", *engine)
        assert code == 0, messages
    columns = ("image_id", "task", "prompt_id", "reply", "conversation", "status", "error_code")
    given, mine = (sorted(rows(tmp_path / name, *columns), key=json.dumps) for name in ("vllm", "ours"))
    assert given == mine
    # Replies that the limit cuts are filtered; they are kept beside the error.
    assert {row["error_code"] for row in given} <= {"filtered_length", "reply_malformed"}
    assert len({row["reply"] for row in given}) > 1
