"""Images from http:// and https://, from the public internet alone and within limits of size and time.

A row's URI comes from outside, and the cluster that fetches it can reach what the outside cannot: metadata services,
dashboards, databases. So every address that a host resolves to is checked, and the connection goes to a checked
address; redirects pass the same gate. Proxies of the environment are not used, since they would resolve on their own.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import random
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

import vqa_ray
from vqa_ray.errors import ErrorCode, RowError

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_GONE = (404, 410)
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_CHUNK_BYTES = 2**16
# RFC 6052: IPv6 addresses that a NAT64 gateway turns into the IPv4 address in their last 32 bits.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What fetching one image may take.

    Attributes:
        connect_timeout_s: for the connection, TLS included.
        read_timeout_s: between two pieces of the answer.
        total_timeout_s: for one attempt, redirects included.
        attempts: how often a transient failure (a time-out, a broken connection, HTTP 429 or 5xx) is tried.
        backoff_s: pause after the first failure; it doubles each time.
    """

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 10.0
    total_timeout_s: float = 60.0
    attempts: int = 3
    backoff_s: float = 0.5


class _TransientError(Exception):
    """A failure that another attempt may cure; its text is the reason."""


def is_public(address: str) -> bool:
    """Whether an IP address lies in the public internet: not private, loopback, link-local, multicast or reserved.

    IPv6 addresses that carry an IPv4 address (mapped, 6to4, NAT64) are judged by it.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if embedded is None and ip in _NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = embedded or ip
    return ip.is_global and not ip.is_multicast


def _require_public(host: str, address: str) -> None:
    if not is_public(address):
        place = host if host == address else f"{host} is {address}"
        raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"not allowed: {place}, which is not a public address")


class _PublicResolver(aiohttp.ThreadedResolver):
    """Resolves host names and refuses those with an address inside. aiohttp connects to what this returns."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await super().resolve(host, port, family)
        for result in results:
            _require_public(host, result["host"])
        return results


class HttpFetcher:
    """Fetches many URIs at once. Picklable; every call of `fetch_all` opens and closes its own connections."""

    def __init__(
        self, max_image_bytes: int, concurrency: int, limits: HttpLimits | None = None, *, allow_private: bool = False
    ) -> None:
        """
        Args:
            max_image_bytes: a larger image is `image_too_large`, by its Content-Length or once that much has come.
            concurrency: how many are fetched at once.
            limits: of time and attempts.
            allow_private: connect to any address; for tests against loopback only.
        """
        self._max_bytes = max_image_bytes
        self._concurrency = concurrency
        self._limits = limits or HttpLimits()
        self._allow_private = allow_private

    def fetch_all(self, uris: Sequence[str]) -> list[bytes | RowError]:
        """The bytes of each URI, or why there are none. Must not be called from a running event loop."""
        return asyncio.run(self._fetch_all(uris))

    async def _fetch_all(self, uris: Sequence[str]) -> list[bytes | RowError]:
        gate = asyncio.Semaphore(self._concurrency)
        async with self._session() as session:

            async def fetch(uri: str) -> bytes | RowError:
                async with gate:
                    try:
                        return await self._fetch(session, uri)
                    except RowError as error:
                        return RowError(error.code, error.message)
                    except Exception as error:  # noqa: BLE001  The URL is a stranger's; each parser fails in its way.
                        # aiohttp, yarl and the resolver raise ValueError, UnicodeError, OverflowError and others.
                        reason = f"not a URL that can be fetched ({type(error).__name__}: {error})"
                        return RowError(ErrorCode.IMAGE_FETCH_FAILED, reason)

            return list(await asyncio.gather(*map(fetch, uris)))

    def _session(self) -> aiohttp.ClientSession:
        limits = self._limits
        resolver = aiohttp.ThreadedResolver() if self._allow_private else _PublicResolver()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency, resolver=resolver, ssl=_tls()),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=limits.connect_timeout_s, sock_read=limits.read_timeout_s
            ),
            headers={"User-Agent": f"vqa-ray/{vqa_ray.__version__}", "Accept-Encoding": "identity"},
            auto_decompress=False,
        )

    async def _fetch(self, session: aiohttp.ClientSession, uri: str) -> bytes:
        limits = self._limits
        reason = ""
        for attempt in range(limits.attempts):
            if attempt > 0:
                # Jitter, so that the workers of a cluster do not come back all at once.
                await asyncio.sleep(limits.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
            try:
                async with asyncio.timeout(limits.total_timeout_s):
                    return await self._attempt(session, uri)
            except TimeoutError:
                reason = f"not complete within {limits.total_timeout_s:g} s"
            except _TransientError as error:
                reason = str(error)
        raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"{reason} (attempts: {limits.attempts})")

    async def _attempt(self, session: aiohttp.ClientSession, uri: str) -> bytes:
        url = self._checked(uri)
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                async with session.get(url, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await self._body(response)
                    url = self._checked(response.headers.get("Location", ""), url)
            except aiohttp.InvalidURL as error:
                raise RowError(ErrorCode.IMAGE_FETCH_FAILED, "not a URL that can be fetched") from error
            except TimeoutError as error:
                raise _TransientError("the server did not answer in time") from error
            except (aiohttp.ClientError, OSError) as error:
                raise _TransientError(f"{type(error).__name__}: {error}") from error
        raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"more than {_MAX_REDIRECTS} redirects")

    def _checked(self, uri: str, base: URL | None = None) -> URL:
        """A URL that may be requested, relative to `base` for redirects."""
        try:
            # As it is where it can be: a signed URL does not survive being quoted anew.
            url = URL(uri, encoded=uri.isascii() and uri.isprintable() and " " not in uri)
            url = base.join(url) if base is not None else url
            host, _port = url.host, url.port
        except ValueError as error:
            raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"not a URL: {error}") from error
        if url.scheme not in ("http", "https") or not host:
            kind = "redirected to a" if base is not None else "a"
            raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"not allowed: {kind} URL that is not http:// or https://")
        if not self._allow_private:
            try:
                _require_public(host, host)
            except ValueError:
                # A name, not an address: the resolver checks what it stands for.
                return url
        return url

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status in _GONE:
            raise RowError(ErrorCode.IMAGE_MISSING, f"HTTP {response.status}")
        if response.status in _TRANSIENT:
            raise _TransientError(f"HTTP {response.status}")
        if response.status != 200:
            raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"HTTP {response.status}")
        if response.content_length is not None and response.content_length > self._max_bytes:
            raise self._too_large(f"{response.content_length} bytes")
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_bytes:
                raise self._too_large("more bytes")
        return bytes(body)

    def _too_large(self, size: str) -> RowError:
        return RowError(ErrorCode.IMAGE_TOO_LARGE, f"{size}; at most {self._max_bytes} are allowed")


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
