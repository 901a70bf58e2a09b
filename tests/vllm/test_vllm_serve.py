"""A real `vllm serve` behind `openai:`: answers, tags and objects, with what they took."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tiny_chat import random_images
from tests.vllm.checkpoints import save
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.endpoint.probe import require_answer
from vqa_ray.models.load import ModelOptions

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

_NAME = "openai:tiny"
_QUESTIONS = ["what is this?", "is there a dog?", "what colour is it?"]
_SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "new": {"type": "boolean"}},
    "required": ["colour", "new"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("qwen"), "qwen2_vl")


@pytest.fixture(scope="module")
def endpoint(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointOptions]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "serve.txt"
    argv = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    argv += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    argv += ["--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "8"]
    # With random weights, a model would write white space for ever.
    argv += ["--structured-outputs-config", '{"backend": "guidance", "disable_any_whitespace": true}']
    with log.open("w") as file:
        server = subprocess.Popen(argv, stdout=file, stderr=subprocess.STDOUT, env=os.environ)
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, log)
            yield EndpointOptions(f"http://127.0.0.1:{port}/v1", image_encoding="png")
        finally:
            server.terminate()
            server.wait(60)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 600
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1.0)
    pytest.fail(f"vllm serve did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def served(endpoint: EndpointOptions) -> Any:
    require_answer(_NAME, endpoint)
    return ModelOptions(_NAME, max_new_tokens=12, endpoint=endpoint).load()


def test_answers_are_those_of_our_own_engine_and_say_what_they_took(served: Any, checkpoint: Path) -> None:
    ours: Any = ModelOptions(str(checkpoint), device="cpu", dtype="float32", max_new_tokens=12).load()
    images = random_images(8)
    asked = [_QUESTIONS] * len(images)
    theirs, own = served.answer(images, asked, 1), ours.answer(images, asked, 1)
    for answered, expected in zip(chain(*theirs), chain(*own), strict=True):
        text, wanted = answered.answers[0][0], expected.answers[0][0].strip()
        # The server leaves out bytes of a character that the limit of tokens has cut.
        assert text == wanted or wanted.startswith(text.rstrip("\ufffd"))
        assert answered.usage.prompt_tokens > 0
        assert 0 < answered.usage.completion_tokens <= 12


def test_choices_are_scored(served: Any) -> None:
    for scored in chain(*served.score(random_images(4), [["a dog?"]] * 4, [[("yes", "no")]] * 4)):
        assert sum(scored.scores) == pytest.approx(1.0)
        assert scored.usage.requests in (1, 2)


def test_objects_fit_their_schema(endpoint: EndpointOptions) -> None:
    model: Any = ModelOptions(_NAME, max_new_tokens=120, endpoint=endpoint).load()
    for written in model.fill(random_images(4), ["Describe it."] * 4, _SCHEMA):
        found = json.loads(written.text)
        assert found["colour"] in ("red", "blue")
        assert isinstance(found["new"], bool)
        assert b"".join(written.tokens).decode() == written.text
        assert len(written.log_probabilities) == len(written.tokens)
