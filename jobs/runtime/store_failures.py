"""Failures of files and object stores that no code nearer to them has described."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vqa_ray.errors import RunError
from vqa_ray.storage.store_errors import store_reason

# The exceptions of these are no OSErrors.
_PACKAGES = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "adlfs", "azure")


def is_store_failure(error: Exception) -> bool:
    """Whether an error is one of a file system or an object store."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _PACKAGES


def describe_store_failure(error: Exception) -> str:
    """Describe a store failure in one line."""
    return f"a file or its store failed: {type(error).__name__}: {store_reason(error)}"


@contextmanager
def store_failures_fail_the_run() -> Iterator[None]:
    """Turn a store failure within the block into a RunError: work has begun there.

    Raises:
        RunError: a file or a store failed.
    """
    try:
        yield
    except Exception as error:
        if not is_store_failure(error):
            raise
        raise RunError(describe_store_failure(error)) from error
