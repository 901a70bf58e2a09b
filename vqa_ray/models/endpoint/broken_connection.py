"""Why there is no connection to an endpoint, or why it broke, in words of the field."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vqa_ray.errors import one_line

if TYPE_CHECKING:
    import aiohttp


def reason(error: aiohttp.ClientError) -> str:
    """Return what an error of aiohttp means."""
    import aiohttp

    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the host {error.host} is not known"
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {error.host} is not trusted: {one_line(error.certificate_error)}"
        case aiohttp.ClientConnectorSSLError():
            return f"{error.host}:{error.port} does not speak TLS (https://)"
        case aiohttp.ClientConnectorError():
            return f"no connection to {error.host}:{error.port}: {_words(error.os_error)}"
        case aiohttp.ServerTimeoutError():
            return "no connection in time"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed before the answer"
        case aiohttp.ClientResponseError():
            return "the answer is no HTTP"
        case aiohttp.ClientPayloadError():
            return "the connection broke in the middle of the answer"
        case aiohttp.ClientOSError():
            return f"the connection broke: {_words(error)}"
        case _:
            return f"{type(error).__name__}: {one_line(error)}"


def _words(error: OSError) -> str:
    """Return what the system says; aiohttp puts several addresses and calls into one text."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else one_line(error)
