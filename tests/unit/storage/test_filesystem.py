from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs as pafs

from tests.helpers.s3 import s3_bucket
from vqa_ray.errors import RequestError
from vqa_ray.storage.atomic import write_bytes_atomic, write_table_atomic
from vqa_ray.storage.filesystem import copy_file, exists, filesystem_for, fsspec_for, list_files, read_bytes
from vqa_ray.storage.uri import join, redacted_uri


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("storage") as uri:
        yield uri


@pytest.fixture(params=["local", "file", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = tmp_path.name
    match request.param:
        case "local":
            return str(tmp_path / "root")
        case "file":
            return (tmp_path / "with space").as_uri()
        case "memory":
            return f"memory://{name}"
        case _:
            return f"{request.getfixturevalue('bucket')}/{name}"


def test_bytes_round_trip_and_are_replaced(root: str) -> None:
    uri = join(root, "deep", "a.bin")
    for data in (b"first", b"", bytes(range(256)) * 1000):
        write_bytes_atomic(uri, data)
        assert read_bytes(uri) == data
        assert read_bytes(uri, max_bytes=len(data)) == data


def test_reading_more_than_allowed_fails_with_efbig(root: str) -> None:
    uri = join(root, "a.bin")
    write_bytes_atomic(uri, b"12345")
    with pytest.raises(OSError, match="more than 4 bytes") as caught:
        read_bytes(uri, max_bytes=4)
    assert caught.value.errno == errno.EFBIG


def test_a_missing_file_is_not_found(root: str) -> None:
    write_bytes_atomic(join(root, "there"), b"")
    for max_bytes in (None, 10):
        with pytest.raises(FileNotFoundError):
            read_bytes(join(root, "absent"), max_bytes)
    assert not exists(join(root, "absent"))
    assert exists(join(root, "there"))


def test_listing_is_recursive_sorted_and_without_hidden_names(root: str) -> None:
    for name in ("b/2.jpg", "b/1.jpg", "a.jpg", "_vqa_ray/manifest.json", "b/.cache/x", ".hidden", "c/_x/y"):
        write_bytes_atomic(join(root, name), name.encode())
    entries = list_files(root)
    assert [read_bytes(entry.uri).decode() for entry in entries] == ["a.jpg", "b/1.jpg", "b/2.jpg"]
    assert [entry.size_bytes for entry in entries] == [5, 7, 7]
    for entry in entries:
        assert entry.modified is not None
        assert abs(entry.modified - datetime.now(UTC)) < timedelta(hours=1)
    assert list_files(root + "/") == entries


def test_a_file_lists_itself_even_when_hidden(root: str) -> None:
    uri = join(root, "_one")
    write_bytes_atomic(uri, b"1")
    (entry,) = list_files(uri)
    assert entry.size_bytes == 1
    assert read_bytes(entry.uri) == b"1"


def test_local_links_are_followed(tmp_path: Path) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    for name in ("elsewhere/deep/b.jpg", "root/a.jpg", "root/.hidden/c.jpg"):
        write_bytes_atomic(str(tmp_path / name), name.encode())
    (root / "file.jpg").symlink_to(elsewhere / "deep" / "b.jpg")
    (root / "linked").symlink_to(elsewhere)
    (elsewhere / "deep" / "back").symlink_to(root)
    (root / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (root / "itself.jpg").symlink_to("itself.jpg")
    os.mkfifo(root / "pipe.jpg")
    found = {entry.uri.removeprefix(f"{root}/"): entry.size_bytes for entry in list_files(str(root))}
    readable = {"a.jpg": 10, "file.jpg": 20, "linked/deep/b.jpg": 20}
    assert found == {**readable, "broken.jpg": 0, "itself.jpg": 0, "pipe.jpg": 0}


def test_a_directory_that_may_not_be_read_is_not_left_out_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    opened = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        list_files(str(tmp_path))


def test_listing_nothing_is_a_wrong_request(root: str) -> None:
    write_bytes_atomic(join(root, "there"), b"")
    with pytest.raises(RequestError, match="absent: no such file, directory or prefix"):
        list_files(join(root, "absent"))


def test_a_name_that_a_hub_cannot_have_is_a_wrong_request() -> None:
    with pytest.raises(RequestError, match="hf://datasets: cannot be listed: Repository id must be 'namespace/name'"):
        list_files("hf://datasets")


def test_a_missing_bucket_is_a_wrong_request(bucket: str) -> None:
    with pytest.raises(RequestError, match="s3://nobody-has-this/x: no such"):
        list_files("s3://nobody-has-this/x")


def test_the_arrow_filesystem_reads_writes_and_pickles(root: str) -> None:
    write_bytes_atomic(join(root, "there"), b"")
    uri = join(root, "t.parquet")
    filesystem, path = filesystem_for(uri)
    table = pa.table({"x": [1, 2, 3]})
    pq.write_table(table, path, filesystem=filesystem)
    again = pickle.loads(pickle.dumps(filesystem))
    assert pq.read_table(path, filesystem=again).equals(table)


def test_pickles_carry_the_endpoint_and_no_credentials(bucket: str) -> None:
    filesystem, _ = filesystem_for(f"{bucket}/x")
    pickled = pickle.dumps(filesystem)
    assert os.environ["AWS_ENDPOINT_URL"].encode() in pickled
    assert b"AWS_SECRET" not in pickled
    assert fsspec_for(f"{bucket}/x")[0].key is None


def test_two_endpoints_do_not_share_a_filesystem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    first, _ = fsspec_for("s3://a/b")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    second, _ = fsspec_for("s3://a/b")
    assert (first.endpoint_url, second.endpoint_url) == ("http://127.0.0.1:1", "http://127.0.0.1:2")


def test_local_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    filesystem, path = filesystem_for("a b%20/c")
    assert isinstance(filesystem, pafs.LocalFileSystem)
    assert path == str(tmp_path / "a b%20" / "c")
    assert filesystem_for("file:///x/a%20b")[1] == "/x/a b"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://x/y", "unknown scheme 'ftp'; known are paths, file://, s3://, gs://"),
        ("s3:/x/y", "wanted two slashes after the colon: s3://"),
        ("", "the path is empty; . is the working directory"),
        ("foo://x/y", "unknown scheme 'foo'; known are paths, file://, s3://, gs://"),
        ("gs://b/x", "pip install gcsfs"),
        ("https://host/x.parquet", "only .with --allow-http., not for files"),
        ("file://host/x", "file:///path, not a host .'host'."),
        ("local:///x", "unknown scheme 'local'"),
        ("data://x", "unknown scheme 'data'"),
        ("dir:///x", "unknown scheme 'dir'"),
        ("asyncwrapper:///x", "unknown scheme 'asyncwrapper'"),
        ("zip:///x", "unknown scheme 'zip'"),
        ("s3://", "s3://: names no bucket or directory; wanted is s3://NAME/…"),
        ("s3:///x/y", "names no bucket or directory"),
        ("hf://", "names no bucket or directory"),
    ],
)
def test_a_wrong_uri_says_what_is_allowed(uri: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        filesystem_for(uri)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_bytes_atomic(str(target), b"old")
    with pytest.raises(TypeError):
        write_bytes_atomic(str(target), "not bytes")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert target.read_bytes() == b"old"


def test_written_files_have_the_usual_permissions(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_bytes_atomic(str(target), b"x")
    other = tmp_path / "b"
    other.write_bytes(b"x")
    assert target.stat().st_mode == other.stat().st_mode


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            read_bytes(str(path), 10)
    with pytest.raises(IsADirectoryError):
        read_bytes(str(tmp_path), 10)


def test_join_puts_single_slashes() -> None:
    assert join("s3://b/", "/a/", "", "c") == "s3://b/a/c"
    assert join("/", "a") == "/a"
    assert join("memory://", "a") == "memory://a"


def test_shown_uris_hold_no_secrets() -> None:
    assert redacted_uri("https://me:pw@host/a.jpg?X-Signature=abc") == "https://host/a.jpg"
    assert redacted_uri("https://host?token=1") == "https://host"
    assert redacted_uri("s3://key:secret@bucket/what?.jpg") == "s3://bucket/what?.jpg"
    assert redacted_uri("/data/a?.jpg") == "/data/a?.jpg"
    assert len(redacted_uri("s3://b/" + "x" * 500)) == 160


def test_tables_and_files_travel_to_and_fro(root: str, tmp_path: Path) -> None:
    table, local = pa.table({"a": [1, 2]}), str(tmp_path / "deep" / "table.parquet")
    write_table_atomic(join(root, "table.parquet"), table)
    copy_file(join(root, "table.parquet"), local)
    assert pq.read_table(local).equals(table)
    copy_file(local, join(root, "again", "table.parquet"))
    assert read_bytes(join(root, "again", "table.parquet")) == Path(local).read_bytes()


def test_a_write_that_fails_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = str(tmp_path / "a.bin")
    write_bytes_atomic(uri, b"older")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_bytes_atomic(uri, b"newer")
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
    assert read_bytes(uri) == b"older"
