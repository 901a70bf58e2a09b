"""Settings of a worker process: they are global to the process, so only a stage may choose them."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt parameters of glibc (malloc.h).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_KEPT_BLOCK = 32 * 2**20
_KEPT_BYTES = 256 * 2**20
# Of 16 MiB each: a 6-megapixel photo takes two.
_PILLOW_BLOCKS = 4
_LINUX = sys.platform == "linux"


@functools.cache
def prepare_for_decoding() -> None:
    """Make this process decode on one core and reuse its memory. Only the first call does anything.

    Ray runs one task per CPU, so that threads of torch's or libavif's within a task would fight for the same cores.
    And each photo needs tens of megabytes for a moment: given back to the system every time, which is what the C
    library does on its own, their page faults take as long as the decoding of a 3000×2000 JPEG (11,000 per image).
    """
    with gc_paused():
        import torch
    from PIL import AvifImagePlugin
    from PIL import Image as PillowImage

    torch.set_num_threads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    # What the environment variable PILLOW_BLOCKS_MAX does where it is set before Pillow is imported.
    PillowImage.core.set_blocks_max(_PILLOW_BLOCKS)  # type: ignore[attr-defined]
    if _LINUX:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Give torch back the threads that it had before; `prepare_for_decoding` leaves it one."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def limit_threads(threads: int | None) -> None:
    """Give the numeric libraries of this process `threads` threads; None leaves them alone.

    To be called before they are imported: they read the environment once.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)


@contextmanager
def gc_paused() -> Iterator[None]:
    """No garbage collection while large libraries are imported and a model is loaded.

    They make 300,000 objects that stay, and every full collection on the way looks at all of them in vain: a fifth of
    the time that importing torch and transformers takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def release_memory() -> None:
    """Give back to the system what the work so far has freed.

    To be called between pieces of work. A worker process that Ray keeps for its next task would hold it, 60 to 100 MiB,
    and there are as many of them as tasks have ever run at a time; a training process gathers 300 MiB in its first
    minutes. Within a piece of work the memory is reused, see `prepare_for_decoding`.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
