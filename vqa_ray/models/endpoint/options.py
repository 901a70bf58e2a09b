"""The address, the key and the limits of an endpoint. Small, picklable, without the key itself."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field, replace
from typing import Literal, Self
from urllib.parse import urlsplit

from vqa_ray.errors import RequestError, one_line
from vqa_ray.models.endpoint.budget import Budget
from vqa_ray.models.endpoint.meter import Gate, Meter
from vqa_ray.models.endpoint.rate_limit import RateLimit
from vqa_ray.types import Usage

KEY = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """An endpoint, and how much may be asked of it at a time.

    Attributes:
        base_url: URL in front of `/chat/completions`.
        key_variable: environment variable of the key; None sends no key.
        concurrency: requests under way at a time.
        requests_per_minute, tokens_per_minute: limits; None for none.
        timeout_s: of one attempt.
        image_encoding: of the images in a request.
        budget: prices, and what all requests together may take.
        results: files of a batch's results, which answer in the place of the endpoint; empty to write requests for a
            batch; None asks the endpoint.
        asked: requests made shortly before by those that gave these options.
        gate: the meter of the run, which counts for several processes; None where a process counts for itself.
    """

    base_url: str
    key_variable: str | None = None
    concurrency: int = 32
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout_s: float = 120.0
    image_encoding: Literal["jpeg", "png"] = "jpeg"
    budget: Budget = field(default_factory=Budget)
    results: tuple[str, ...] | None = None
    asked: int = field(default=0, compare=False)
    gate: Gate | None = field(default=None, repr=False, compare=False)

    def meter(self, before: Usage | None = None) -> Meter:
        """Make a meter that holds the limits and the budget, and goes on from what was taken before."""
        limit = RateLimit(self.requests_per_minute, self.tokens_per_minute, asked=self.asked)
        return Meter(limit, self.budget, self.timeout_s, before)

    def share(self, actors: int) -> Self:
        """Return the options of one of several actors, with its part of the connections."""
        return replace(self, concurrency=max(1, self.concurrency // actors))

    def key(self) -> str | None:
        """Read the key from the environment of this process.

        Raises:
            RequestError: it is not set here, or cannot stand in a header.
        """
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise RequestError(f"{self.key_variable} is not set; the key of the endpoint is read from it on every node")
        if not (key.isascii() and key.isprintable()):
            raise RequestError(f"{self.key_variable} holds characters that no key has")
        return key


def checked_base_url(url: str, *, allow_http: bool) -> str:
    """Return a base URL without its closing slash.

    Raises:
        RequestError: it is no URL, holds credentials or a query, or sends the key and the images unencrypted.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
        # As the connection will: a label that is empty or too long.
        (host or "").encode("idna")
    except ValueError as error:
        raise RequestError(f"--base-url: not a URL: {one_line(error)}") from error
    if parts.username is not None or parts.password is not None:
        raise RequestError(f"--base-url: holds credentials; the key is read from {KEY}, or from --api-key-env NAME")
    if parts.query or parts.fragment:
        raise RequestError(
            f"--base-url: holds a query or a fragment (? or #), which would be recorded; a key is read from {KEY}, or "
            "from --api-key-env NAME"
        )
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise RequestError(
            f"--base-url {one_line(url)}: wanted http:// or https:// with a host, e.g. http://localhost:8000/v1"
        )
    if parts.scheme == "http" and not _is_loopback(host) and not allow_http:
        raise RequestError(
            f"--base-url {url}: http:// would send images and the key unencrypted to {host}; use https://, or "
            "--allow-http in a network that you trust"
        )
    return url.rstrip("/").removesuffix("/chat/completions")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
