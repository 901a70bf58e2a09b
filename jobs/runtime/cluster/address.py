"""Probe the address of a Ray cluster within seconds, where `ray.init` retries for minutes."""

from __future__ import annotations

import errno
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar

from vqa_ray.errors import RequestError, one_line

_CONNECT_S = 5.0
_ANSWER_S = 10.0
# What an HTTP/2 client sends first (RFC 9113, 3.4: the preface and an empty SETTINGS frame); any gRPC server answers
# with a frame of its own, whose fourth byte tells that it is SETTINGS as well.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS_HEAD_BYTES, _SETTINGS = 4, 4
_HOST_PORT = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})$")
TOKEN_HINT = (
    "it wants a token: set RAY_AUTH_MODE=token, and put the cluster's token in ~/.ray/auth_token, RAY_AUTH_TOKEN_PATH "
    "or RAY_AUTH_TOKEN"
)

T = TypeVar("T")


class Address(NamedTuple):
    """An address as it was given.

    Attributes:
        text: host:port, `auto`, or something wrong.
        option: where it was given, --address or RAY_ADDRESS.
    """

    text: str
    option: str = "--address"

    def __str__(self) -> str:
        return f"{self.option} {self.text}"


def reachable(address: Address) -> str:
    """Check that Ray answers at `address`.

    Returns:
        host:port.

    Raises:
        RequestError: it is no address of a cluster, or no Ray that this driver can join answers there.
    """
    resolved = _resolved(address)
    _speaks_grpc(address, *_split(resolved, address))
    _is_ray(address, resolved)
    return resolved


def _resolved(address: Address) -> str:
    scheme, separator, rest = address.text.partition("://")
    if scheme == "ray" and separator:
        host = _split(rest, address)[0]
        raise RequestError(
            f"{address}: Ray Client (ray://) is not supported, because Ray Data runs within the cluster; on a machine "
            f"of the cluster: --address {host}:6379; from elsewhere: vqa-ray submit --address "
            f"http://{host}:8265 COMMAND …"
        )
    if separator:
        hint = "; http://… is for `vqa-ray submit`" if scheme.startswith("http") else ""
        raise RequestError(f"{address}: wanted host:port of the cluster's head (6379), auto or local{hint}")
    from ray._private import services

    if address.text != "auto":
        _split(address.text, address)
    try:
        return str(_within(_CONNECT_S, lambda: services.canonicalize_bootstrap_address(address.text)))
    except TimeoutError as error:
        raise _silent(address, "its name was not resolved") from error
    except (OSError, ValueError) as error:
        reason = "none was started on this machine" if address.text == "auto" else _reason(error)
        raise _silent(address, reason) from error


def _split(text: str, address: Address) -> tuple[str, int]:
    match = _HOST_PORT.match(text)
    if match is None or int(match[2]) > 65_535:
        raise RequestError(f"{address}: wanted host:port of the cluster's head (6379), auto or local")
    return match[1].strip("[]"), int(match[2])


def _connected(address: Address, host: str, port: int) -> socket.socket:
    try:
        return _within(_CONNECT_S * 2, lambda: socket.create_connection((host, port), _CONNECT_S))
    except TimeoutError as error:
        raise _silent(address, f"no answer within {_CONNECT_S:.0f} s") from error
    except OSError as error:
        raise _silent(address, _reason(error)) from error


def _speaks_grpc(address: Address, host: str, port: int) -> None:
    answer = b""
    with _connected(address, host, port) as connection:
        connection.settimeout(_CONNECT_S)
        with suppress(OSError):
            connection.sendall(_HELLO)
            while len(answer) < _SETTINGS_HEAD_BYTES and (more := connection.recv(64)):
                answer += more
    if len(answer) < _SETTINGS_HEAD_BYTES or answer[_SETTINGS_HEAD_BYTES - 1] != _SETTINGS:
        raise _silent(address, "something else listens there")


def _is_ray(address: Address, resolved: str) -> None:
    import ray
    from ray._private.authentication import authentication_token_setup as tokens
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    if address.text == "auto":
        # As `ray.init` does: a Ray of this machine gets the token of this machine.
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        # Without this check, a missing token aborts the process in Ray's core.
        tokens.ensure_token_if_auth_enabled(None, create_token_if_missing=False)
        _within(_ANSWER_S, lambda: GcsClient(address=resolved), (ray.exceptions.RayError, RuntimeError, OSError))
    except ray.exceptions.AuthenticationError as error:
        raise RequestError(f"{address}: Ray answers, but does not let this driver in: {TOKEN_HINT}") from error
    except (TimeoutError, ray.exceptions.RayError, RuntimeError, OSError) as error:
        raise _silent(address, f"something else listens there, or its head has died ({one_line(error)})") from error


def _silent(address: Address, reason: str) -> RequestError:
    return RequestError(
        f"{address}: no Ray answers at {address.text}: {reason}; without an address, a local Ray is started"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, OSError) and error.errno:
        return "connection refused" if error.errno == errno.ECONNREFUSED else one_line(os.strerror(error.errno))
    return one_line(error)


def _within(seconds: float, call: Callable[[], T], errors: tuple[type[Exception], ...] = (OSError, ValueError)) -> T:
    """Call a function that has no time-out of its own, such as name resolution and Ray's client.

    A thread that is late is left behind; it ends with the process.
    """
    outcome: list[T | Exception] = []

    def work() -> None:
        try:
            outcome.append(call())
        except errors as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="probe", daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(0.1)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
