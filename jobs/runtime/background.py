"""A function that runs beside a block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def background(run: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run a function in a thread of its own while the block runs.

    Args:
        run: called with an event that is set when the block ends; then it should return soon.
    """
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(stop,), name="background", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
