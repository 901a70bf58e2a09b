"""Tables of Delta, Iceberg and Lance: how they are named, what they need, and where the first and the last find one."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar

from vqa_ray.errors import one_line
from vqa_ray.storage.filesystem import filesystem_for, s3_endpoint
from vqa_ray.storage.store_errors import suspicion
from vqa_ray.storage.uri import scheme_of

logger = logging.getLogger(__name__)
_T = TypeVar("_T")
# Kind, address and version of a table as `--input` names it.
TABLE = re.compile(r"(delta|iceberg|lance):(?!//)(.+?)(?:@(\d+))?", re.DOTALL)
# Kind → its package, and the extra that brings it.
_PACKAGES = {"delta": ("deltalake", "delta"), "iceberg": ("pyiceberg", "iceberg"), "lance": ("lance", "index")}
_PAUSES_S = (1, 2, 4, 8)
# What the client of Delta and Lance calls any failure of a store but a missing object; what Delta calls a log that it
# cannot read, and Lance a range of a file, where it came short.
_FAILED = re.compile(r"Generic \w+ error|Kernel error|LanceError\(IO\)")


def missing_package(kind: str) -> str | None:
    """Return what a kind of table lacks on this machine, and how to install it; None where it lacks nothing."""
    package, extra = _PACKAGES.get(kind, (None, None))
    if package is None or find_spec(package) is not None:
        return None
    return f"needs {package}, which is not installed: pip install 'vqa-ray[{extra}]'"


def location(uri: str) -> str:
    """Return a local path, or a URI whose scheme both know."""
    if scheme_of(uri) == "file":
        return str(filesystem_for(uri)[1])
    return uri.replace("s3a://", "s3://", 1)


def storage_options(uri: str) -> dict[str, str] | None:
    """Return what they do not find themselves; they find credentials."""
    if scheme_of(uri) not in ("s3", "s3a"):
        return None
    endpoint = s3_endpoint()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options = {"aws_endpoint": endpoint, "aws_region": region, "aws_allow_http": "true" if endpoint else None}
    return {name: value for name, value in options.items() if value}


def patiently(work: Callable[[], _T], name: str, uri: str, sleep: Callable[[float], None] = time.sleep) -> _T:
    """Return the result of `work`, which is repeated after pauses where the store of a table fails.

    Delta's and Lance's client asks again when a request is refused, and not when the body of an answer breaks off.

    Args:
        work: what to do; done twice it comes to the same.
        name: of the table, in warnings.
        uri: of the table. Local ones are not tried again, nor those of Iceberg, whose clients ask again themselves.
        sleep: the pause, in seconds.

    Raises:
        Exception: what `work` raised: at once if no store is to blame, otherwise the last.
    """
    for pause_s in () if scheme_of(uri) == "file" else _PAUSES_S:
        try:
            return work()
        except Exception as error:
            if not is_of_store(error, uri):
                raise
            logger.warning("%s: %s; again in %d s", name, one_line(error, 200) or type(error).__name__, pause_s)
            sleep(pause_s)
    return work()


def is_of_store(error: BaseException, uri: str) -> bool:
    """Check whether the store of a table is to blame for an error, rather than what the table holds.

    Args:
        error: raised by a client of tables.
        uri: of the table; a local one has no store.
    """
    if scheme_of(uri) == "file":
        return False
    each = (error, error.__cause__)
    return any(one is not None and (suspicion(one) == "failed" or _FAILED.search(str(one)) is not None) for one in each)
