"""What a run has taken of its endpoints so far, in `_vqa_ray/usage.json`: an entry for each, in their order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from vqa_ray.errors import RequestError, one_line
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.types import Usage


def read(uri: str) -> list[Usage]:
    """Return what is recorded; empty where nothing is.

    Raises:
        RequestError: the file is damaged.
    """
    try:
        return [Usage(**each) for each in json.loads(read_bytes(uri))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise RequestError(
            f"{uri}: is damaged: {one_line(error)}; delete it, and the budget begins anew with the next command"
        ) from error


def write(uri: str, usages: Sequence[Usage]) -> None:
    """Record what was taken, atomically."""
    write_bytes_atomic(uri, json.dumps([asdict(usage) for usage in usages]).encode())
