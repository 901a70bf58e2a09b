"""Errors of object stores in words: what the store refused, and what to do about it."""

from __future__ import annotations

import re
import sys

from vqa_ray.errors import one_line

_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role gives them"
_REGION = "the bucket is in another region: set AWS_DEFAULT_REGION to it"
_DENIED = "these credentials may not do that: they need s3:ListBucket, s3:GetObject and, for outputs, s3:PutObject"
_KEYS = "check or renew the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)"
# Of the code that the store gave (of a HEAD request, only its status), or of botocore's exception.
_ADVICE = {
    "NoSuchBucket": "there is no such bucket: check its name and AWS_ENDPOINT_URL",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "AllAccessDisabled": _DENIED,
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
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
_EXPECTED_REGION = re.compile(r"expecting '([a-z0-9-]+)'")


def store_failures() -> tuple[type[Exception], ...]:
    """The exceptions of files and stores, for an `except` clause: botocore's are no OSErrors, and load only for S3."""
    botocore = sys.modules.get("botocore.exceptions")
    return (OSError,) if botocore is None else (OSError, botocore.BotoCoreError, botocore.ClientError)


def store_reason(error: BaseException, *, named: bool = False) -> str:
    """Describe why a file or a store failed, in one line, with what to do where an object store refused.

    Args:
        error: one of `store_failures()`.
        named: whether to name the file, where the error knows it.
    """
    code, region = _code(error), ""
    said = str(error) if named and getattr(error, "filename", None) else getattr(error, "strerror", None)
    said = said or str(error) or type(error).__name__
    if code == "AuthorizationHeaderMalformed" and (found := _EXPECTED_REGION.search(str(error))):
        region = f" ({found[1]})"
    advice = _ADVICE.get(code)
    return one_line(said, 1000) if advice is None else f"{one_line(said, 600).rstrip('.')}: {advice}{region}"


def _code(error: BaseException) -> str:
    """The store's code for an error, or the name of botocore's exception; empty for errors of other kinds."""
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        response = getattr(current, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", ""))
        for kind in type(current).__mro__:
            if kind.__module__.startswith("botocore.") and kind.__name__ in _ADVICE:
                return kind.__name__
        current = current.__cause__ or current.__context__
    return ""
