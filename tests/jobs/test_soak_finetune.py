"""A training and adapters on top of it with everything in a bucket: rows, starting model, checkpoints, export, report.

`make soak` runs this.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest

from tests.helpers.s3 import s3_bucket
from tests.jobs.finetune.test_command import arguments, training_input
from tests.jobs.soak import call, read_output, written
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import exists

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_bucket("finetune") as uri:
        for file in training_input(tmp_path_factory.mktemp("finetune") / "in").iterdir():
            write_bytes_atomic(f"{uri}/rows/{file.name}", file.read_bytes())
        yield uri


def trained(output: str, argv: list[str]) -> None:
    started = time.monotonic()
    done = call(*argv)
    assert done.returncode == 0, done.stderr
    for name in ("config.json", "model.safetensors", "training.html", "metrics.parquet", "README.md"):
        assert exists(f"{output}/{name}"), name
    print(f"{output}: {time.monotonic() - started:.0f} s")  # noqa: T201


def right(bucket: str, model: str) -> float:
    """The fraction of all rows that a model answers with their colour."""
    output = f"{model}-answers"
    asked = (
        "answer",
        "--input",
        f"{bucket}/rows/",
        "--output",
        output,
        "--model",
        model,
        "--keep",
        "colour",
        "--quiet",
    )
    done = call(*asked)
    assert done.returncode == 0, done.stderr
    assert written(output)
    rows = read_output(output)
    return float(pc.mean(pc.equal(rows["answer"], rows["colour"])).as_py())


def test_training_and_adapters_from_bucket_to_bucket(bucket: str) -> None:
    rows, base, adapted = Path("rows"), f"{bucket}/base", f"{bucket}/adapted"
    argv = arguments(rows, base, "--epochs", "2")
    argv[argv.index(str(rows))] = f"{bucket}/rows/"
    trained(base, argv)
    before = right(bucket, base)
    lora = ["finetune", "--input", f"{bucket}/rows/", "--output", adapted, "--model", base, "--lora", "--quiet"]
    lora += ["--epochs", "3", "--batch-size", "10", "--learning-rate", "1e-2", "--augment", "none", "--dropout", "0"]
    trained(adapted, lora)
    after = right(bucket, adapted)
    print(f"right before and after: {before:.3f}, {after:.3f}")  # noqa: T201
    assert after >= 0.95
    assert after >= before
