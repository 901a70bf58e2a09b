"""All photos of a folder through three engines: our own, vLLM in the actor, and vLLM's server. Equal rows.

The photos are `clothing/validation` of the test data, whatever there is of it: VQA_RAY_TEST_PHOTOS bounds their number.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.jobs.soak import DATA
from tests.vllm.checkpoints import answer_with, save
from tests.vllm.commands import rows, run
from vqa_ray.images.decoder import ImageLimits, decode, decode_resized
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.endpoint.messages import one_of
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.load import ModelOptions
from vqa_ray.taxonomy.file import default_taxonomy

pytest.importorskip("vllm")
PHOTOS = DATA / "clothing" / "validation"
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not PHOTOS.is_dir(), reason="VQA_RAY_TEST_DATA has no clothing photos"),
]

# Images of a few tokens each.
PIXELS = 28 * 28 * 4
NEW_TOKENS = 8
QUESTIONS = ("what is this?", "is there a hat?", "what colour is it?")
OBJECT_TOKENS = 64
# One token each; photos of a comparison in this process.
CHOICES, _FEW = ("yes", "no"), 20
FIELDS = {
    "kind": {"enum": ["dress", "hat", "shirt"]},
    "striped": {"type": "boolean"},
    "pockets": {"type": "integer", "minimum": 0, "maximum": 9},
}
# `striped` may be null.
SCHEMA = {"type": "object", "properties": FIELDS, "required": ["kind", "pockets"]}
_ENGINE = ("--engine", "vllm", "--engine-option", "enforce_eager=true", "--engine-option", "max_model_len=512")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("photos")
    most = int(os.environ.get("VQA_RAY_TEST_PHOTOS", "0")) or None
    for photo in sorted(each for each in PHOTOS.rglob("*") if each.is_file())[:most]:
        (directory / photo.name).symlink_to(photo)
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("qwen"), "qwen2_vl")


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory, photos: Path, model: Path) -> Path:
    """The photos in the sizes that the model sees: a server resizes them no further."""
    directory = tmp_path_factory.mktemp("sized")
    transform = Checkpoint.open(str(model)).limited(PIXELS).transform
    for photo in photos.iterdir():
        pixels = decode_resized(photo.read_bytes(), ImageLimits(), transform.target_size)
        Image.fromarray(pixels).save(directory / f"{photo.stem}.png")
    return directory


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[str]:
    with _serving(model) as url:
        yield url


@contextmanager
def _serving(model: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "tiny", "--dtype", "float32"]
    argv += ["--max-model-len", "512", "--max-num-seqs", "32", "--enforce-eager", "--generation-config", "vllm"]
    # The scores of objects are probabilities among the tokens that the schema allows.
    argv += ["--logprobs-mode", "processed_logprobs"]
    argv += ["--structured-outputs-config", json.dumps({"backend": "guidance", "disable_any_whitespace": True})]
    process = subprocess.Popen(argv)
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        assert process.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(1)
    pytest.fail("the server does not answer")


COMMANDS = {
    "tag": (("tag",), ("image_id", "tags", "status", "error_code")),
    "answer": (
        ("answer", *(part for question in QUESTIONS for part in ("--question", question))),
        ("image_id", "question", "answer", "finish_reason", "status", "error_code"),
    ),
    "schema": (("answer", "--schema"), ("image_id", *FIELDS, "object_json", "status", "error_code")),
}


class Outputs:
    """Run directories, each made once: of our own engine, of vLLM's and of its server."""

    def __init__(self, directory: Path, model: Path, photos: Path) -> None:
        self._directory, self._model, self._photos = directory, model, photos
        self._schema = directory / "schema.json"
        self._schema.write_text(json.dumps(SCHEMA))

    def path(self, name: str, what: str) -> Path:
        return self._directory / f"{what}-{name}"

    def run(self, name: str, what: str, photos: Path, *engine: str) -> list[str]:
        """Run a command, unless it has run; the rows, sorted."""
        (command, *more), columns = COMMANDS[name]
        more += [str(self._schema)] if name == "schema" else []
        length = OBJECT_TOKENS if name == "schema" else NEW_TOKENS
        more += ["--max-new-tokens", str(length)] if command == "answer" else []
        output = self.path(name, what)
        if not output.exists():
            began = time.monotonic()
            limits = ("--max-pixels", str(PIXELS), "--max-error-fraction", "1")
            code, messages = run(command, photos, output, *engine, *more, *limits)
            assert code == 0, messages
            sys.stderr.write(f"{output.name}: {time.monotonic() - began:.0f} s {messages.splitlines()[-5:]}\n")
        return sorted(map(_plain, rows(output, *columns)))

    def ours(self, name: str, photos: Path) -> list[str]:
        return self.run(name, f"ours-{photos.name}", photos, "--model", str(self._model), "--dtype", "float32")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, model: Path, photos: Path) -> Outputs:
    return Outputs(tmp_path_factory.mktemp("outputs"), model, photos)


