"""A page that is served to tests, and collections to show."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from aiohttp import web

from tests.helpers.coloured import COLOURS, NAMES
from tests.helpers.indexes import thumbnail, write_index
from vqa_ray.browse.dataset import Collection, open_collection
from vqa_ray.browse.search import Finder, VerifierConfig
from vqa_ray.browse.server import Server, Settings
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.models.fake.encoder import FakeEncoder
from vqa_ray.models.load import ModelOptions
from vqa_ray.predicates.parser import parse
from vqa_ray.readers import Source
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.uri import join

MARKUP = "<script>document.title='taken'</script>\"'&<img src=x onerror=alert(1)>"
HOSTILE = (
    MARKUP,
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "\u202egpj.exe\u202c",
    "שלום/תמונה.jpg",
    "a\x00b\x1b[31m\u2028.jpg",
    "{{ 7 * 7 }}{% raw %}",
    "' onfocus=alert(1) autofocus x='",
    "x" * 400,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @property
    def page(self) -> Page:
        return Page(self.text)


class Page(HTMLParser):
    """Elements with their attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str, /, **wanted: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for tag, attributes in self.elements
            if tag == name and all(attributes.get(key) == value for key, value in wanted.items())
        ]

    @property
    def opened(self) -> list[int]:
        """The positions of the rows that are shown, in order."""
        links = [each["href"] or "" for each in self.all("a") if "data-open" in each]
        return [int(link.removeprefix("/row/")) for link in links]

    @property
    def facets(self) -> set[tuple[str, str]]:
        return {
            ((each["name"] or "").removeprefix("f."), each["value"] or "")
            for each in self.all("input", type="checkbox")
            if (each["name"] or "").startswith("f.")
        }


class Site:
    """A client that sends paths as they are given."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str = "/", **headers: str) -> Reply:
        return self.ask("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: bytes | Iterator[bytes], **headers: str) -> Reply:
        return self.ask("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def ask(self, method: str, path: str, body: bytes | Iterator[bytes] | None, headers: Mapping[str, str]) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            chunked = body is not None and not isinstance(body, bytes)
            if isinstance(body, bytes) and "Content-Length" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body, encode_chunked=chunked)
            answered = connection.getresponse()
            return Reply(answered.status, dict(answered.getheaders()), answered.read())
        finally:
            connection.close()


@contextmanager
def served(server: Server) -> Iterator[Site]:
    """The server on a free port, in a thread, for as long as the block lasts."""
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(server.app(), handler_cancellation=True, access_log=None, shutdown_timeout=1)

    async def begin() -> None:
        await runner.setup()
        await web.SockSite(runner, listener).start()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(begin(), loop).result()
        yield Site(listener.getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        listener.close()


def coloured_vectors(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What the fake encoder makes of `tests.helpers.coloured` pictures: row i is of the colour `NAMES[i % 4]`."""
    images = [np.full((8, 8, 3), COLOURS[NAMES[row % len(NAMES)]], np.uint8) for row in range(count)]
    return FakeEncoder().encode_images(images)


def coloured_index(
    place: Path | str, count: int = 30, failed: Sequence[int] = (4,), **columns: Sequence[object] | pa.Array
) -> Collection:
    """An index of one-colour images with the kept column `colour`."""
    kept = {
        "colour": [NAMES[row % len(NAMES)] for row in range(count)],
        "thumbnail": [None if row in failed else thumbnail(COLOURS[NAMES[row % len(NAMES)]]) for row in range(count)],
        **columns,
    }
    write_index(place, coloured_vectors(count), failed=failed, columns=kept)
    return open_collection(str(place))


def on_disk(place: Path, images: Sequence[bytes]) -> dict[str, list[str]]:
    """Columns of an index whose images can be read again."""
    place.mkdir(parents=True, exist_ok=True)
    for row, data in enumerate(images):
        (place / f"{row}.jpg").write_bytes(data)
    uris = [str(place / f"{row}.jpg") for row in range(len(images))]
    return {"image_uri": uris, "sha256": [hashlib.sha256(data).hexdigest() for data in images]}


def finder_of(collection: Collection, asking: VerifierConfig | None = None) -> Finder:
    """A finder with the fake encoder."""
    assert collection.index is not None
    return Finder(collection.index, ModelOptions("fake:"), ImageLimits(), asking)


def fake_asking() -> VerifierConfig:
    """The fake VQA model, which writes its answers."""
    return VerifierConfig(ModelOptions("fake:"), parse)


def server_of(
    collection: Collection, *, asking: VerifierConfig | None = None, settings: Settings | None = None
) -> Server:
    """A server that can search what can be searched."""
    finder = None if collection.index is None else finder_of(collection, asking)
    return Server(collection, finder, can_verify=asking is not None, settings=settings)


def write_run(
    place: Path,
    job: str,
    table: pa.Table,
    *,
    finished: bool = True,
    source: Source | None = None,
    input_format: str = "images",
) -> str:
    """A run directory with these rows, of an input or of none that is there."""
    layout = RunDirectory(str(place))
    known: dict[str, Any] = {"uri": "nowhere", "format": input_format, "fingerprint": "f"}
    known |= {"rows": None, "several": False}
    if source is not None:
        known |= {"uri": source.config.uri, "format": source.format, "fingerprint": source.fingerprint}
    record = RunRecord(
        run_id="r1",
        job=job,
        started="2026-01-01T00:00:00Z",
        command={},
        model={"reference": "fake:", "family": "fake", "fingerprint": "fake-1", "score_meaning": "none"},
        input={**known, "shards": 1},
        versions={},
    )
    record.write(layout.record)
    write_table_atomic(join(layout.parts, "part-000000.parquet"), table)
    if finished:
        manifest.write(layout.manifest, json.loads('{"format": 1, "status": "finished"}'))
    return str(place)


def table_of(form: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of a schema; what is not given is null, ids and the tail follow the place."""
    usual = [
        {"row_id": place, "image_id": f"images/{place}.jpg", "status": "ok", "attempt": 1, "source_key": place}
        for place in range(len(rows))
    ]
    usual = [each | {"question_index": 0} for each in usual] if "question_index" in form.names else usual
    return pa.Table.from_pylist([{**each, **row} for each, row in zip(usual, rows, strict=True)], form)
