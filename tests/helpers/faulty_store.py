"""An S3 endpoint that fails on purpose: a proxy in front of the test server."""

from __future__ import annotations

import http.client
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.helpers.s3 import s3_bucket

STALL_S = 1.0
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class Fault(StrEnum):
    """What happens to a request."""

    ERROR = "500"
    BUSY = "503"
    RESET = "the connection is reset in mid-body; of a write, after it has happened"
    CUT = "the connection ends in mid-body"
    SHORT = "half the body, with a Content-Length that says so"
    EMPTY = "no body, with a Content-Length that says so"
    STALL = "a pause in mid-body"
    SLOW_BODY = "400 RequestTimeout"
    EXPIRED = "403 ExpiredToken"
    NO_BUCKET = "404 NoSuchBucket"


# Faults of a store that pass.
PASSING = (Fault.ERROR, Fault.BUSY, Fault.RESET, Fault.CUT, Fault.SHORT, Fault.EMPTY, Fault.STALL)
_REFUSALS = {
    Fault.ERROR: (500, "InternalError"),
    Fault.BUSY: (503, "SlowDown"),
    Fault.SLOW_BODY: (400, "RequestTimeout"),
    Fault.EXPIRED: (403, "ExpiredToken"),
    Fault.NO_BUCKET: (404, "NoSuchBucket"),
}
_OF_A_BODY = (Fault.CUT, Fault.SHORT, Fault.EMPTY)


class FaultyStore:
    """The faults that a proxy injects, and what it has seen.

    Attributes:
        requests: method and path → number of requests.
        injected: fault → number of requests that it happened to.
        delay_s: how long every request of `delayed` waits.
    """

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.requests: Counter[str] = Counter()
        self.injected: Counter[Fault] = Counter()
        self.delay_s, self.delayed = 0.0, ""
        self._faults: tuple[Fault, ...] = ()
        self._share, self._matching, self._left, self._before = 0.0, "", 0, 0
        self._chance = random.Random(seed)
        self._lock = threading.Lock()

    def inject(
        self, *faults: Fault, share: float = 1.0, matching: str = "", times: int = 10**9, after: int = 0
    ) -> None:
        """Let one of `faults` happen to a share of the requests whose `METHOD /path` holds `matching`.

        Args:
            faults: one of them is drawn for each request.
            share: of the requests.
            matching: part of `METHOD /path`.
            times: how often at most.
            after: so many requests that match are left alone first.
        """
        with self._lock:
            self._faults, self._share, self._matching = faults, share, matching
            self._left, self._before = times, after

    def heal(self) -> None:
        """Inject no more."""
        self.inject(share=0.0)

    def next_fault(self, method: str, path: str) -> Fault | None:
        """Count a request, and choose what happens to it."""
        name = f"{method} {path.partition('?')[0]}"
        with self._lock:
            self.requests[name] += 1
            if not self._left or self._matching not in name:
                return None
            if self._before:
                self._before -= 1
                return None
            if self._chance.random() >= self._share:
                return None
            self._left -= 1
            fault = self._chance.choice(self._faults)
            if fault in _OF_A_BODY and method != "GET":
                fault = Fault.RESET
            self.injected[fault] += 1
            return fault


class _Proxy(BaseHTTPRequestHandler):
    store: FaultyStore
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        data = self._body()
        fault = self.store.next_fault(self.command, self.path)
        if self.store.delay_s and self.store.delayed in f"{self.command} {self.path}":
            time.sleep(self.store.delay_s)
        if fault in _REFUSALS:
            status, code = _REFUSALS[fault]
            error = f"<Error><Code>{code}</Code><Message>as was asked for</Message></Error>"
            self._answer(status, {"Content-Type": "application/xml"}, error.encode())
            return
        upstream = http.client.HTTPConnection(self.store.upstream, timeout=60)
        try:
            upstream.request(self.command, self.path, data, dict(self.headers))
            given = upstream.getresponse()
            body = given.read()
        finally:
            upstream.close()
        headers = {name: value for name, value in given.getheaders() if name.lower() not in _HOP}
        if self.command == "HEAD":
            headers["Content-Length"] = given.getheader("Content-Length", "0")
        if given.status >= 400 and fault in _OF_A_BODY:
            fault = None
        self._answer(given.status, headers, body, fault)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None = None) -> None:
        half = len(body) // 2
        body = {Fault.SHORT: body[:half], Fault.EMPTY: b""}.get(fault, body) if fault else body
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in (Fault.RESET, Fault.CUT):
            self.wfile.write(body[:half])
            self.wfile.flush()
            self.close_connection = True
            if fault is Fault.RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()
            return
        if fault is Fault.STALL:
            self.wfile.write(body[:half])
            self.wfile.flush()
            time.sleep(STALL_S)
            body = body[half:]
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Let clients hang up: those that are killed do."""


@contextmanager
def faulty_s3(name: str, seed: int = 0) -> Iterator[tuple[str, FaultyStore]]:
    """Serve an empty bucket through a proxy, and point the AWS environment variables at it; (URI, its faults)."""
    with s3_bucket(name) as uri, pytest.MonkeyPatch.context() as patch:
        store = FaultyStore(os.environ["AWS_ENDPOINT_URL"], seed)
        with _Server(("127.0.0.1", 0), type("Proxy", (_Proxy,), {"store": store})) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
            try:
                yield uri, store
            finally:
                server.shutdown()
                thread.join()
