"""The web server of a review: one answer at a time, with keys for the verdict."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Collection as Several
from importlib import resources
from typing import Any
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from vqa_ray.browse.csrf import access_guard
from vqa_ray.browse.dataset import Collection
from vqa_ray.browse.replies import html, jpeg, picture_missing, problem_page
from vqa_ray.errors import RequestError, RowError, one_line
from vqa_ray.report.row_cards import title_of
from vqa_ray.report.templates import environment
from vqa_ray.review.items import Items
from vqa_ray.review.pictures import ReviewPictures
from vqa_ray.review.session import Review
from vqa_ray.storage.uri import name_of

logger = logging.getLogger(__name__)

_ASSETS = {
    "browse.css": ("vqa_ray.browse", "text/css"),
    "icon.svg": ("vqa_ray.browse", "image/svg+xml"),
    "review.css": ("vqa_ray.review", "text/css"),
    "review.js": ("vqa_ray.review", "text/javascript"),
}
_SHUTDOWN_S = 2.0
# Of the form with a verdict.
_MOST_BYTES = 64 * 1024


class ReviewServer:
    """Serves the page of one review.

    Args:
        collection: the run.
        items: its answers.
        review: the sample and its verdicts.
        pictures: of the rows.
        hosts: allowed names of the server, beside `localhost` and IP addresses.
    """

    def __init__(
        self,
        collection: Collection,
        items: Items,
        review: Review,
        pictures: ReviewPictures,
        hosts: Several[str] = (),
    ) -> None:
        self._collection = collection
        self._items = items
        self._review = review
        self._pictures = pictures
        self._hosts = hosts
        self._template = environment("vqa_ray.review", "the page", "browse").get_template("review.html.j2")
        self._assets = {
            name: resources.files(package).joinpath(name).read_bytes() for name, (package, _) in _ASSETS.items()
        }
        # One verdict at a time reaches the file.
        self._writing = asyncio.Lock()

    def app(self) -> web.Application:
        """Make the application for aiohttp's runners; call it once."""
        app = web.Application(middlewares=[access_guard(self._hosts), self._with_problems], client_max_size=_MOST_BYTES)
        number = r"{number:[0-9]{1,9}}"
        app.router.add_get("/", self._first)
        app.router.add_get("/done", self._done)
        app.router.add_get(f"/item/{number}", self._item)
        app.router.add_post(f"/item/{number}", self._judge)
        app.router.add_post("/undo", self._undo)
        app.router.add_get(f"/picture/{number}", self._picture)
        for name in _ASSETS:
            app.router.add_get(f"/assets/{name}", self._asset)
        return app

    def run(self, listener: socket.socket) -> None:
        """Serve until the process receives a signal.

        Args:
            listener: a bound TCP socket.
        """
        web.run_app(
            self.app(),
            sock=listener,
            print=None,
            access_log=None,
            # The command installs its own handlers; a KeyboardInterrupt ends the server.
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_S,
        )

    @web.middleware
    async def _with_problems(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._answer(request, handler)
        # Without a referrer, browsers send forms with `Origin: null`, which is no proof of where they come from.
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return problem_page(404, "Not found", "There is no page at this address.")
        except web.HTTPException as error:
            return problem_page(error.status, error.reason, "The server does not support this request.")
        except RequestError as error:
            return problem_page(400, "No verdict", one_line(error, 1_000))
        except OSError as error:
            logger.exception("%s %s failed", request.method, request.path)
            reason = f"{one_line(error, 300)}. Earlier verdicts are safe; go back and try again."
            return problem_page(500, "The verdict was not saved", reason)

    async def _first(self, _: web.Request) -> web.Response:
        return self._redirect(self._review.next())

    async def _done(self, _: web.Request) -> web.Response:
        return html(200, self._render(item=None))

    async def _item(self, request: web.Request) -> web.Response:
        number = self._number(request)
        item = self._review.items[number]
        following = self._review.next(number)
        values = {
            "number": number,
            "item": item,
            "title": title_of(item.row),
            "choices": await asyncio.to_thread(self._items.choices, item),
            "label": self._review.label(number),
            "has_picture": self._collection.originals.has(item.position),
            "following": following if following != number else None,
            "problem": request.query.get("problem", ""),
        }
        return html(200, self._render(**values))

    async def _judge(self, request: web.Request) -> web.Response:
        number = self._number(request)
        form = await request.post()
        verdict, typed = str(form.get("verdict", "")), str(form.get("answer", ""))
        if verdict == "skip":
            self._review.skip(number)
        elif verdict == "other" and not typed.strip():
            return _see(f"/item/{number}?problem={quote('Type the right answer first.')}")
        else:
            uri = self._pictures.uri(self._review.items[number].position)
            async with self._writing:
                await asyncio.to_thread(self._review.judge, number, verdict, typed, uri)
        return self._redirect(self._review.next(number))

    async def _undo(self, _: web.Request) -> web.Response:
        async with self._writing:
            number = await asyncio.to_thread(self._review.undo)
        return self._redirect(self._review.next() if number is None else number)

    async def _picture(self, request: web.Request) -> web.Response:
        position = self._review.items[self._number(request)].position
        try:
            return jpeg(await asyncio.to_thread(self._pictures.jpeg, position))
        except RowError as error:
            return picture_missing(error)

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        return web.Response(body=self._assets[name], content_type=_ASSETS[name][1], charset="utf-8")

    def _number(self, request: web.Request) -> int:
        number = int(request.match_info["number"])
        if number >= len(self._review.items):
            raise web.HTTPNotFound
        return number

    def _render(self, **values: Any) -> bytes:
        name, notes = name_of(self._collection.uri), self._collection.notes
        # Names may hold lone surrogates, which UTF-8 cannot encode.
        return self._template.render(review=self._review, name=name, notes=notes, **values).encode("utf-8", "replace")

    @staticmethod
    def _redirect(number: int | None) -> web.Response:
        return _see("/done" if number is None else f"/item/{number}")


def _see(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})
