"""One writer at a time, and none for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.errors import RequestError, RunError
from vqa_ray.retrieval.layout import IndexLayout
from vqa_ray.retrieval.writer import Writer

DATE = "2026-01-01T00:00:00Z"
# No process has it: the largest that Linux gives is 2^22.
NO_PROCESS = 2**22 + 1


class Clock:
    """A sleep that takes no time, during which others may act."""

    def __init__(self, meanwhile=lambda: None) -> None:
        self.slept_s = 0.0
        self._meanwhile = meanwhile

    def __call__(self, seconds: float) -> None:
        self.slept_s += seconds
        self._meanwhile()


@pytest.fixture
def layout(tmp_path: Path) -> IndexLayout:
    return IndexLayout(str(tmp_path / "index"))


def writer(layout: IndexLayout, sleep: Clock | None = None, **who) -> Writer:
    return Writer(layout, DATE, beat_s=10, silence_s=45, sleep=sleep or Clock(), **who)


def dead(layout: IndexLayout, **who) -> Writer:
    """A writer that has stopped without a word."""
    other = writer(layout, **who)
    other._number = other._acquire()
    return other


def test_one_after_the_other(layout: IndexLayout) -> None:
    for number in (1, 2, 3):
        clock = Clock()
        with writer(layout, clock) as mine:
            mine.check()
        assert clock.slept_s == 0.0
        assert [path.name for path in Path(layout.writers).iterdir()] == [f"{number:06}.json"]


def test_one_that_beats_is_left_alone(layout: IndexLayout) -> None:
    other = dead(layout, host="elsewhere", pid=77)
    beats = iter(range(1, 9))

    def beat() -> None:
        from vqa_ray.retrieval.writer import _bytes

        Path(other._uri(other._number)).write_bytes(_bytes(other._claim, next(beats)))

    with pytest.raises(RequestError, match="being written by process 77 on elsewhere, since 2026") as refused:
        writer(layout, Clock(beat)).__enter__()
    assert "run this again when it is done" in str(refused.value)
    other.check()


def test_one_that_is_silent_is_taken_over_from(layout: IndexLayout) -> None:
    other = dead(layout, host="elsewhere")
    clock = Clock()
    with writer(layout, clock) as mine:
        assert 45 <= clock.slept_s <= 60
        mine.check()
        with pytest.raises(RunError, match="another one has taken over; what it embedded is kept"):
            other.check()
        # Its leaving changes nothing.
        other.__exit__(None, None, None)
        mine.check()


def test_a_process_that_is_gone_is_taken_over_from_at_once(layout: IndexLayout) -> None:
    dead(layout, pid=NO_PROCESS)
    clock = Clock()
    with writer(layout, clock):
        assert clock.slept_s == 0.0


def test_of_two_that_take_over_one_does(layout: IndexLayout) -> None:
    dead(layout, host="elsewhere")
    third: list[Writer] = []

    def another_comes() -> None:
        if not third:
            third.append(dead(layout, sleep=Clock(), host="third"))

    with pytest.raises(RequestError, match="being written by process"):
        writer(layout, Clock(another_comes)).__enter__()
    third[0].check()


def test_the_beat_is_kept_in_its_file(layout: IndexLayout) -> None:
    import time

    with Writer(layout, DATE, beat_s=0.01) as mine:
        deadline = time.monotonic() + 20
        while (claim := mine._read(1)) is None or claim.beat < 2:
            assert time.monotonic() < deadline
    assert mine._read(1).released
