"""The loop of a catalogue in a bucket: teacher, instruction data, student, its answers and how right they are.

`make soak` runs this.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.helpers.s3 import s3_bucket
from tests.helpers.tiny_chat import save_tiny_chat
from tests.jobs.soak import call, read_output, written
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import exists, read_bytes

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A student that knows nothing."""
    with s3_bucket("chat") as uri:
        for file in save_tiny_chat(tmp_path_factory.mktemp("chat") / "student", "llava").iterdir():
            write_bytes_atomic(f"{uri}/student/{file.name}", file.read_bytes())
        yield uri


def run(*argv: str) -> None:
    """Run a command to a good end."""
    started = time.monotonic()
    done = call(*argv, "--quiet")
    assert done.returncode == 0, done.stderr
    print(f"{argv[0]}: {time.monotonic() - started:.0f} s")  # noqa: T201


def test_teacher_student_answers_and_measure_from_bucket_to_bucket(bucket: str) -> None:
    photos, taught, student = f"{bucket}/photos", f"{bucket}/taught", f"{bucket}/my-chat"
    answers, judged = f"{bucket}/answers", f"{bucket}/judged"
    exact = ("--dtype", "float32", "--max-new-tokens", "12")
    run("catalog", "--count", "48", "--seed", "5", "--questions", "2", "--format", "jsonl", "--output", photos)
    asked = ("--tasks", "detailed_description", "--max-words", "99")
    run("instruct", "--input", f"{photos}/images/", "--output", taught, "--model", "fake:", *asked)
    rows = read_output(taught).to_pylist()
    assert len(rows) == 48
    assert sum(row["status"] == "ok" for row in rows) >= 40, rows[:3]
    recipe = ("--epochs", "6", "--batch-size", "8", "--learning-rate", "5e-3", "--metric", "exact-match")
    run(
        "finetune",
        "--task",
        "chat",
        "--input",
        taught,
        "--output",
        student,
        "--model",
        f"{bucket}/student",
        *recipe,
        *exact,
    )
    for name in ("config.json", "model.safetensors", "lora/adapter_config.json", "training.html", "README.md"):
        assert exists(f"{student}/{name}"), name
    told = json.loads(read_bytes(f"{student}/_vqa_ray/manifest.json"))
    print(f"exact match {told['accuracy']:.3f}, loss {told['loss']:.3f}")  # noqa: T201
    for name, model in (("whole", (student,)), ("added", (f"{bucket}/student", "--lora", f"{student}/lora"))):
        run("answer", "--input", f"{photos}/*.jsonl", "--output", f"{answers}-{name}", "--model", *model, *exact)
        assert written(f"{answers}-{name}")
        truth = ("--truth", f"{photos}/*.jsonl", "--protocol", "exact-match")
        run("evaluate", "--predictions", f"{answers}-{name}", *truth, "--output", f"{judged}-{name}")
    whole, added = (read_output(f"{answers}-{name}").sort_by("question_id") for name in ("whole", "added"))
    assert whole["answer"].to_pylist() == added["answer"].to_pylist()
