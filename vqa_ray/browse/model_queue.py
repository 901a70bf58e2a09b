"""One thread for the models with a bounded queue: searches wait for each other, up to a timeout."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from vqa_ray.errors import VqaRayError

R = TypeVar("R")


class BusyError(VqaRayError):
    """The queue is full, or the time is up; the same search may be sent again later."""


@dataclass(slots=True)
class _Job(Generic[R]):
    future: Future[R]
    waiting: int = 0


class ModelQueue(Generic[R]):
    """Runs functions one after the other in one thread, and caches their results.

    A function with a key that is running or cached is not run again. A queued function that nobody waits for any more
    is not started. Use a queue from one event loop only.

    Args:
        max_queued: functions in the queue; further ones are refused.
        timeout_s: time a caller waits. The function goes on, and the next caller gets its result.
        max_results: results in the cache.
    """

    def __init__(self, max_queued: int = 16, timeout_s: float = 120.0, max_results: int = 64) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vqa-ray-model")
        self._max_queued = max_queued
        self._timeout_s = timeout_s
        self._max_results = max_results
        self._jobs: dict[Hashable, _Job[R]] = {}
        self._results: OrderedDict[Hashable, R] = OrderedDict()

    async def ask(self, key: Hashable, function: Callable[[], R]) -> R:
        """Return the result of `function`; an exception passes on and is not cached.

        Args:
            key: equal for functions with equal results.
            function: called in the models' thread.

        Raises:
            BusyError: the queue is full, or the time is up.
        """
        if key in self._results:
            self._results.move_to_end(key)
            return self._results[key]
        job = self._jobs.get(key)
        if job is None or job.future.cancelled():
            if len(self._jobs) >= self._max_queued:
                raise BusyError(f"{len(self._jobs)} searches wait for the model; try again in a moment")
            job = self._begin(key, function)
        job.waiting += 1
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(job.future)), self._timeout_s)
        except TimeoutError as error:
            if job.future.done():
                # Raised by the function itself.
                raise
            others = len(self._jobs) - 1
            raise BusyError(
                f"no result after {self._timeout_s:g} seconds"
                + (f", with {others} other searches waiting" if others else "")
                + "; the search goes on: ask again for its result"
            ) from error
        except asyncio.CancelledError:
            if job.waiting == 1:
                job.future.cancel()
            raise
        finally:
            job.waiting -= 1

    def begin(self, function: Callable[[], object]) -> None:
        """Run a function ahead of the first search; the search that needs it reports a failure."""
        self._thread.submit(function)

    def close(self) -> None:
        """Start no further function."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, key: Hashable, function: Callable[[], R]) -> _Job[R]:
        loop = asyncio.get_running_loop()
        job = self._jobs[key] = _Job(self._thread.submit(function))
        job.future.add_done_callback(lambda _: _soon(loop, self._ended, key, job))
        return job

    def _ended(self, key: Hashable, job: _Job[R]) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]
        if not job.future.cancelled() and job.future.exception() is None:
            self._results[key] = job.future.result()
            while len(self._results) > self._max_results:
                self._results.popitem(last=False)


def _soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    # The server may stop before the function ends.
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
