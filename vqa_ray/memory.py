"""Giving memory back to the system."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa


def release_memory() -> None:
    """Give back to the system what the work so far has freed.

    To be called between pieces of work. A worker process that Ray keeps for its next task would hold it, 60 to 100 MiB,
    and there are as many of them as tasks have ever run at a time; a training process gathers 300 MiB in its first
    minutes. Within a piece of work the memory is reused, see `vqa_ray.process.prepare_for_decoding`.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
