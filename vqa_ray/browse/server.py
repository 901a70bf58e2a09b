"""The web server of the page."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Collection as Several
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import resources

import numpy as np
import pyarrow as pa
from aiohttp import web
from aiohttp.typedefs import Handler

from vqa_ray.browse.csrf import HEADERS, access_guard
from vqa_ray.browse.dataset import Collection
from vqa_ray.browse.export import MEDIA_TYPES, Form, export_rows
from vqa_ray.browse.model_queue import BusyError, ModelQueue
from vqa_ray.browse.originals import LARGE_SIDE
from vqa_ray.browse.replies import MIB, html, jpeg, picture_missing, plain, problem_of, problem_page, too_large
from vqa_ray.browse.search import Finder, SearchHits, VisualQuery
from vqa_ray.browse.templates import render
from vqa_ray.browse.text_filter import Mask, rows_with_words
from vqa_ray.browse.uploads import Uploads
from vqa_ray.browse.url_state import By, UrlState
from vqa_ray.browse.view_model import (
    Capabilities,
    Problem,
    ResultPage,
    make_page,
    row_values,
    rows_found,
    rows_in_order,
)
from vqa_ray.errors import RequestError, RowError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.thumbnail import PREVIEW_SIDE

logger = logging.getLogger(__name__)

_ASSETS = {"browse.css": "text/css", "browse.js": "text/javascript", "icon.svg": "image/svg+xml"}
_SHUTDOWN_S = 2.0
_READERS = 6


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of the server.

    Attributes:
        hosts: allowed names of the server, beside `localhost` and IP addresses.
        limits: of a query image; its `max_image_bytes` is the largest body that is read.
        timeout_s: time a request waits for its search.
        max_queued: searches that wait for the models.
    """

    hosts: Several[str] = ()
    limits: ImageLimits = field(default_factory=lambda: ImageLimits(max_image_bytes=16 * MIB))
    timeout_s: float = 120.0
    max_queued: int = 16


