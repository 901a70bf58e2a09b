"""The socket at which a command serves a page."""

from __future__ import annotations

import errno
import ipaddress
import socket

from vqa_ray.errors import RequestError


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket, before anything is read.

    Raises:
        RequestError: the address or the port is not available.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except socket.gaierror as error:
        raise RequestError(f"--host {host}: no such address: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RequestError(f"--port {port}: another program listens there; another port, or 0 for any") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise RequestError(f"--port {port}: not allowed; those from 1024 on are") from error
        raise RequestError(f"--host {host} --port {port}: {error.strerror}") from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether this machine alone can reach a listening socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def address_of(host: str, listener: socket.socket) -> str:
    """Return the address of the page, for a browser."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}/"
