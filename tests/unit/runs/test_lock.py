"""One writer at a time, and none for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from vqa_ray.errors import RequestError, RunError
from vqa_ray.runs import lock
from vqa_ray.runs.claims import claim_uri, read_claim
from vqa_ray.runs.lock import OutputLock
from vqa_ray.runs.process_identity import process_start, this_host
from vqa_ray.runs.record import to_json
from vqa_ray.storage.delete import delete

DATE = "2026-01-01T00:00:00Z"
# No process has it: the largest that Linux gives is 2^22.
NO_PROCESS = 2**22 + 1


class Clock:
    """A sleep that takes no time, during which others may act."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.slept_s = 0.0
        self._meanwhile = meanwhile

    def __call__(self, seconds: float) -> None:
        self.slept_s += seconds
        self._meanwhile()


@pytest.fixture
def output(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def writer(output: str, sleep: Clock | None = None, **options) -> OutputLock:
    return OutputLock(output, DATE, beat_s=10, silence_s=45, sleep=sleep or Clock(), **options)


def test_the_right_to_write_holds_in_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a worker is not the command's where the cluster was there before."""
    monkeypatch.chdir(tmp_path)
    with writer("out") as lock:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert lock.fence.holds()
        monkeypatch.chdir(tmp_path)


def dead(output: str, **who) -> OutputLock:
    """A writer that has stopped without a word."""
    other = writer(output, **who)
    other.acquire()
    return other


def claim(of: OutputLock, **changed: object) -> None:
    """Rewrite the claim of a writer."""
    Path(claim_uri(of.fence.output, of.fence.number)).write_bytes(to_json({**asdict(of._claim), **changed}))


def beating(of: OutputLock) -> Callable[[], None]:
    beats: Iterator[int] = iter(range(1, 99))
    return lambda: claim(of, beat=next(beats))


def files(output: str) -> list[str]:
    return sorted(path.name for path in Path(output, "_vqa_ray", "writers").iterdir())


def test_one_after_the_other(output: str) -> None:
    for number in (1, 2, 3):
        clock = Clock()
        with writer(output, clock) as mine:
            mine.check()
        assert clock.slept_s == 0.0
        assert files(output) == [f"{number:06}.json"]


def test_one_that_beats_is_left_alone(output: str) -> None:
    other = dead(output, host="elsewhere/boot", pid=77)
    with pytest.raises(RequestError, match="being written by process 77 on elsewhere, since 2026") as refused:
        writer(output, Clock(beating(other))).acquire()
    assert "run this again when it is done, or with --wait" in str(refused.value)
    other.check()
    assert files(output) == ["000001.json"]


def test_one_that_is_silent_is_taken_over_from(output: str) -> None:
    other = dead(output, host="elsewhere")
    clock = Clock()
    with writer(output, clock) as mine:
        assert 45 <= clock.slept_s <= 60
        mine.check()
        with pytest.raises(RunError, match="another one has taken over; what it finished is kept"):
            other.check()
        # Its leaving changes nothing.
        other.__exit__(None, None, None)
        mine.check()


def test_a_process_that_is_gone_is_taken_over_from_at_once(output: str) -> None:
    dead(output, pid=NO_PROCESS)
    clock = Clock()
    with writer(output, clock):
        assert clock.slept_s == 0.0


def test_a_process_number_that_another_process_has_by_now_is_no_life(output: str) -> None:
    other = dead(output)
    claim(other, token=f"{process_start(os.getpid()) - 5}-abc")
    clock = Clock()
    with writer(output, clock):
        assert clock.slept_s == 0.0


def test_the_same_number_in_another_container_tells_nothing(output: str) -> None:
    dead(output, pid=NO_PROCESS, host=this_host() + "7")
    clock = Clock()
    with writer(output, clock):
        assert clock.slept_s >= 45


def test_a_claim_of_d8ecede_is_understood(output: str) -> None:
    other = dead(output, host="elsewhere/boot", pid=77)
    claim(other, token="0123456789abcdef")
    with pytest.raises(RequestError, match="process 77 on elsewhere"):
        writer(output, Clock(beating(other))).acquire()


def test_a_claim_that_cannot_be_read_counts_until_it_stands_still(output: str) -> None:
    other = dead(output)
    Path(claim_uri(output, other.fence.number)).write_bytes(b"{")
    clock = Clock()
    with writer(output, clock):
        assert clock.slept_s >= 45


def test_of_two_that_take_over_one_does(output: str) -> None:
    dead(output, host="elsewhere")
    third: list[OutputLock] = []

    def another_comes() -> None:
        if not third:
            third.append(dead(output, sleep=Clock(), host="third"))
        else:
            claim(third[0], beat=1)

    with pytest.raises(RequestError, match="being written by process"):
        writer(output, Clock(another_comes)).acquire()
    third[0].check()


def test_numbers_that_were_read_too_early_do_not_win(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading the numbers and making the next, others come and go."""
    real, calls = lock.create, []

    def late(uri: str, data: bytes) -> bool:
        calls.append(uri)
        if len(calls) == 1:
            with writer(output):
                pass
            with writer(output):
                pass
        return real(uri, data)

    monkeypatch.setattr(lock, "create", late)
    with writer(output) as mine:
        assert mine.fence.number == 3
        assert files(output) == ["000003.json"]


def test_one_that_waits_comes_next(output: str) -> None:
    other = dead(output, host="elsewhere")
    beat, times = beating(other), []

    def meanwhile() -> None:
        times.append(1)
        if len(times) < 6:
            beat()
        else:
            claim(other, released=True)

    with writer(output, Clock(meanwhile), wait=True) as mine:
        assert mine.fence.number == 2


def test_the_last_of_two_with_one_number_writes(output: str) -> None:
    """As on a store that cannot create exclusively."""
    first = dead(output)
    claim(first, token="1-other")
    assert not first.fence.holds()
    first.__exit__(None, None, None)
    assert b"1-other" in Path(claim_uri(output, 1)).read_bytes()


def test_the_beat_is_kept_in_its_file(output: str) -> None:
    with OutputLock(output, DATE, beat_s=0.01) as mine:
        deadline = time.monotonic() + 20
        while (found := read_claim(output, 1)) is None or found.beat < 2:
            assert time.monotonic() < deadline
    assert read_claim(output, mine.fence.number).released


def test_a_block_that_lost_its_lock_is_interrupted(output: str) -> None:
    def stand_still() -> None:
        with OutputLock(output, DATE, beat_s=0.01) as mine:
            # Of the next number: a beat under way would write over a claim of the same.
            later = claim_uri(mine.fence.output, mine.fence.number + 1)
            Path(later).write_bytes(to_json({**asdict(mine._claim), "token": "1-other"}))
            time.sleep(60)

    begun = time.monotonic()
    # A shell starts its background jobs with SIGINT ignored; commands take it over.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(RunError, match="another one has taken over"):
            stand_still()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 30


def test_of_many_threads_one_at_a_time_writes(output: str) -> None:
    inside, most, refused = [], [], []

    def work() -> None:
        for _ in range(20):
            try:
                with OutputLock(output, DATE, beat_s=0.02, silence_s=20):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.001)
                    inside.pop()
            except RequestError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) + len(refused) == 100


def test_a_process_that_was_killed_is_gone_though_nobody_asked_for_its_end() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        assert process_start(process.pid)
        process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 20
        while process_start(process.pid) is not None:
            assert time.monotonic() < deadline


def test_an_output_that_cannot_be_written_is_a_wrong_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RequestError, match="file/out: cannot be written: Not a directory"):
        OutputLock(str(tmp_path / "file" / "out"), DATE).__enter__()


def test_an_output_that_was_deleted_is_told_as_such(output: str) -> None:
    mine = OutputLock(output, DATE)
    mine.acquire()
    delete(claim_uri(output, mine.fence.number))
    with pytest.raises(RunError, match="the output was deleted"):
        mine.check()
