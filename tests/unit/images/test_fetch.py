from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.s3 import s3_bucket
from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.storage.atomic import write_bytes_atomic


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("fetch") as uri:
        yield uri


@pytest.fixture(params=["local", "file", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "local":
            return str(tmp_path)
        case "file":
            return tmp_path.as_uri()
        case "memory":
            return f"memory://fetch/{tmp_path.name}"
        case _:
            return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


def code_of(outcome: bytes | RowError) -> ErrorCode:
    assert isinstance(outcome, RowError)
    return outcome.code


def test_stored_images_are_fetched_or_told_why_not(root: str) -> None:
    write_bytes_atomic(f"{root}/a.jpg", b"12345")
    write_bytes_atomic(f"{root}/big.jpg", b"123456")
    write_bytes_atomic(f"{root}/empty.jpg", b"")
    names = ("a", "big", "empty", "absent")
    outcomes = ImageFetcher(5).fetch_all([f"{root}/{name}.jpg" for name in names])
    a, big, empty, absent = (outcomes[f"{root}/{name}.jpg"] for name in names)
    assert (a, empty) == (b"12345", b"")
    assert code_of(big) == ErrorCode.IMAGE_TOO_LARGE
    assert code_of(absent) == ErrorCode.IMAGE_MISSING


def test_many_objects_come_back_under_their_own_uri(bucket: str) -> None:
    uris = [f"{bucket}/many/{index}" for index in range(60)]
    for uri in uris:
        write_bytes_atomic(uri, uri.encode())
    assert ImageFetcher(100).fetch_all(uris) == {uri: uri.encode() for uri in uris}


def test_each_distinct_uri_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr("vqa_ray.images.fetch.read_bytes", lambda uri, _max_bytes: read.append(uri) or b"x")
    outcomes = ImageFetcher(5, concurrency=2).fetch_all(["/a", "/b", "/a", "/a"])
    assert outcomes == {"/a": b"x", "/b": b"x"}
    assert sorted(read) == ["/a", "/b"]


def test_as_many_are_fetched_at_once_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(4, timeout=10)
    monkeypatch.setattr("vqa_ray.images.fetch.read_bytes", lambda _uri, _max_bytes: str(meeting.wait()).encode())
    outcomes = ImageFetcher(5, concurrency=4).fetch_all([f"/{index}" for index in range(4)])
    assert sorted(outcomes.values()) == [b"0", b"1", b"2", b"3"]


def test_the_web_is_refused_unless_allowed() -> None:
    with pytest.raises(RowError, match=r"not allowed: .* only with --allow-http") as caught:
        ImageFetcher(5).fetch("https://example.org/a.jpg")
    assert caught.value.code == ErrorCode.IMAGE_FETCH_FAILED


@pytest.mark.parametrize("uri", ["simplecache+x://y", "github://x/y", "ftp://host/a.jpg", "zip://a.zip"])
def test_other_schemes_are_refused(uri: str) -> None:
    with pytest.raises(RowError, match="unknown scheme") as caught:
        ImageFetcher(5, allow_http=True).fetch(uri)
    assert caught.value.code == ErrorCode.IMAGE_FETCH_FAILED


def test_what_cannot_be_read_is_an_error_of_its_row(tmp_path: Path) -> None:
    for uri, message in (
        (str(tmp_path), "Is a directory"),
        ("/dev/zero", "not a regular file"),
        ("/a\x00b", "null byte"),
        ("gs://bucket/a.jpg", "pip install gcsfs"),
    ):
        with pytest.raises(RowError, match=message) as caught:
            ImageFetcher(5).fetch(uri)
        assert caught.value.code == ErrorCode.IMAGE_FETCH_FAILED


def test_a_store_that_is_away_is_an_error_of_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr("vqa_ray.storage.s3.CheckedS3FileSystem.retries", 1)
    with pytest.raises(RowError, match=r"127\.0\.0\.1:1") as caught:
        ImageFetcher(5).fetch("s3://bucket/a.jpg")
    assert caught.value.code == ErrorCode.IMAGE_FETCH_FAILED


def test_a_fetcher_pickles_and_refuses_no_concurrency() -> None:
    assert isinstance(pickle.loads(pickle.dumps(ImageFetcher(5, allow_http=True))), ImageFetcher)
    with pytest.raises(RequestError, match="concurrency is 0; it must be at least 1"):
        ImageFetcher(5, concurrency=0)


HOSTILE = [
    "http://example..com/a.jpg",
    "http://" + "a" * 70 + ".com/x",
    "http://[::1/a.jpg",
    "http://[zz]/a.jpg",
    "http://host:99999/a.jpg",
    "http://host:-1/",
    "http://host:0x/",
    "http://xn--a/",
    "http://.",
    "http:///a",
    "http://:80/",
    "http://[fe80::1%25eth0]/a",
    "ftp://host/a.jpg",
    "weird+scheme://a",
    "s3://",
    "s3:///key",
    "s3://Bad Bucket/x",
    "file://host/a",
    "file:///\x00",
    "\x00",
    "a\udc80b",
    "x" * 5000,
    "/" + "x/" * 3000,
    "data:",
    "hf://",
    "",
]


@pytest.mark.parametrize("uri", HOSTILE, ids=ascii)
def test_no_reference_ends_a_batch(uri: str) -> None:
    outcome = ImageFetcher(100, allow_http=True).fetch_all([uri])[uri]
    assert isinstance(outcome, RowError)
    assert len(outcome.message) <= 300
    assert outcome.message.isprintable()


def test_messages_hide_what_a_reference_keeps_secret() -> None:
    uris = [
        "http://user:s3cret@host:99999/a.jpg?X-Signature=0123abc",
        "http://user:s3cret@[::1/a?X-Signature=0123abc",
        "https://user:s3cret@127.0.0.1/a?X-Signature=0123abc",
        "http://user:s3cret@example..com/?X-Signature=0123abc",
        "file://user:s3cret@host/a?X-Signature=0123abc",
        "abfs://user:s3cret@place/a?X-Signature=0123abc",
    ]
    for outcome in ImageFetcher(100, allow_http=True).fetch_all(uris).values():
        assert "s3cret" not in str(outcome)
        assert "0123abc" not in str(outcome)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=60), max_size=8))
def test_any_text_is_fetched_or_told_why_not(texts: list[str]) -> None:
    # The port is closed: whatever looks like a host is refused at once, without a name server.
    uris = [*texts, *(f"http://127.0.0.1:1{text}" for text in texts), *(f"file://{text}" for text in texts)]
    outcomes = ImageFetcher(100, allow_http=True).fetch_all(uris)
    assert set(outcomes) == set(uris)
    assert all(isinstance(outcome, bytes | RowError) for outcome in outcomes.values())
