"""Settings of a worker process. They are global to the process, so only a stage may choose them."""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# mallopt parameters of glibc (malloc.h).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_KEPT_BLOCK = 32 * 2**20
_KEPT_BYTES = 256 * 2**20
# Blocks of 16 MiB: a 6-megapixel photo takes two.
_PILLOW_BLOCKS = 4
_LINUX = sys.platform == "linux"


@functools.cache
def prepare_for_decoding() -> None:
    """Make this process decode on one core and reuse its memory. Only the first call has an effect.

    Ray runs one task per CPU, so threads of torch or libavif within a task would compete for the same cores. Each photo
    needs tens of megabytes for a moment. The C library would return them to the system every time, and their page
    faults (11,000 per image) take as long as decoding a 3000×2000 JPEG.
    """
    import_whole("torch")
    import torch
    from PIL import AvifImagePlugin
    from PIL import Image as PillowImage

    torch.set_num_threads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    # The effect of the environment variable PILLOW_BLOCKS_MAX, which Pillow reads when it is imported.
    PillowImage.core.set_blocks_max(_PILLOW_BLOCKS)  # type: ignore[attr-defined]
    if _LINUX:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def import_whole(name: str) -> None:
    """Import a module in a thread of its own, which goes on to the end where this one is interrupted meanwhile.

    Ray cancels a task by a KeyboardInterrupt in the main thread and gives the process to other tasks, but what is half
    imported of torch cannot be imported again. Whoever imports the module next waits for the thread.
    """
    if name not in sys.modules:
        with gc_paused():
            thread = threading.Thread(target=importlib.import_module, args=(name,), name="import", daemon=True)
            thread.start()
            thread.join()


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
    """Give the numeric libraries of this process `threads` threads; None changes nothing.

    Call it before these libraries are imported: they read the environment once.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection while large libraries are imported and a model is loaded.

    They create 300,000 objects that stay. Full collections traverse all of them in vain, which takes a fifth of the
    time of importing torch and transformers.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def release_memory() -> None:
    """Return freed memory to the system, between pieces of work; within one it is reused, see `prepare_for_decoding`.

    A worker process that Ray keeps for its next task would hold 60 to 100 MiB, and there are as many workers as tasks
    have ever run at a time; a training process gathers 300 MiB in its first minutes.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
