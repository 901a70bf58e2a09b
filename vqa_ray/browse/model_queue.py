"""One thread for the models, and a queue before it: searches wait for each other, never for ever."""

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
    """The models have too much to do, or took too long: the same may be asked again later."""


@dataclass(slots=True)
class _Job(Generic[R]):
    future: Future[R]
    waiting: int = 0


class ModelQueue(Generic[R]):
    """Runs functions one after the other in a thread of their own, and remembers what they gave.

    A function that is asked for again while it runs, or soon after, is not run again. One that nobody waits for any
    more is not begun. To be used from one event loop.

    Args:
        longest: how many functions may wait; more are refused.
        timeout_s: how long an asker waits. The function goes on, and its result is there for the next asker.
        remembered: how many results are kept.
    """

    def __init__(self, longest: int = 16, timeout_s: float = 120.0, remembered: int = 64) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vqa-ray-model")
        self._longest = longest
        self._timeout_s = timeout_s
        self._remembered = remembered
        self._jobs: dict[Hashable, _Job[R]] = {}
        self._results: OrderedDict[Hashable, R] = OrderedDict()

    async def ask(self, key: Hashable, function: Callable[[], R]) -> R:
        """What `function` gives; what it raises comes here too, and is not remembered.

        Args:
            key: equal for functions that give the same.
            function: called in the models' thread.

        Raises:
            BusyError: too many wait already, or the time is up.
        """
        if key in self._results:
            self._results.move_to_end(key)
            return self._results[key]
        job = self._jobs.get(key)
        if job is None or job.future.cancelled():
            if len(self._jobs) >= self._longest:
                raise BusyError(f"{len(self._jobs)} searches wait for the model already; try again in a moment")
            job = self._begin(key, function)
        job.waiting += 1
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(job.future)), self._timeout_s)
        except TimeoutError as error:
            if job.future.done():
                # The function's own.
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
        """Run something before the first search; a failure is left to the search that needs it."""
        self._thread.submit(function)

    def close(self) -> None:
        """Begin nothing more."""
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
            while len(self._results) > self._remembered:
                self._results.popitem(last=False)


def _soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    # The server may have ended before the function did.
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
