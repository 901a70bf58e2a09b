"""Which requests the server accepts, and the security headers of its responses."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_allowed_host(host: str, allowed: Collection[str]) -> bool:
    """Whether a Host header may name this server: an IP address or a known name.

    A hostile site can point its own name at this machine, so that a browser sends us requests under that name (DNS
    rebinding). It cannot do so with an IP address.

    Args:
        host: the header, with or without a port.
        allowed: names in lower case.
    """
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name in allowed:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_cross_site(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a page of another site sent the request, as its browser says. Links from other sites are allowed."""
    site = headers.get("Sec-Fetch-Site")
    if site in (None, "same-origin", "none"):
        # Older browsers lack Sec-Fetch-Site, but send an Origin with a POST.
        origin = headers.get("Origin")
        return method != "GET" and origin is not None and origin.partition("://")[2] != headers.get("Host")
    return not (method == "GET" and headers.get("Sec-Fetch-Mode") == "navigate")


def access_guard(hosts: Collection[str]) -> Middleware:
    """Make the middleware that refuses unknown hosts and other sites, and adds the security headers.

    Args:
        hosts: allowed names of this server, beside `localhost` and IP addresses.
    """
    allowed = frozenset({"localhost", *(host.lower() for host in hosts)})

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_allowed_host(request.headers.get("Host", ""), allowed):
            response: web.StreamResponse = web.Response(
                status=403, text="403: this server is not known by that name; see vqa-ray browse --allow-host\n"
            )
        elif is_cross_site(request.method, request.headers):
            response = web.Response(status=403, text="403: pages of other sites may not ask here\n")
        else:
            response = await handler(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return guard
