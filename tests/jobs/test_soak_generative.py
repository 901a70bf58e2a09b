"""Every clothing photo of the validation set captioned and asked, photos, model and output on an S3 endpoint.

`make soak` runs this. The checkpoints are of the architectures named, small and with random weights: what they say
means nothing, that every row comes back does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.s3 import s3_bucket
from tests.helpers.tiny_blip import blip2, save
from tests.helpers.tiny_chat import save_tiny_chat
from tests.jobs.soak import DATA, call, name_of, photos, read_output
from vqa_ray.storage.atomic import write_bytes_atomic

FOLDER = "clothing/validation"
QUESTIONS = ("what is this?", "is there a person?", "what colour is it?")
MODELS: dict[str, Callable[[Path], Path]] = {
    "blip-2": lambda place: save(place, blip2("opt")),
    "llava": lambda place: save_tiny_chat(place, "llava"),
    "qwen2_5_vl": lambda place: save_tiny_chat(place, "qwen2_5_vl"),
}

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not (DATA / FOLDER).is_dir(), reason=f"VQA_RAY_TEST_DATA has no {FOLDER}"),
]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("generative") as uri:
        for path in photos(FOLDER):
            write_bytes_atomic(f"{uri}/photos/{name_of(path)}", path.read_bytes())
        yield uri


@pytest.mark.parametrize("name", list(MODELS))
def test_all_photos_are_captioned_and_asked(bucket: str, name: str, tmp_path: Path) -> None:
    model = f"{bucket}/models/{name}"
    for file in MODELS[name](tmp_path / name).iterdir():
        write_bytes_atomic(f"{model}/{file.name}", file.read_bytes())
    names = {name_of(path).removeprefix("clothing/") for path in photos(FOLDER)}
    common = ("--input", f"{bucket}/photos/", "--model", model, "--quiet")
    for job, extra in (("caption", []), ("answer", [part for text in QUESTIONS for part in ("--question", text)])):
        output, started = f"{bucket}/{job}-{name}", time.monotonic()
        done = call(job, *common, "--output", output, *extra)
        assert done.returncode == 0, done.stderr
        rows = read_output(output).to_pylist()
        assert len(rows) == len(photos(FOLDER))
        assert {row["image_id"].removeprefix("clothing/") for row in rows} == names
        assert {row["status"] for row in rows} == {"ok"}
        if job == "caption":
            assert all(0 < row["caption_score"] <= 1 for row in rows)
        else:
            assert all([each["question"] for each in row["results"]] == list(QUESTIONS) for row in rows)
            assert all(0 < each["answer_score"] <= 1 for row in rows for each in row["results"])
        print(f"{job} {name}: {len(rows)} rows in {time.monotonic() - started:.0f} s")  # noqa: T201
