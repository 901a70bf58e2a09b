"""The page of `vqa-ray watch`, rendered anew for each request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection

from aiohttp import web

from vqa_ray.browse.csrf import access_guard
from vqa_ray.errors import RequestError, one_line
from vqa_ray.report.live_report import live_report
from vqa_ray.report.report_page import render_report
from vqa_ray.runs.run_state import RunState

# The page holds its styles and pictures, and no script.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


def serve(listener: socket.socket, read: Callable[[], RunState], hosts: Collection[str]) -> None:
    """Serve the page until the process receives a signal.

    Args:
        listener: where browsers ask.
        read: reads the state of the run.
        hosts: allowed names of the server, beside `localhost` and IP addresses.
    """
    web.run_app(
        app(read, hosts), sock=listener, print=None, access_log=None, handle_signals=False, shutdown_timeout=2.0
    )


def app(read: Callable[[], RunState], hosts: Collection[str]) -> web.Application:
    """Make the application; see `serve`."""
    # One reader at a time: many tabs ask a store no more often than one does.
    turn = asyncio.Lock()

    async def page(_: web.Request) -> web.Response:
        async with turn:
            try:
                text = await asyncio.to_thread(_rendered, read)
            except RequestError as error:
                return web.Response(status=503, text=f"{one_line(error, 1000)}\n", headers={"Refresh": "10"})
        return web.Response(
            body=text.encode("utf-8", "replace"),
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": _POLICY},
        )

    application = web.Application(middlewares=[access_guard(hosts)])
    application.router.add_get("/", page)
    return application


def _rendered(read: Callable[[], RunState]) -> str:
    return render_report(live_report(read()))
