"""Work in the background: order, bounds, failures, and a thread that ends."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from vqa_ray.training.prefetch import Prefetcher


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_items_come_in_order_and_then_no_more() -> None:
    with Prefetcher((number for number in range(10)), 3) as numbers:
        assert list(numbers) == list(range(10))
        assert list(numbers) == []
    assert not running()


def test_it_works_in_another_thread_and_never_farther_ahead_than_it_may() -> None:
    made: list[int] = []
    threads = set()
    reached = threading.Semaphore(0)

    def numbers() -> Generator[int, None, None]:
        for number in range(100):
            threads.add(threading.get_ident())
            made.append(number)
            reached.release()
            yield number

    with Prefetcher(numbers(), 2) as ahead:
        for taken in range(10):
            # The two that are ready, and this one.
            while len(made) < taken + 2:
                assert reached.acquire(timeout=10)
            assert len(made) == taken + 2
            assert next(ahead) == taken
    assert threads.isdisjoint({threading.get_ident()})
    assert not running()


def test_closing_early_ends_the_thread_and_the_generator() -> None:
    closed = threading.Event()

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with Prefetcher(endless(), 2) as ahead:
        assert next(ahead) == 1
    assert closed.is_set()
    assert not running()
    with pytest.raises(StopIteration):
        next(ahead)


def test_a_failure_is_raised_where_its_item_is_asked_for() -> None:
    def breaks() -> Generator[int, None, None]:
        yield 1
        raise KeyError("broken")

    with Prefetcher(breaks(), 3) as ahead:
        assert next(ahead) == 1
        with pytest.raises(KeyError, match="broken"):
            next(ahead)
        assert list(ahead) == []
    assert not running()


def test_an_exception_does_not_wait_for_a_source_that_hangs() -> None:
    release = threading.Event()

    def hangs() -> Generator[int, None, None]:
        yield 1
        release.wait(60)

    def fails() -> None:
        with Prefetcher(hangs(), 2) as ahead:
            assert next(ahead) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
    assert len(threads) == 1
    release.set()
    threads[0].join(10)
    assert not running()
