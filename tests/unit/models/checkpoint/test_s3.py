"""Models in a bucket: the files that are read are copied once, whatever the form of their weights."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.s3 import recorded_requests, s3_bucket
from tests.helpers.tiny import save_tiny_vilt
from tests.helpers.weights import to_pickles
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.storage import filesystem as storage
from vqa_ray.storage.atomic import write_bytes_atomic


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("models") as uri:
        yield uri


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VQA_RAY_CACHE", str(tmp_path / "cache"))


def put(directory: Path, uri: str) -> str:
    for path in directory.rglob("*"):
        if path.is_file():
            storage.copy_file(str(path), f"{uri}/{path.relative_to(directory).as_posix()}")
    return uri


@pytest.mark.parametrize("shards", [1, 3])
def test_pickles_in_a_bucket_are_read_and_nothing_beside_them(bucket: str, tmp_path: Path, shards: int) -> None:
    directory = to_pickles(save_tiny_vilt(tmp_path / "model"), shards=shards)
    (directory / "optimizer.pt").write_bytes(b"not copied")
    (directory / "checkpoint-5").mkdir()
    (directory / "checkpoint-5" / "config.json").write_text("{}")
    uri = put(directory, f"{bucket}/vilt-{shards}")
    info = Checkpoint.open(uri)
    assert info.notes == (f"model {uri}: weights are pickles, of which only tensors are read",)
    assert info.path is not None
    copied = {path.relative_to(info.path).as_posix() for path in info.path.rglob("*") if path.is_file()}
    assert copied == {path.name for path in directory.iterdir() if path.is_file()} - {"optimizer.pt"}
    assert info.fingerprint == Checkpoint.open(str(directory)).fingerprint
    assert ModelOptions(uri, device="cpu").load().score_meaning


def test_safetensors_in_a_bucket_go_before_pickles(bucket: str, tmp_path: Path) -> None:
    directory = save_tiny_vilt(tmp_path / "model")
    (directory / "pytorch_model.bin").write_bytes(b"not copied")
    info = Checkpoint.open(put(directory, f"{bucket}/both"))
    assert info.path is not None
    assert not (info.path / "pytorch_model.bin").exists()


def test_what_is_wrong_in_a_bucket_is_told_before_weights_are_copied(bucket: str, tmp_path: Path) -> None:
    write_bytes_atomic(f"{bucket}/gguf/model.gguf", b"x")
    with pytest.raises(ModelLoadError, match=f"model {bucket}/gguf: config.json is missing: the model is in GGUF"):
        Checkpoint.open(f"{bucket}/gguf")
    write_bytes_atomic(f"{bucket}/trainer/checkpoint-7/config.json", b"{}")
    with pytest.raises(ModelLoadError, match="the newest is checkpoint-7: pass that"):
        Checkpoint.open(f"{bucket}/trainer")
    assert not list((tmp_path / "cache").rglob("*.gguf"))


def test_a_bucket_is_listed_once_and_each_file_read_once(bucket: str, tmp_path: Path) -> None:
    directory = save_tiny_vilt(tmp_path / "model")
    uri = put(directory, f"{bucket}/counted")
    with recorded_requests() as requests:
        opened = Checkpoint.open(uri)
    listings = [line for line in requests if "list-type=2" in line]
    assert len(listings) == 1
    read = [
        line.partition("/counted/")[2].partition("?")[0] for line in requests if line.startswith("GET /models/counted/")
    ]
    assert sorted(read) == sorted(path.name for path in directory.iterdir())
    with recorded_requests() as requests:
        options = pickle.loads(pickle.dumps(ModelOptions(uri, device="cpu", revisions=opened.revisions)))
        assert options.load().labels
    assert requests == []


def test_of_several_that_open_a_model_at_once_one_copies_it(bucket: str, tmp_path: Path) -> None:
    """As the actors of a node do, each of which opens the model that the command found."""
    uri = put(save_tiny_vilt(tmp_path / "model"), f"{bucket}/at-once")
    together = threading.Barrier(4)

    def open_with_others(_: int) -> Path | None:
        together.wait()
        return Checkpoint.open(uri).path

    with recorded_requests() as requests, ThreadPoolExecutor(4) as threads:
        (path,) = set(threads.map(open_with_others, range(4)))
    assert path is not None
    assert path.is_dir()
    read = Counter(line for line in requests if line.startswith("GET /models/at-once/"))
    assert set(read.values()) == {1}
    assert sum(line.endswith("/model.safetensors") for line in read) == 1


def test_files_that_change_after_a_model_was_opened_are_refused(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = put(save_tiny_vilt(tmp_path / "model"), f"{bucket}/changing")
    opened = Checkpoint.open(uri)
    # As on another node: nothing is in the cache there.
    monkeypatch.setenv("VQA_RAY_CACHE", str(tmp_path / "another"))
    assert Checkpoint.open(uri, opened.revisions).fingerprint == opened.fingerprint
    monkeypatch.setenv("VQA_RAY_CACHE", str(tmp_path / "third"))
    write_bytes_atomic(f"{uri}/vocab.txt", b"changed")
    with pytest.raises(ModelLoadError, match=f"model {uri}: its files have changed since the command opened it"):
        Checkpoint.open(uri, opened.revisions)
