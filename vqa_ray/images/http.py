"""Images from http:// and https://, from the public internet alone and within limits of size and time.

A row's URI comes from outside, and the cluster that fetches it can reach services that the outside cannot: metadata
services, dashboards, databases. So every address that a host resolves to is checked, and the connection goes to a
checked address; redirects pass the same check. Proxies of the environment are not used: they resolve names themselves.
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
from typing import TYPE_CHECKING, cast

import vqa_ray
from vqa_ray.errors import ErrorCode, RowError, StoreFailure

if TYPE_CHECKING:
    # Imported where images are fetched from the web, since it takes a quarter of a second.
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult
    from yarl import URL

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_GONE = (404, 410)
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_REFUSED = (401, 403)
_CHUNK_BYTES = 2**16
# RFC 6052: IPv6 addresses that a NAT64 gateway turns into the IPv4 address in their last 32 bits.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of the requests for one image.

    Attributes:
        connect_timeout_s: for the connection, TLS included.
        read_timeout_s: between two pieces of the response.
        total_timeout_s: for one attempt, redirects included.
        attempts: number of tries in all when failures are transient (a time-out, a broken connection, HTTP 429 or 5xx).
        backoff_s: pause after the first failure; it doubles each time.
        allow_private: connect to private addresses; for tests against loopback only.
    """

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 10.0
    total_timeout_s: float = 60.0
    attempts: int = 3
    backoff_s: float = 0.5
    allow_private: bool = False


class _TransientError(Exception):
    """A failure that another attempt may not meet; its text is the reason."""


def is_public(address: str) -> bool:
    """Tell whether an IP address is on the public internet: not private, loopback, link-local, multicast or reserved.

    An IPv6 address that carries an IPv4 address (mapped, 6to4, NAT64) counts as that one.
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
        shown = host if host == address else f"{host} is {address}"
        raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"not allowed: {shown}, which is not a public address")


class _PublicResolver:
    """An aiohttp resolver that refuses host names with a private address; aiohttp connects to what it returns."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            _require_public(host, result["host"])
        return results

    async def close(self) -> None:
        await self._resolver.close()


class HttpFetcher:
    """Fetches many URIs at once. Picklable; every call of `fetch_all` opens and closes its own connections.

    Args:
        max_image_bytes: a larger image is `image_too_large`, by its Content-Length or as soon as more bytes arrive.
        concurrency: number of images fetched at once.
        limits: of time, attempts and addresses.
    """

    def __init__(self, max_image_bytes: int, concurrency: int, limits: HttpLimits) -> None:
        self._max_bytes = max_image_bytes
        self._concurrency = concurrency
        self._limits = limits

    def fetch_all(self, uris: Sequence[str]) -> list[bytes | RowError]:
        """Return the bytes or the error of each URI. Must not be called from a running event loop."""
        return asyncio.run(self._fetch_all(uris))

    async def _fetch_all(self, uris: Sequence[str]) -> list[bytes | RowError]:
        gate = asyncio.Semaphore(self._concurrency)
        async with self._session() as session:

            async def fetch(uri: str) -> bytes | RowError:
                async with gate:
                    try:
                        return await self._fetch(session, uri)
                    except StoreFailure as error:
                        return StoreFailure(error.code, error.message, is_refusal=error.is_refusal)
                    except RowError as error:
                        return RowError(error.code, error.message)
                    except Exception as error:  # noqa: BLE001  URLs come from outside; each parser fails in its way.
                        # aiohttp, yarl and the resolver raise ValueError, UnicodeError, OverflowError and others.
                        reason = f"not a URL that can be fetched ({type(error).__name__}: {error})"
                        return RowError(ErrorCode.IMAGE_FETCH_FAILED, reason)

            return list(await asyncio.gather(*map(fetch, uris)))

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        limits = self._limits
        resolver: AbstractResolver = aiohttp.ThreadedResolver()
        if not limits.allow_private:
            resolver = cast("AbstractResolver", _PublicResolver(resolver))
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
        raise StoreFailure(ErrorCode.IMAGE_FETCH_FAILED, f"{reason} (attempts: {limits.attempts})")

    async def _attempt(self, session: aiohttp.ClientSession, uri: str) -> bytes:
        import aiohttp

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
        """Parse a URL that may be requested, relative to `base` for redirects."""
        from yarl import URL

        try:
            # Unchanged where possible: quoting a signed URL again would break its signature.
            url = URL(uri, encoded=uri.isascii() and uri.isprintable() and " " not in uri)
            url = base.join(url) if base is not None else url
            host, _port = url.host, url.port
        except ValueError as error:
            raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"not a URL: {error}") from error
        if url.scheme not in ("http", "https") or not host:
            kind = "redirected to a" if base is not None else "a"
            raise RowError(ErrorCode.IMAGE_FETCH_FAILED, f"not allowed: {kind} URL that is not http:// or https://")
        if not self._limits.allow_private:
            try:
                _require_public(host, host)
            except ValueError:
                # A name, not an address: the resolver checks its addresses.
                return url
        return url

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status in _GONE:
            raise RowError(ErrorCode.IMAGE_MISSING, f"HTTP {response.status}")
        if response.status in _TRANSIENT:
            raise _TransientError(f"HTTP {response.status}")
        if response.status in _REFUSED:
            raise StoreFailure(ErrorCode.IMAGE_FETCH_FAILED, f"HTTP {response.status}", is_refusal=True)
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
