"""A broken store stops the task; broken bytes make a row. Both raise `OSError` in decoders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.unit.readers.inputs import asked, open_at, refused, rows_of, write_jsonl, write_parquet, write_tar
from vqa_ray.readers import read_shard


class UnreliableFileSystem(MemoryFileSystem):
    """Files in memory whose reads fail once `healthy` is False."""

    protocol = ("unreliable",)
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    healthy = True
    # Bytes that one request gives at most, and bytes of a file after which it gives none.
    most, end = 2**30, 2**30

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("unreliable://", "memory://")))

    def unstrip_protocol(self, name: str) -> str:
        return f"unreliable://{name}"

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        return _Unreliable(file) if mode == "rb" else file


class _Unreliable:
    def __init__(self, file: Any) -> None:
        self._file, self.size = file, file.getbuffer().nbytes
        self.seek, self.tell, self.close = file.seek, file.tell, lambda: None

    def read(self, size: int = -1) -> bytes:
        if not UnreliableFileSystem.healthy:
            raise ConnectionResetError("the store went away")
        most = max(0, min(UnreliableFileSystem.most, UnreliableFileSystem.end - self.tell()))
        return bytes(self._file.read(most if size < 0 else min(size, most)))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    fsspec.register_implementation("unreliable", UnreliableFileSystem, clobber=True)
    monkeypatch.setattr(UnreliableFileSystem, "healthy", True)
    filesystem = UnreliableFileSystem()
    yield filesystem
    filesystem.store.clear()


def make(root: Path, name: str) -> Path:
    if name.endswith("parquet"):
        return write_parquet(root / name, {"image": [bytes(100)] * 50, "question": ["q"] * 50})
    if "tar" in name:
        members = [(f"{i}.{s}", bytes(100) if s == "jpg" else asked("q")) for i in range(50) for s in ("jpg", "json")]
        return write_tar(root / name, members, "w:gz" if name.endswith("gz") else "w")
    if name.endswith("csv"):
        (root / name).write_bytes(b"url,question\n" + b"a,q\n" * 50)
        return root / name
    return write_jsonl(root / name, [{"url": "a", "question": "q"}] * 50)


@pytest.mark.parametrize("name", ["a.parquet", "a.tar", "a.tar.gz", "a.jsonl", "a.csv"])
def test_failures_of_the_store_are_raised_and_never_become_rows(
    tmp_path: Path, store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store.pipe_file(f"/in/{name}", make(tmp_path, name).read_bytes())
    uri = f"unreliable:///in/{name}"
    source = open_at(uri)
    assert len(rows_of(source)) == 50
    monkeypatch.setattr(UnreliableFileSystem, "healthy", False)
    with pytest.raises(ConnectionResetError, match="the store went away"):
        list(read_shard(source, source.shards[0]))
    assert refused(uri) == f"{uri}: the input cannot be read: the store went away"


@pytest.mark.parametrize("name", ["a.parquet", "a.tar", "a.jsonl", "a.csv"])
def test_a_file_that_vanished_is_raised(tmp_path: Path, name: str) -> None:
    file = make(tmp_path, name)
    source = open_at(file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        list(read_shard(source, source.shards[0]))


@pytest.mark.parametrize("name", ["a.parquet", "a.tar", "a.tar.gz", "a.jsonl", "a.csv"])
@pytest.mark.parametrize("end", [0, 0.5])
def test_a_body_cut_short_is_no_shorter_shard(
    tmp_path: Path, store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, name: str, end: float
) -> None:
    data = make(tmp_path, name).read_bytes()
    store.pipe_file(f"/in/{name}", data)
    source = open_at(f"unreliable:///in/{name}")
    whole = rows_of(source)
    # Requests that give less than they were asked for are followed by others …
    monkeypatch.setattr(UnreliableFileSystem, "most", 100)
    assert rows_of(source) == whole
    # … and an end before the end is the store's fault.
    monkeypatch.setattr(UnreliableFileSystem, "end", int(len(data) * end))
    with pytest.raises(OSError, match=f"of an object of {len(data)}"):
        list(read_shard(source, source.shards[0]))
