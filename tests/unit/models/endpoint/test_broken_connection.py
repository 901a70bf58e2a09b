"""A connection that does not come about or breaks is named in words of the field."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.endpoint.probe import require_answer

Serve = Callable[[socket.socket], object]


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


def _answer(text: bytes) -> Serve:
    return lambda connection: (connection.recv(2**16), connection.sendall(text), connection.close())


def _reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize(
    ("scheme", "serve", "reason"),
    [
        ("http", _answer(b""), "the connection was closed before the answer"),
        ("http", _reset, "the connection broke: Connection reset by peer"),
        ("http", _answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "broke in the middle of the answer"),
        ("http", _answer(b"hello\r\n\r\n"), "the answer is no HTTP"),
        ("http", _answer(_HEAD + b"Content-Encoding: gzip\r\n\r\nab"), "broke in the middle of the answer"),
        ("http", _answer(_HEAD + b"Content-Encoding: br\r\n\r\nab"), "the answer is no HTTP"),
        ("http", _answer(_HEAD + b"X: " + b"a" * 10**6 + b"\r\n\r\nab"), "the answer is no HTTP"),
        ("http", _answer(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), "the answer is no HTTP"),
        ("https", _answer(b"hello\r\n\r\n"), r"127.0.0.1:\d+ does not speak TLS"),
    ],
)
def test_what_broke_is_said_in_one_line(scheme: str, serve: Serve, reason: str) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def run() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                serve(connection)

        threading.Thread(target=run, daemon=True).start()
        url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/v1"
        with pytest.raises(RequestError, match=rf"^model openai:x: {url}: .*{reason} ?.*\(attempts: 3\)$"):
            require_answer("openai:x", EndpointOptions(url))
        listening.shutdown(socket.SHUT_RDWR)


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(RequestError, match=r"the host nowhere\.invalid is not known"):
        require_answer("openai:x", EndpointOptions("https://nowhere.invalid/v1"))
