"""S3 as s3fs gives it, but for answers that end early, and for the time that it waits for a busy store."""

from __future__ import annotations

import asyncio
import errno
import random
import re
import time
from typing import Any

import s3fs.core
from botocore.exceptions import ClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NotConnectedError
from s3fs import S3FileSystem
from s3fs.core import add_retryable_error, set_custom_error_handler

from vqa_ray.storage.store_errors import http_status

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/")
_PASSING = (429, 500, 502, 503, 504)
# With status 400: a body that came too slowly.
_PASSING_CODES = ("RequestTimeout", "RequestTimeoutException")
_PATIENCE_S = 10.0
# Tries to connect, within some 2 s.
_CONNECTIONS = 6


# s3fs has one for the whole process, which the program that uses this library may have set.
_given_handler = s3fs.core.CUSTOM_ERROR_HANDLER


def _may_pass(error: BaseException) -> bool:
    is_slow = isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in _PASSING_CODES
    return is_slow or bool(_given_handler(error))


add_retryable_error(IncompleteReadError)
set_custom_error_handler(_may_pass)


class CheckedS3FileSystem(S3FileSystem):  # type: ignore[misc]
    """Holds an answer against what the store says that it sends, and asks again where it is less.

    Something between here and the store that cuts a body short and corrects `Content-Length` would otherwise shorten an
    object, or empty a directory, without an error.
    """

    # With pauses of 0.1, 0.17, 0.29 … s between the tries: enough of them for `_PATIENCE_S`, after which none follows.
    # botocore, which would pause for half a second before its second try, makes one: a batch of images waits for the
    # slowest of them.
    retries = 10

    async def _call_s3(self, method: str, *given: Any, **options: Any) -> Any:
        answer: Any = None
        began = time.monotonic()
        for left in reversed(range(self.retries)):
            try:
                answer = await super()._call_s3(method, *given, **options)
            except NotConnectedError:
                if not left or left <= self.retries - _CONNECTIONS or time.monotonic() - began > _PATIENCE_S:
                    raise
            except OSError as error:
                # s3fs goes on for as long as this loop, but only where the store is busy.
                is_over = not left or time.monotonic() - began > _PATIENCE_S
                if is_over or http_status(error) not in _PASSING:
                    raise
            else:
                if method != "list_objects_v2" or answer.keys() - {"ResponseMetadata"}:
                    break
                if not left:
                    raise OSError(errno.EIO, "the store answers with nothing to a request for a listing")
            await asyncio.sleep(0.1 * 1.7 ** (self.retries - 1 - left) * random.uniform(0.7, 1.3))
        promised = _CONTENT_RANGE.match(answer.get("ContentRange") or "") if method == "get_object" else None
        if promised:
            # A body that ends before this length raises IncompleteReadError.
            answer["Body"]._content_length = int(promised[2]) - int(promised[1]) + 1
        return answer
