"""Commands with `--engine vllm`, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.helpers.tiny_chat import random_images
from tests.jobs.kills import processes_below
from tests.vllm.checkpoints import save
from tests.vllm.commands import rows, run, start

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

_ENGINE = (
    *("--engine", "vllm", "--engine-option", "enforce_eager=true", "--engine-option", "max_model_len=512"),
    *("--engine-option", "max_num_seqs=8", "--dtype", "float32"),
)
_QUESTIONS = ("--question", "what is this?", "--question", "is there a dog?", "--question", "what colour is it?")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("qwen"), "qwen2_vl")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("photos")
    for number, image in enumerate(random_images(12)):
        Image.fromarray(image).save(directory / f"{number:02}.png")
    (directory / "broken.jpg").write_bytes(b"not an image")
    return directory


@pytest.mark.parametrize(
    ("argv", "columns"),
    [
        (("answer", *_QUESTIONS), ("image_id", "question", "answer", "finish_reason", "status", "error_code")),
        (("caption",), ("image_id", "caption", "status", "error_code")),
        (("tag",), ("image_id", "tags", "status", "error_code")),
        (("retrieve", "--where", '"is there a dog?" or "is it red?"'), ("image_id", "match", "status", "error_code")),
    ],
)
def test_the_rows_are_those_of_our_own_engine(
    tmp_path: Path, qwen: Path, photos: Path, argv: tuple[str, ...], columns: tuple[str, ...]
) -> None:
    command, *more = argv
    length = ("--max-new-tokens", "8") if command in ("answer", "caption") else ()
    common = ("--model", str(qwen), "--max-error-fraction", "0.5", *more, *length)
    code, messages = run(command, photos, tmp_path / "vllm", *common, *_ENGINE)
    assert code == 0, messages
    code, messages = run(command, photos, tmp_path / "ours", *common, "--dtype", "float32")
    assert code == 0, messages
    given, mine = (sorted(rows(tmp_path / name, *columns), key=json.dumps) for name in ("vllm", "ours"))
    assert given == mine
    assert [row["error_code"] for row in given if row["status"] == "error"]


def test_a_killed_engine_is_started_again_and_nothing_is_lost(tmp_path: Path, qwen: Path) -> None:
    source = tmp_path / "in.parquet"
    images = [image.tobytes() for image in map(_encoded, random_images(480))]
    pq.write_table(pa.table({"image": images, "question": ["what is this?"] * 480}), source)
    more = ("--model", str(qwen), "--max-new-tokens", "48", "--batch-size", "8", *_ENGINE)
    process = start("answer", source, tmp_path / "out", *more)
    _kill_the_engine(process)
    _, messages = process.communicate(timeout=500)
    assert process.returncode == 0, messages
    found = rows(tmp_path / "out", "image_id", "status")
    assert len(found) == 480
    assert {row["status"] for row in found} == {"ok"}


def _encoded(image: Any) -> Any:
    import io

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return memoryview(buffer.getvalue())


def _kill_the_engine(process: subprocess.Popen[str]) -> None:
    """Kill vLLM's engine process once the command has told that it has answered some rows."""
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if re.match(r"[1-9]\d* of 480 rows", line):
            break
    engines = [number for number, line in processes_below(process.pid).items() if b"EngineCore" in line]
    assert engines, told
    for engine in engines:
        os.kill(engine, signal.SIGKILL)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--engine-option", "max_modellen=5"), "has no option max_modellen; did you mean max_model_len"),
        (("--engine-option", "max_model_len=100000"), "max_model_len"),
        (("--num-gpus", "2"), "GPU 2 needed, 0 available"),
    ],
)
def test_an_engine_that_cannot_start_ends_the_run_with_its_reason(
    tmp_path: Path, qwen: Path, photos: Path, more: tuple[str, ...], message: str
) -> None:
    began = time.monotonic()
    code, messages = run("caption", photos, tmp_path / "out", "--model", str(qwen), "--engine", "vllm", *more)
    assert code == 2, messages
    assert message in messages.splitlines()[-1]
    assert time.monotonic() - began < 60
