"""The queue before the models: in turn, once, bounded, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from vqa_ray.browse.model_queue import BusyError, ModelQueue


def run(trial: Callable[[ModelQueue[int]], Awaitable[None]], **settings: float) -> None:
    """A trial in an event loop of its own."""

    async def within() -> None:
        queue: ModelQueue[int] = ModelQueue(**settings)  # type: ignore[arg-type]
        try:
            await trial(queue)
        finally:
            queue.close()

    asyncio.run(within())


class Gate:
    """A function that says when it has begun, and waits to be let through."""

    def __init__(self, value: int) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.calls, self._value = 0, value

    def __call__(self) -> int:
        self.calls += 1
        self.begun.set()
        assert self.open.wait(30)
        return self._value


def test_functions_run_one_at_a_time_and_once() -> None:
    running: list[int] = []
    most: list[int] = []

    def work(number: int) -> int:
        running.append(number)
        most.append(len(running))
        running.remove(number)
        return number

    async def trial(queue: ModelQueue[int]) -> None:
        first = Gate(7)
        asked = [asyncio.create_task(queue.ask("a", first)) for _ in range(3)]
        others = [asyncio.create_task(queue.ask(number, lambda number=number: work(number))) for number in range(5)]
        await asyncio.to_thread(first.begun.wait)
        first.open.set()
        assert await asyncio.gather(*asked) == [7, 7, 7]
        assert await asyncio.gather(*others) == [0, 1, 2, 3, 4]
        assert first.calls == 1, "asked for three times, run once"
        assert await queue.ask("a", lambda: 1 // 0) == 7, "remembered"

    run(trial)
    assert max(most) == 1


def test_what_a_function_raises_comes_to_the_asker_and_is_not_remembered() -> None:
    async def trial(queue: ModelQueue[int]) -> None:
        with pytest.raises(ZeroDivisionError):
            await queue.ask("a", lambda: 1 // 0)
        assert await queue.ask("a", lambda: 3) == 3

        def late() -> int:
            raise TimeoutError("its own")

        with pytest.raises(TimeoutError, match="its own"):
            await queue.ask("b", late)

    run(trial)


def test_too_many_are_refused() -> None:
    async def trial(queue: ModelQueue[int]) -> None:
        gate = Gate(1)
        waiting = [asyncio.create_task(queue.ask(key, gate)) for key in ("a", "b")]
        await asyncio.to_thread(gate.begun.wait)
        with pytest.raises(BusyError, match="2 searches wait for the model"):
            await queue.ask("c", lambda: 1)
        gate.open.set()
        await asyncio.gather(*waiting)
        assert await queue.ask("c", lambda: 1) == 1

    run(trial, max_queued=2)


def test_an_asker_who_waited_long_enough_is_told_and_finds_the_result_later() -> None:
    async def trial(queue: ModelQueue[int]) -> None:
        gate = Gate(5)
        with pytest.raises(BusyError, match=r"no result after 0\.02 seconds; the search goes on"):
            await queue.ask("a", gate)
        gate.open.set()
        while "a" not in queue._results:
            await asyncio.sleep(0)
        assert await queue.ask("a", lambda: 1 // 0) == 5
        assert gate.calls == 1

    run(trial, timeout_s=0.02)


def test_what_nobody_waits_for_is_not_begun() -> None:
    async def trial(queue: ModelQueue[int]) -> None:
        first, second = Gate(1), Gate(2)
        running = asyncio.create_task(queue.ask("a", first))
        await asyncio.to_thread(first.begun.wait)
        left = asyncio.create_task(queue.ask("b", second))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        again = asyncio.create_task(queue.ask("b", lambda: 3))
        await asyncio.sleep(0)
        first.open.set()
        assert await running == 1
        assert await again == 3
        assert second.calls == 0

    run(trial)


def test_only_so_many_results_are_remembered() -> None:
    async def trial(queue: ModelQueue[int]) -> None:
        for number in range(3):
            await queue.ask(number, lambda number=number: number)
        assert await queue.ask(2, lambda: 9) == 2
        assert await queue.ask(0, lambda: 9) == 9

    run(trial, max_results=2)
