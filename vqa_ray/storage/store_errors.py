"""Errors of object stores in words: what the store refused, and what to do about it."""

from __future__ import annotations

import errno
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from vqa_ray.errors import RequestError, VqaRayError, one_line

_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role gives them"
_REGION = "the bucket is in another region: set AWS_DEFAULT_REGION to it"
_BUCKET = "check its name and AWS_ENDPOINT_URL"
_DENIED = "these credentials may not do that: they need s3:ListBucket, s3:GetObject and, for outputs, s3:PutObject"
_KEYS = "check or renew the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)"
# Of the code that the store gave (of a HEAD request, only its status), or of botocore's exception.
_ADVICE = {
    "NoSuchBucket": f"there is no such bucket: {_BUCKET}",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "AllAccessDisabled": _DENIED,
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "400": "the region (AWS_DEFAULT_REGION) or the credentials are wrong",
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "ExpiredToken": _KEYS,
    "InvalidToken": _KEYS,
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "SlowDown": "the store is overloaded: try again later",
    "NoCredentialsError": _CREDENTIALS,
    "PartialCredentialsError": _CREDENTIALS,
    "ProfileNotFound": "check AWS_PROFILE",
    "EndpointConnectionError": "check AWS_ENDPOINT_URL and the network",
    "ConnectTimeoutError": "check AWS_ENDPOINT_URL and the network",
    "InvalidRegionError": "check AWS_DEFAULT_REGION",
}
_REFUSALS = {"NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_REFUSALS |= {"AllAccessDisabled", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}
_REFUSALS |= {"PermanentRedirect", "IllegalLocationConstraintException", "AuthorizationHeaderMalformed"}
_OVERLOADED = ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded")
_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "azure", "google", "requests", "urllib3")
_CONNECTIONS = {"HTTPClientError", "ConnectionError", "ClientConnectionError", "ClientPayloadError", "RetryError"}
_CONNECTIONS |= {
    "ServiceRequestError",
    "ServiceResponseError",
    "TransportError",
    "RequestException",
    "HTTPError",
    "IncompleteReadError",
}
# Of the system's errors, those that a path makes; all others are of the disk, the network or the machine.
_OF_PATHS = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG)
_NAMED_CODE = re.compile(r"An error occurred \((\w+)\) when calling")
_EXPECTED_REGION = re.compile(r"expecting '([a-z0-9-]+)'")
# botocore follows a redirect that names no region until the stack is full.
_LOOP = "the store redirects without naming a region"


def store_failures(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the exceptions of files and stores, for an `except` clause.

    Those of botocore, and of the client below it, are no OSErrors; they load only for S3.
    """
    botocore, aiohttp = (sys.modules.get(name) for name in ("botocore.exceptions", "aiohttp.client_exceptions"))
    of_stores = () if botocore is None else (botocore.BotoCoreError, botocore.ClientError, RecursionError)
    return (OSError, *of_stores, *(() if aiohttp is None else (aiohttp.ClientError,)), *others)


@contextmanager
def refused(message: str, kind: type[VqaRayError] = RequestError) -> Iterator[None]:
    """Raise `kind` with `message` and the reason where a file or a store fails."""
    try:
        yield
    except store_failures() as error:
        raise kind(f"{message}: {store_reason(error)}") from error


def no_such_bucket(uri: str) -> RequestError:
    """Return the refusal of a bucket that does not exist."""
    scheme, mark, rest = uri.partition("://")
    return RequestError(f"{uri}: no such bucket {scheme}{mark}{rest.partition('/')[0]}: {_BUCKET}")


def store_reason(error: BaseException, *, named: bool = False) -> str:
    """Describe why a file or a store failed, in one line, with what to do where an object store refused.

    Args:
        error: one of `store_failures()`.
        named: whether to name the file, where the error knows it.
    """
    if any(isinstance(cause, RecursionError) and _is_of_botocore(cause) for cause in _causes(error)):
        return f"{_LOOP}: {_REGION}"
    code, region = _code(error), _region(error)
    said = str(error) if named and getattr(error, "filename", None) else getattr(error, "strerror", None)
    said = said or str(error) or type(error).__name__
    advice = _ADVICE.get(code)
    if advice is None:
        return one_line(said, 1000)
    named_region = f" ({region})" if advice == _REGION and region else ""
    return f"{one_line(said, 600).rstrip('.')}: {advice}{named_region}"


def suspicion(error: BaseException) -> Literal["refused", "failed"] | None:
    """Tell whether a store may be to blame for an error: it refused, or it failed; None where the name was wrong."""
    code, status = _code(error), http_status(error)
    if isinstance(error, RecursionError) and _is_of_botocore(error):
        return "refused"
    if code in _REFUSALS or (isinstance(error, PermissionError) and not status) or status in (401, 403):
        return "refused"
    if code in _OVERLOADED or status in (408, 425, 429) or status >= 500:
        return "failed"
    if status or isinstance(error, FileNotFoundError):
        return None
    if isinstance(error, OSError):
        return None if error.errno in _OF_PATHS else "failed"
    # botocore's exceptions without an answer are those of connections, and those of arguments that make no sense.
    names = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in _CLIENTS}
    return "failed" if names & _CONNECTIONS else None


def http_status(error: BaseException) -> int:
    """Return the HTTP status with which a store answered; 0 where it did not."""
    for cause in _causes(error):
        metadata = _response(cause).get("ResponseMetadata", {})
        given = [metadata.get("HTTPStatusCode"), *(getattr(cause, name, None) for name in ("status_code", "status"))]
        for status in given:
            if isinstance(status, int) and 100 <= status < 600:
                return status
    return 0


def advice_on(traceback: str) -> str | None:
    """Return what to do about a refusal of S3 whose code a traceback names; None where it names none.

    An error that comes from another process has left its causes behind, but for their text.
    """
    named = _NAMED_CODE.findall(traceback)
    return _ADVICE.get(named[0]) if named else None


def _code(error: BaseException) -> str:
    """Return the store's code for an error, or the name of botocore's exception; empty for errors of other kinds."""
    for cause in _causes(error):
        if response := _response(cause):
            return str(response["Error"].get("Code", ""))
        for kind in type(cause).__mro__:
            if kind.__module__.startswith("botocore.") and kind.__name__ in _ADVICE:
                return kind.__name__
    return ""


def _region(error: BaseException) -> str:
    """Return the region that a store says a bucket is in; empty where it says none."""
    for cause in _causes(error):
        if response := _response(cause):
            headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            named = headers.get("x-amz-bucket-region") or response["Error"].get("Region")
            expected = _EXPECTED_REGION.search(str(error))
            return str(named) if named else expected[1] if expected else ""
    return ""


def _response(error: BaseException) -> dict[str, Any]:
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) and "Error" in response else {}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it, each once."""
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _is_of_botocore(error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__")).startswith(("botocore.", "aiobotocore.")) for frame, _ in frames)