@pytest.mark.parametrize("name", COMMANDS)
def test_vllm_in_the_actor(outputs: Outputs, model: Path, photos: Path, name: str) -> None:
    engine = ("--model", str(model), "--dtype", "float32", *_ENGINE)
    _compare(name, outputs.ours(name, photos), outputs.run(name, "vllm", photos, *engine))


def test_answers_of_the_server(outputs: Outputs, server: str, sized: Path) -> None:
    mine, given = outputs.ours("answer", sized), outputs.run("answer", "endpoint", sized, *_endpoint(server))
    _compare("answer", *(sorted(map(_without_loose_end, each)) for each in (mine, given)))


def _without_loose_end(row: str) -> str:
    """Leave out bytes at an answer's end that make no character, as the server does, and white space before them."""
    found = json.loads(row)
    return _plain(found | {"answer": re.sub(r"[\ufffd\s]+$", "", found["answer"])})


def test_tags_of_the_server(sized: Path, tmp_path: Path) -> None:
    """The server's question names the choices. For the same words and choices of one token, its tags are ours."""
    model = save(tmp_path / "model", "qwen2_vl")
    answer_with(model, CHOICES)
    attribute = {"name": "hat", "choices": list(CHOICES), "threshold": 0.0}
    worded = f"{QUESTIONS[1]}\nAnswer with exactly one of these: {', '.join(CHOICES)}."
    with _serving(model) as server:
        runs = {
            "ours": (worded, ("--model", str(model), "--dtype", "float32")),
            "theirs": (QUESTIONS[1], _endpoint(server)),
        }
        for name, (question, engine) in runs.items():
            taxonomy = tmp_path / f"{name}.yaml"
            taxonomy.write_text(json.dumps({"attributes": [{**attribute, "question": question}]}))
            options = ("--tags", str(taxonomy), "--max-pixels", str(PIXELS))
            code, messages = run("tag", sized, tmp_path / name, *engine, *options)
            assert code == 0, messages
    ours, theirs = (rows(tmp_path / name, "image_id", "hat", "tag_scores", "status") for name in runs)
    assert [row["image_id"] for row in ours] == [row["image_id"] for row in theirs]
    for mine, given in zip(ours, theirs, strict=True):
        assert (given["status"], given["hat"]) == ("ok", mine["hat"])
        expected, scores = ([each["score"] for each in row["tag_scores"]] for row in (mine, given))
        assert scores == pytest.approx(expected, abs=1e-3)
    assert len({row["tag_scores"][0]["score"] for row in theirs}) > 1, "the photos are told apart"


def test_choices_that_the_model_does_not_write(server: str, sized: Path, model: Path) -> None:
    """It is asked again, held to the choices: the object that our own engine writes, with 1 for its choice."""
    images = [decode(file.read_bytes(), ImageLimits()) for file in sorted(sized.iterdir())][:_FEW]
    asked: Any = ModelOptions("openai:tiny", endpoint=EndpointOptions(server, image_encoding="png")).load()
    writing: Any = ModelOptions(str(model), device="cpu", dtype="float32", max_new_tokens=OBJECT_TOKENS).load()
    for attribute in default_taxonomy().attributes[:3]:
        choices = list(attribute.choices)
        given = asked.score(images, [[attribute.question]] * len(images), [[choices]] * len(images))
        worded = f"{attribute.question}\nAnswer with exactly one of these: {', '.join(choices)}."
        wanted = writing.fill(images, [worded] * len(images), one_of(choices)["json_schema"]["schema"])
        for (scored,), written in zip(given, wanted, strict=True):
            assert scored.usage.requests == 2
            assert scored.scores == tuple(float(each == json.loads(written.text)["choice"]) for each in choices)


def test_objects_of_the_server(outputs: Outputs, server: str, sized: Path) -> None:
    mine, given = outputs.ours("schema", sized), outputs.run("schema", "endpoint", sized, *_endpoint(server))
    _compare("schema", mine, given)
    scores = [f"{name}_score" for name in FIELDS]
    ours, theirs = (rows(outputs.path("schema", what), *scores) for what in (f"ours-{sized.name}", "endpoint"))
    for expected, scored in zip(ours, theirs, strict=True):
        assert scored == pytest.approx(expected, abs=1e-3)
    assert len({row["pockets_score"] for row in theirs}) > 1, "the photos are told apart"


def _endpoint(server: str) -> tuple[str, ...]:
    return ("--model", "openai:tiny", "--base-url", server, "--image-encoding", "png")


def _compare(name: str, mine: list[str], given: list[str]) -> None:
    different = [pair for pair in zip(mine, given, strict=True) if pair[0] != pair[1]]
    sys.stderr.write(f"{name}: {len(mine)} rows, {len(different)} different\n")
    assert not different, different[:3]


def _plain(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, sort_keys=True)
