"""One image URI → its bytes, from local files, object stores and, where allowed, the web."""

from __future__ import annotations

import errno
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.images.http import HttpFetcher, HttpLimits
from vqa_ray.storage.data_uris import decode_data_uri, is_data_uri
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.redaction import without_secrets
from vqa_ray.storage.store_errors import store_reason
from vqa_ray.storage.uri import scheme_of

_WEB = ("http", "https")
# The other schemes of fsspec (chained caches, archives, code hosts) would lead a row's URI past the checks of the web.
_STORES = ("file", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "hf", "memory")


class ImageFetcher:
    """Fetches images within limits. Picklable.

    Object stores retry transient failures on their own, as configured in `vqa_ray.storage.filesystem`.

    Args:
        max_image_bytes: a larger image is `image_too_large`; at most one byte more is fetched.
        allow_http: fetch http:// and https:// too.
        concurrency: number of images fetched at once.
        http_limits: time, attempts and addresses for http:// and https://.
    """

    def __init__(
        self,
        max_image_bytes: int,
        *,
        allow_http: bool = False,
        concurrency: int = 16,
        http_limits: HttpLimits | None = None,
    ) -> None:
        if concurrency < 1:
            raise RequestError(f"fetch concurrency is {concurrency}; it must be at least 1")
        self._max_bytes = max_image_bytes
        self._allow_http = allow_http
        self._concurrency = concurrency
        self._http = HttpFetcher(max_image_bytes, concurrency, http_limits or HttpLimits())

    def fetch(self, uri: str) -> bytes:
        """Return the bytes of one image; a `data:` URI is decoded.

        Raises:
            RowError: `image_missing`, `image_too_large` or `image_fetch_failed`.
        """
        outcome = self.fetch_all([uri])[uri]
        if isinstance(outcome, RowError):
            raise outcome
        return outcome

    def fetch_all(self, uris: Collection[str]) -> dict[str, bytes | RowError]:
        """Fetch each distinct URI once and return its bytes or its error."""
        distinct = list(dict.fromkeys(uris))
        web = [uri for uri in distinct if scheme_of(uri) in _WEB]
        stored = [uri for uri in distinct if scheme_of(uri) not in _WEB]
        outcomes: dict[str, bytes | RowError] = {}
        with ThreadPoolExecutor(max_workers=self._concurrency, thread_name_prefix="fetch") as pool:
            # In a thread of its own: the caller's may be running an event loop.
            from_web = pool.submit(self._from_web, web) if web else None
            outcomes.update(zip(stored, pool.map(self._from_store, stored), strict=True))
            if from_web is not None:
                outcomes.update(zip(web, from_web.result(), strict=True))
        return {uri: _without_secrets(outcome, uri) for uri, outcome in outcomes.items()}

    def _from_web(self, uris: list[str]) -> list[bytes | RowError]:
        if not self._allow_http:
            refused = "http:// and https:// images are fetched only with --allow-http"
            return [RowError(ErrorCode.IMAGE_FETCH_FAILED, f"not allowed: {refused}") for _ in uris]
        return self._http.fetch_all(uris)

    def _from_store(self, uri: str) -> bytes | RowError:
        if is_data_uri(uri):
            try:
                return decode_data_uri(uri, self._max_bytes)
            except RowError as error:
                return RowError(error.code, error.message)
        scheme = scheme_of(uri)
        if scheme not in _STORES:
            known = ", ".join(("paths", *_STORES, *_WEB))
            return RowError(ErrorCode.IMAGE_FETCH_FAILED, f"unknown scheme {scheme[:40]!r}; known are {known}")
        try:
            return read_bytes(uri, self._max_bytes)
        except FileNotFoundError:
            return RowError(ErrorCode.IMAGE_MISSING, "nothing is stored there")
        except Exception as error:  # noqa: BLE001  Each store has exceptions of its own, from no common root.
            if isinstance(error, OSError) and error.errno == errno.EFBIG:
                return RowError(ErrorCode.IMAGE_TOO_LARGE, f"more than {self._max_bytes} bytes")
            return RowError(ErrorCode.IMAGE_FETCH_FAILED, f"{type(error).__name__}: {store_reason(error)}")


def _without_secrets(outcome: bytes | RowError, uri: str) -> bytes | RowError:
    """Redact an error: the messages of stores and resolvers repeat the URI."""
    if isinstance(outcome, RowError):
        return RowError(outcome.code, without_secrets(outcome.message, uri))
    return outcome
