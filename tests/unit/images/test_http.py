from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.images.http import HttpFetcher, HttpLimits, is_public

QUICK = HttpLimits(connect_timeout_s=5, read_timeout_s=0.3, total_timeout_s=1.0, attempts=2, backoff_s=0.001)


class Site(ThreadingHTTPServer):
    """Answers by path and counts requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.requests: Counter[str] = Counter()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what some tests want."""


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        kind, _, rest = self.path.partition("?")[0].strip("/").partition("/")
        if kind == "status":
            self.reply(int(rest), b"no")
        elif kind == "flaky":
            self.reply(503 if self.server.requests[self.path] == 1 else 200, b"image")
        elif kind == "hops":
            left = int(rest)
            self.reply(302, b"", Location=f"/hops/{left - 1}" if left else "/ok")
        elif kind == "to":
            self.reply(301, b"", Location=rest)
        elif kind == "endless":
            self.stream(b"x" * 1000, pause_s=0.0, chunks=10_000)
        elif kind == "trickle":
            self.stream(b"x", pause_s=0.05, chunks=10_000)
        elif kind == "silent":
            self.server.closing.wait(5)
        elif kind == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"short")
            self.close_connection = True
        elif kind == "query":
            self.reply(200, self.path.encode())
        else:
            self.reply(200, b"image")

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, piece: bytes, pause_s: float, chunks: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(chunks):
            if self.server.closing.wait(pause_s):
                break
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(uri: str, max_bytes: int = 1000, *, allow_private: bool = True) -> bytes:
    fetcher = ImageFetcher(max_bytes, allow_http=True, http_limits=replace(QUICK, allow_private=allow_private))
    return fetcher.fetch(uri)


def failure(uri: str, max_bytes: int = 1000, *, allow_private: bool = True) -> RowError:
    with pytest.raises(RowError) as caught:
        fetch(uri, max_bytes, allow_private=allow_private)
    return caught.value


def test_images_come_back_under_their_own_uri(site: Site) -> None:
    uris = [f"{site.url}/query?n={index}" for index in range(40)]
    outcomes = HttpFetcher(1000, 8, replace(QUICK, allow_private=True)).fetch_all(uris)
    assert outcomes == [f"/query?n={index}".encode() for index in range(40)]


def test_a_signed_query_arrives_as_it_was(site: Site) -> None:
    path = "/query?X-Sig=a%2Bb%2F%3D&x=%7E"
    assert fetch(site.url + path) == path.encode()


@pytest.mark.parametrize(
    ("status", "code", "requests"),
    [
        (404, ErrorCode.IMAGE_MISSING, 1),
        (410, ErrorCode.IMAGE_MISSING, 1),
        (403, ErrorCode.IMAGE_FETCH_FAILED, 1),
        (500, ErrorCode.IMAGE_FETCH_FAILED, 2),
        (429, ErrorCode.IMAGE_FETCH_FAILED, 2),
    ],
)
def test_statuses_and_which_are_tried_again(site: Site, status: int, code: ErrorCode, requests: int) -> None:
    error = failure(f"{site.url}/status/{status}")
    assert error.code == code
    assert f"HTTP {status}" in error.message
    assert site.requests[f"/status/{status}"] == requests


def test_a_passing_failure_is_overcome(site: Site) -> None:
    assert fetch(f"{site.url}/flaky") == b"image"


def test_at_most_five_redirects_are_followed(site: Site) -> None:
    assert fetch(f"{site.url}/hops/4") == b"image"
    assert "more than 5 redirects" in failure(f"{site.url}/hops/5").message


@pytest.mark.parametrize("location", ["file:///etc/passwd", "s3://bucket/a.jpg", "ftp://host/a"])
def test_redirects_out_of_the_web_are_refused(site: Site, location: str) -> None:
    error = failure(f"{site.url}/to/{location}")
    assert error.code == ErrorCode.IMAGE_FETCH_FAILED
    assert "redirected to a URL that is not http:// or https://" in error.message


def test_size_is_limited_by_the_header_and_while_streaming(site: Site) -> None:
    assert fetch(f"{site.url}/ok", max_bytes=5) == b"image"
    for path in ("ok", "endless"):
        error = failure(f"{site.url}/{path}", max_bytes=4)
        assert error.code == ErrorCode.IMAGE_TOO_LARGE
        assert "at most 4 are allowed" in error.message


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("silent", "the server did not answer in time"),
        ("trickle", "not complete within 1 s"),
        ("cut", "ClientPayloadError"),
    ],
)
def test_servers_that_do_not_finish_are_given_up(site: Site, path: str, message: str) -> None:
    error = failure(f"{site.url}/{path}", max_bytes=100_000)
    assert error.code == ErrorCode.IMAGE_FETCH_FAILED
    assert message in error.message
    assert "attempts: 2" in error.message
    assert site.requests[f"/{path}"] == 2


def test_a_refused_connection_is_an_error_of_its_row() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = failure(f"http://127.0.0.1:{unused.getsockname()[1]}/a")
    assert error.code == ErrorCode.IMAGE_FETCH_FAILED
    assert "ClientConnectorError" in error.message


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "0.0.0.0",
        "0",
        "①②⑦.⓪.⓪.①",
        "user:password@127.0.0.1",
        "innocent.example@127.0.0.1",
    ],
)
def test_private_hosts_are_never_asked(site: Site, host: str) -> None:
    error = failure(f"http://{host}:{site.server_port}/ok", allow_private=False)
    assert error.code == ErrorCode.IMAGE_FETCH_FAILED
    assert not site.requests


def test_every_address_of_a_name_is_checked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def two_addresses(host: str, port: int, *_args: object, **_kwargs: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("93.184.216.34", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    error = failure(f"http://innocent.example:{site.server_port}/ok", allow_private=False)
    assert "innocent.example is 127.0.0.1, which is not a public address" in error.message
    assert not site.requests


def test_a_name_that_changes_its_address_is_connected_to_the_one_checked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int, *_args: object, **_kwargs: object) -> list[tuple[object, ...]]:
        asked.append(host)
        address = "203.0.114.1" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = f"http://innocent.example:{site.server_port}/ok"
    error = failure(url, allow_private=False)
    assert error.code == ErrorCode.IMAGE_FETCH_FAILED
    assert not site.requests


def test_redirects_to_private_hosts_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first host passes as public, the one it redirects to does not."""
    monkeypatch.setattr("vqa_ray.images.http.is_public", lambda address: address == "127.0.0.1")
    error = failure(f"{site.url}/to/http://169.254.169.254/latest/meta-data", allow_private=False)
    assert "not allowed: 169.254.169.254, which is not a public address" in error.message
    assert site.requests.total() == 1


@pytest.mark.parametrize("uri", ["http://", "http:///path", "http://[::1", "http://host:99999/", "https://exa mple/"])
def test_malformed_urls_are_errors_of_their_rows(uri: str) -> None:
    assert failure(uri).code == ErrorCode.IMAGE_FETCH_FAILED


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) == public
