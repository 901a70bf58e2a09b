"""One image URI → its bytes, from local files, object stores and, where allowed, the web; a page of a PDF as a PNG."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from vqa_ray.errors import ErrorCode, RequestError, RowError, StoreFailure
from vqa_ray.images.http import HttpFetcher, HttpLimits
from vqa_ray.images.page_refs import PageLimits, is_pdf, split_page
from vqa_ray.images.page_renderer import MAX_DOCUMENT_BYTES, page_renderer
from vqa_ray.storage.data_uris import decode_data_uri, is_data_uri
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.redaction import without_secrets
from vqa_ray.storage.store_errors import store_reason, suspicion
from vqa_ray.storage.uri import scheme_of

_WEB = ("http", "https")
# The other schemes of fsspec (chained caches, archives, code hosts) would lead a row's URI past the checks of the web.
_STORES = ("file", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "hf", "memory")
# Whole documents that are in memory together; each may have `MAX_DOCUMENT_BYTES`.
_DOCUMENTS_AT_ONCE = 8


class Fetcher(Protocol):
    """Fetches images."""

    def fetch_all(self, uris: Collection[str]) -> dict[str, bytes | RowError]:
        """Fetch each distinct URI once and return its bytes or its error."""


class ImageFetcher:
    """Fetches images within limits. Picklable.

    Object stores retry transient failures on their own, as configured in `vqa_ray.storage.filesystem`.

    Args:
        max_image_bytes: a larger image is `image_too_large`; at most one byte more is fetched.
        allow_http: fetch http:// and https:// too.
        concurrency: number of images fetched at once.
        http_limits: time, attempts and addresses for http:// and https://.
        page_limits: resolution of pages of PDF files, which may be larger than `max_image_bytes`.
    """

    def __init__(
        self,
        max_image_bytes: int,
        *,
        allow_http: bool = False,
        concurrency: int = 16,
        http_limits: HttpLimits | None = None,
        page_limits: PageLimits | None = None,
    ) -> None:
        if concurrency < 1:
            raise RequestError(f"fetch concurrency is {concurrency}; it must be at least 1")
        self._max_bytes = max_image_bytes
        self._allow_http = allow_http
        self._concurrency = concurrency
        self._http_limits = http_limits or HttpLimits()
        self._page_limits = page_limits or PageLimits()

    def fetch(self, uri: str) -> bytes:
        """Return the bytes of one image; a `data:` URI is decoded.

        Raises:
            RowError: `image_missing`, `image_too_large` or `image_fetch_failed`; the last as a `StoreFailure` where the
                store may be to blame.
        """
        outcome = self.fetch_all([uri])[uri]
        if isinstance(outcome, RowError):
            raise outcome
        return outcome

    def fetch_all(self, uris: Collection[str]) -> dict[str, bytes | RowError]:
        """Fetch each distinct URI once and return its bytes or its error."""
        pages = {uri: parts for uri in uris if (parts := split_page(uri))}
        outcomes = self._fetch_files([uri for uri in uris if uri not in pages], self._max_bytes)
        documents: dict[str, dict[int | None, str]] = {}
        for uri, (document, page) in pages.items():
            documents.setdefault(document, {})[page] = uri
        names = list(documents)
        for first in range(0, len(names), _DOCUMENTS_AT_ONCE):
            group = names[first : first + _DOCUMENTS_AT_ONCE]
            for document, data in self._fetch_files(group, MAX_DOCUMENT_BYTES).items():
                outcomes.update(self._pages(data, documents[document]))
        return outcomes

    def _pages(self, data: bytes | RowError, named: Mapping[int | None, str]) -> dict[str, bytes | RowError]:
        """Render pages of one document: page → URI gives URI → PNG file."""
        if isinstance(data, RowError):
            return dict.fromkeys(named.values(), data)
        if not is_pdf(data) and set(named) == {None}:
            # An image whose name says otherwise.
            is_large = len(data) > self._max_bytes
            return {named[None]: _too_large(self._max_bytes) if is_large else data}
        rendered = page_renderer().render(data, named, self._page_limits)
        return {named[page]: outcome for page, outcome in rendered.items()}

    def _fetch_files(self, uris: Collection[str], max_bytes: int) -> dict[str, bytes | RowError]:
        distinct = list(dict.fromkeys(uris))
        if not distinct:
            return {}
        web = [uri for uri in distinct if scheme_of(uri) in _WEB]
        stored = [uri for uri in distinct if scheme_of(uri) not in _WEB]
        outcomes: dict[str, bytes | RowError] = {}
        with ThreadPoolExecutor(max_workers=self._concurrency, thread_name_prefix="fetch") as pool:
            # In a thread of its own: the caller's may be running an event loop.
            from_web = pool.submit(self._from_web, web, max_bytes) if web else None
            outcomes.update(zip(stored, pool.map(lambda uri: self._from_store(uri, max_bytes), stored), strict=True))
            if from_web is not None:
                outcomes.update(zip(web, from_web.result(), strict=True))
        return {uri: _without_secrets(outcome, uri) for uri, outcome in outcomes.items()}

    def _from_web(self, uris: list[str], max_bytes: int) -> list[bytes | RowError]:
        if not self._allow_http:
            refused = "http:// and https:// images are fetched only with --allow-http"
            return [RowError(ErrorCode.IMAGE_FETCH_FAILED, f"not allowed: {refused}") for _ in uris]
        return HttpFetcher(max_bytes, self._concurrency, self._http_limits).fetch_all(uris)

    def _from_store(self, uri: str, max_bytes: int) -> bytes | RowError:
        if is_data_uri(uri):
            try:
                return decode_data_uri(uri, max_bytes)
            except RowError as error:
                return RowError(error.code, error.message)
        scheme = scheme_of(uri)
        if scheme not in _STORES:
            known = ", ".join(("paths", *_STORES, *_WEB))
            return RowError(ErrorCode.IMAGE_FETCH_FAILED, f"unknown scheme {scheme[:40]!r}; known are {known}")
        try:
            return read_bytes(uri, max_bytes)
        except Exception as error:  # noqa: BLE001  Each store has exceptions of its own, from no common root.
            return _failure(error, max_bytes)


def _failure(error: Exception, max_bytes: int) -> RowError:
    """Return the error of an image that a store did not deliver."""
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return _too_large(max_bytes)
    suspected, is_missing = suspicion(error), isinstance(error, FileNotFoundError)
    code = ErrorCode.IMAGE_MISSING if is_missing else ErrorCode.IMAGE_FETCH_FAILED
    reason = store_reason(error) if is_missing else f"{type(error).__name__}: {store_reason(error)}"
    if suspected is None:
        return RowError(code, "nothing is stored there" if is_missing else reason)
    return StoreFailure(code, reason, is_refusal=suspected == "refused")


def _too_large(max_bytes: int) -> RowError:
    return RowError(ErrorCode.IMAGE_TOO_LARGE, f"more than {max_bytes} bytes")


def _without_secrets(outcome: bytes | RowError, uri: str) -> bytes | RowError:
    """Redact an error: the messages of stores and resolvers repeat the URI."""
    if not isinstance(outcome, RowError):
        return outcome
    message = without_secrets(outcome.message, uri)
    if isinstance(outcome, StoreFailure):
        return StoreFailure(outcome.code, message, is_refusal=outcome.is_refusal)
    return RowError(outcome.code, message)