class Server:
    """Serves the page of one collection.

    Args:
        collection: to show.
        finder: searches it by similarity; None for word search only.
        can_verify: whether the finder verifies hits.
        settings: limits.
    """

    def __init__(
        self,
        collection: Collection,
        finder: Finder | None = None,
        *,
        can_verify: bool = False,
        settings: Settings | None = None,
    ) -> None:
        self._collection = collection
        self._finder = finder
        self._settings = settings or Settings()
        limit = self._settings.limits.max_image_bytes
        self._capabilities = Capabilities(finder is not None, finder is not None and can_verify, limit)
        self._default_by: By = "similarity" if finder is not None else "words"
        self._uploads = Uploads(self._settings.limits)
        self._assets = {name: resources.files("vqa_ray.browse").joinpath(name).read_bytes() for name in _ASSETS}

    def app(self) -> web.Application:
        """Make the application for aiohttp's runners; call it once."""
        app = web.Application(
            middlewares=[access_guard(self._settings.hosts), self._with_problems],
            client_max_size=self._settings.limits.max_image_bytes,
        )
        app.router.add_get("/", self._page)
        app.router.add_get(r"/row/{position:[0-9]{1,12}}", self._row)
        app.router.add_get(r"/thumbnail/{position:[0-9]{1,12}}", self._thumbnail)
        app.router.add_get(r"/picture/{position:[0-9]{1,12}}", self._picture)
        app.router.add_get(r"/export.{form:csv|json}", self._export)
        app.router.add_get(r"/query-image/{token:[0-9a-f]{32}}", self._query_image)
        app.router.add_post("/image", self._upload)
        for name in _ASSETS:
            app.router.add_get(f"/assets/{name}", self._asset)
        # Separate threads, so that a page does not wait for pictures that are slow to read.
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="vqa-ray-picture")
        self._queue: ModelQueue[SearchHits] = ModelQueue(self._settings.max_queued, self._settings.timeout_s)
        app.on_startup.append(self._begin)
        app.on_cleanup.append(self._close)
        return app

    def run(self, listener: socket.socket) -> None:
        """Serve until the process receives a signal."""
        web.run_app(
            self.app(),
            sock=listener,
            print=None,
            access_log=None,
            # A queued search that nobody waits for any more is not started.
            handler_cancellation=True,
            # The command installs its own handlers; a KeyboardInterrupt ends the server.
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_S,
        )

    async def _begin(self, _app: web.Application) -> None:
        if self._finder is not None:
            self._queue.begin(self._finder.load)

    async def _close(self, _app: web.Application) -> None:
        self._queue.close()
        self._readers.shutdown(wait=False, cancel_futures=True)

    @web.middleware
    async def _with_problems(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return too_large(self._settings.limits.max_image_bytes)
        except web.HTTPNotFound:
            return problem_page(404, "Not found", "There is no page at this address.")
        except web.HTTPException as error:
            return problem_page(error.status, error.reason, "The server does not support this request.")
        except (OSError, pa.ArrowException):
            logger.exception("%s %s failed", request.method, request.path)
            return problem_page(
                500,
                "The files cannot be read",
                "They were changed or deleted after vqa-ray browse was started, or their store does not answer; "
                "the terminal where it runs names them. Restart it when they are available again.",
            )
        except Exception:
            # The server goes on with the next request; the terminal shows the traceback.
            logger.exception("%s %s failed", request.method, request.path)
            return problem_page(500, "Internal error", "The terminal where vqa-ray browse runs shows the reason.")

    async def _page(self, request: web.Request) -> web.Response:
        status, problem, results = 200, None, None
        try:
            view = UrlState.parse(request.query.items(), self._default_by)
        except RequestError as error:
            view = UrlState(by=self._default_by)
            return await self._answer(400, view, None, problem_of("Invalid address", error))
        try:
            results = await self._results(view)
        except BusyError as error:
            status, problem = 503, problem_of("The model is busy", error)
        except RequestError as error:
            status, problem = 400, problem_of("Invalid search", error)
        return await self._answer(status, view, results, problem)

    async def _answer(
        self, status: int, view: UrlState, results: ResultPage | None, problem: Problem | None
    ) -> web.Response:
        def made() -> bytes:
            return render("page.html.j2", page=make_page(self._collection, view, results, self._capabilities, problem))

        response = html(status, await asyncio.to_thread(made))
        if status == 503:
            response.headers["Retry-After"] = "5"
        return response

    async def _results(self, view: UrlState) -> ResultPage:
        among, pool = await asyncio.to_thread(self._filtered, view)
        if not view.is_search:
            return rows_in_order(self._collection, view, among & pool, pool)
        if self._finder is None:
            raise RequestError("similarity search is not available here; search for words instead")
        found = await self._found(self._finder, view, among & pool)
        return rows_found(found, view, pool)

    def _filtered(self, view: UrlState) -> tuple[Mask, Mask]:
        """bool (N,) each: rows that match the selected facets, and rows that hold the words."""
        rows = self._collection.rows
        pool = rows_with_words(rows, view.words) if view.words else np.ones(len(self._collection), np.bool_)
        return self._collection.facets.mask(view.selected_by_facet()), pool

    async def _found(self, finder: Finder, view: UrlState, among: Mask) -> SearchHits:
        text = view.text if view.by == "similarity" else ""
        query = VisualQuery(text, self._uploads.get(view.image).data if view.image else None, view.like)
        key = (text, view.words, view.image, view.like, view.verify, frozenset(view.selected))
        return await self._queue.ask(key, lambda: finder.find(query, among, view.verify))

    async def _row(self, request: web.Request) -> web.Response:
        position = int(request.match_info["position"])
        try:
            values = await asyncio.to_thread(row_values, self._collection, position)
        except IndexError:
            return problem_page(404, "No such row", f"There are {len(self._collection):,} rows, counted from 0.")
        return html(200, await asyncio.to_thread(lambda: render("row.html.j2", **values)))

    async def _thumbnail(self, request: web.Request) -> web.Response:
        position = int(request.match_info["position"])
        if position >= len(self._collection):
            raise web.HTTPNotFound
        (picture,) = await asyncio.to_thread(self._collection.thumbnails.of, [position])
        return await self._original(position, PREVIEW_SIDE) if picture is None else jpeg(picture)

    async def _picture(self, request: web.Request) -> web.Response:
        position = int(request.match_info["position"])
        if position >= len(self._collection):
            raise web.HTTPNotFound
        if self._collection.originals.has(position):
            large = await self._original(position, LARGE_SIDE)
            if large.status == 200:
                return large
        (picture,) = await asyncio.to_thread(self._collection.thumbnails.of, [position])
        return await self._original(position, LARGE_SIDE) if picture is None else jpeg(picture)

    async def _original(self, position: int, side: int) -> web.Response:
        """Return a preview of the image of a row, or a drawing with the reason why it is not available."""
        if not self._collection.originals.has(position):
            raise web.HTTPNotFound
        try:
            read = self._collection.originals.preview
            preview = await asyncio.get_running_loop().run_in_executor(self._readers, read, position, side)
        except RowError as error:
            return picture_missing(error)
        return jpeg(preview.jpeg)

    async def _export(self, request: web.Request) -> web.StreamResponse:
        form: Form = "csv" if request.match_info["form"] == "csv" else "json"
        try:
            results = await self._results(UrlState.parse(request.query.items(), self._default_by))
        except BusyError as error:
            return plain(503, str(error))
        except RequestError as error:
            return plain(400, str(error))
        response = web.StreamResponse(headers=HEADERS)
        response.content_type, response.charset = MEDIA_TYPES[form], "utf-8"
        response.headers["Content-Disposition"] = f'attachment; filename="selection.{form}"'
        await response.prepare(request)
        pieces = export_rows(self._collection, results, form)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            await response.write(piece)
        await response.write_eof()
        return response

    async def _query_image(self, request: web.Request) -> web.Response:
        try:
            return jpeg(self._uploads.get(request.match_info["token"]).thumbnail)
        except RequestError as error:
            raise web.HTTPNotFound from error

    async def _upload(self, request: web.Request) -> web.Response:
        if not self._capabilities.can_search_similar:
            return plain(409, "similarity search is not available here")
        if (request.content_length or 0) > self._settings.limits.max_image_bytes:
            return too_large(self._settings.limits.max_image_bytes)
        data = await request.read()
        try:
            token = await asyncio.to_thread(self._uploads.add, data)
        except RowError as error:
            return plain(422, f"this image cannot be searched by: {error.message} ({error.code})")
        return web.json_response({"image": token})

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        return web.Response(body=self._assets[name], content_type=_ASSETS[name], charset="utf-8")
