"""S3 as s3fs gives it, but for answers that end early, and for the time that it waits for a busy store."""

from __future__ import annotations

import asyncio
import errno
import re
import time
from typing import Any

from botocore.exceptions import IncompleteReadError
from s3fs import S3FileSystem
from s3fs.core import add_retryable_error

from vqa_ray.storage.store_errors import http_status

add_retryable_error(IncompleteReadError)

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/")
_PASSING = (500, 502, 503, 504)
_PATIENCE_S = 10.0


class CheckedS3FileSystem(S3FileSystem):  # type: ignore[misc]
    """Holds an answer against what the store says that it sends, and asks again where it is less.

    Something between here and the store that cuts a body short and corrects `Content-Length` would otherwise shorten an
    object, or empty a directory, without an error.
    """

    # With pauses of 0.1, 0.17, 0.29 … s between the tries, 10 s in all; s3fs itself gives up after one.
    retries = 8

    async def _call_s3(self, method: str, *given: Any, **options: Any) -> Any:
        answer: Any = None
        began = time.monotonic()
        for left in reversed(range(self.retries)):
            try:
                answer = await super()._call_s3(method, *given, **options)
            except OSError as error:
                # botocore has tried three times; s3fs goes on for as long as this loop only where the store is busy.
                is_over = not left or time.monotonic() - began > _PATIENCE_S
                if is_over or http_status(error) not in _PASSING:
                    raise
            else:
                if method != "list_objects_v2" or answer.keys() - {"ResponseMetadata"}:
                    break
                if not left:
                    raise OSError(errno.EIO, "the store answers with nothing to a request for a listing")
            await asyncio.sleep(0.1 * 1.7 ** (self.retries - left))
        promised = _CONTENT_RANGE.match(answer.get("ContentRange") or "") if method == "get_object" else None
        if promised:
            # A body that ends before this length raises IncompleteReadError.
            answer["Body"]._content_length = int(promised[2]) - int(promised[1]) + 1
        return answer
