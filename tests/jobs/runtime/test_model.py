"""A command opens its model once: its config is read once in the process of the command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.pictures import encoded, photo
from tests.helpers.s3 import recorded_requests
from tests.helpers.tiny import save_tiny_vilt
from tests.jobs.commands import DEADLINE_S, arguments, started
from vqa_ray.jobs.cli import main
from vqa_ray.models.checkpoint.files import local_directory
from vqa_ray.storage.filesystem import copy_file

_read: list[Path] | None = None


def _note(event: str, given: tuple[object, ...]) -> None:
    if event == "open" and _read is not None and isinstance(given[0], str | Path):
        _read.append(Path(given[0]))


# An audit hook stays for the life of the process.
sys.addaudithook(_note)


@contextmanager
def recorded_reads() -> Iterator[list[Path]]:
    """Record the files that this process opens."""
    global _read
    _read = found = []
    try:
        yield found
    finally:
        _read = None


@pytest.fixture
def images(tmp_path: Path) -> Path:
    directory = tmp_path / "images"
    directory.mkdir()
    for index in range(3):
        (directory / f"{index}.png").write_bytes(encoded(photo(40, 60, index), "PNG"))
    return directory


@pytest.mark.usefixtures("local_ray")
def test_answer_index_and_search_read_the_config_once(images: Path, tmp_path: Path) -> None:
    index, vilt, clip = tmp_path / "index", "bundled:catalog-vilt", "bundled:catalog-clip"
    commands = [
        (vilt, arguments("answer", images, tmp_path / "answers", "--model", vilt, "--question", "what is it?")),
        (clip, arguments("index", images, index, "--model", clip)),
        (clip, ["search", str(index), "--text", "a red mug", "--quiet"]),
    ]
    for model, argv in commands:
        with recorded_reads() as read:
            assert main(argv) == 0
        assert read.count(local_directory(model) / "config.json") == 1, argv


def test_a_run_lists_a_bucket_once_and_reads_each_file_once(
    images: Path, tmp_path: Path, s3_session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VQA_RAY_CACHE", str(tmp_path / "cache"))
    directory, uri = save_tiny_vilt(tmp_path / "model"), f"{s3_session}/run-model"
    for path in directory.iterdir():
        copy_file(str(path), f"{uri}/{path.name}")
    argv = arguments("answer", images, tmp_path / "out", "--model", uri, "--question", "what is it?")
    with recorded_requests() as requests, started(*argv) as process:
        assert process.wait(DEADLINE_S) == 0, process.communicate()
    gets = [line for line in requests if line.startswith("GET") and "run-model" in line]
    listings = [line for line in gets if "list-type=2" in line]
    assert len(listings) == 1
    read = [line.partition("?")[0].rpartition("/")[2] for line in gets if line not in listings]
    assert sorted(read) == sorted(path.name for path in directory.iterdir())
