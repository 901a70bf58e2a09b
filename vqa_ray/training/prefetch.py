"""Work that is done ahead of time in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """What a generator yields, made in a background thread while the caller is busy with what came before.

    What the generator raises is raised where its item is asked for. To be used in a `with` block, at whose end the
    thread has stopped and the generator is closed; when an exception leaves the block, they are only told to stop and
    nobody waits, because the generator may itself wait for something that comes no more.

    Args:
        items: run by the thread alone.
        size: at most so many items are ready or being made, at least 1.
    """

    def __init__(self, items: Generator[T, None, None], size: int) -> None:
        self._items = items
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._coming: deque[Future[tuple[T] | None]] = deque()
        for _ in range(size):
            self._order()

    def _order(self) -> None:
        self._coming.append(self._thread.submit(self._make))

    def _make(self) -> tuple[T] | None:
        for item in self._items:
            return (item,)
        return None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        made = self._coming.popleft().result() if self._coming else None
        if made is None:
            raise StopIteration
        self._order()
        return made[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(wait=kind is None)

    def close(self, wait: bool = True) -> None:
        """Stop the thread, after the item that it is at; nothing more can be asked for.

        Args:
            wait: until it has stopped.
        """
        self._coming.clear()
        self._thread.shutdown(wait=wait, cancel_futures=True)
        if wait:
            self._items.close()
