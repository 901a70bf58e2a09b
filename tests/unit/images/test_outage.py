"""A store that is down is waited for; a row that is to blame is not."""

from __future__ import annotations

import pickle
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection

import pytest

from vqa_ray.errors import ErrorCode, OutageError, RowError, StoreFailure
from vqa_ray.images.outage import OUTAGES, Outage, OutagePolicy, PatientFetcher, store_of

DOWN = StoreFailure(ErrorCode.IMAGE_FETCH_FAILED, "HTTP 503")
REFUSED = StoreFailure(ErrorCode.IMAGE_FETCH_FAILED, "ExpiredToken", is_refusal=True)
GONE = RowError(ErrorCode.IMAGE_MISSING, "nothing is stored there")


class Store:
    """A store whose state is a function of the URI and the number of requests so far; counts requests."""

    def __init__(self, state: Callable[[str, int], bytes | RowError]) -> None:
        self._state = state
        self.requests: Counter[str] = Counter()

    def fetch_all(self, uris: Collection[str]) -> dict[str, bytes | RowError]:
        found = {}
        for uri in uris:
            found[uri] = self._state(uri, self.requests.total())
            self.requests[uri] += 1
        return found


class Memory:
    """A board of one process."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.content.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.content[key] = value


def policy(timeout_s: float = 5.0, board: Memory | None = None, run_id: str | None = None) -> OutagePolicy:
    return OutagePolicy(timeout_s, run_id or uuid.uuid4().hex, board, first_pause_s=0.001)


def uris(count: int, host: str = "s3://photos") -> list[str]:
    return [f"{host}/{number}.jpg" for number in range(count)]


@pytest.mark.parametrize("failure", [DOWN, REFUSED, GONE])
def test_an_outage_in_the_middle_of_a_run_is_waited_for(failure: RowError) -> None:
    """A store that fails, expired credentials, and a disk that is unmounted: all images come in the end."""
    store = Store(lambda uri, count: failure if 4 <= count < 30 else uri.encode())
    fetcher = PatientFetcher(store, policy())
    first, second = uris(4), uris(24)[4:]
    assert fetcher.fetch_all(first) == {uri: uri.encode() for uri in first}
    assert fetcher.fetch_all(second) == {uri: uri.encode() for uri in second}
    # One probe at a time waits, not every image of the batch.
    assert max(store.requests[uri] for uri in second) <= 3


def test_a_disk_that_goes_away_within_a_batch_is_waited_for() -> None:
    store = Store(lambda uri, count: GONE if 3 <= count < 20 else uri.encode())
    batch = uris(8, "/photos")
    assert PatientFetcher(store, policy()).fetch_all(batch) == {uri: uri.encode() for uri in batch}
    # A file that a disk lacks while it is there costs a probe.
    store = Store(lambda uri, _: GONE if uri == batch[3] else b"x")
    assert PatientFetcher(store, policy()).fetch_all(batch)[batch[3]] is GONE
    assert store.requests.total() == 9


@pytest.mark.parametrize("failure", [DOWN, REFUSED, GONE])
def test_one_bad_image_among_good_ones_is_the_fault_of_its_row(failure: RowError) -> None:
    store = Store(lambda uri, _: failure if uri.endswith("/3.jpg") else b"x")
    fetcher = PatientFetcher(store, policy())
    outcomes = fetcher.fetch_all(uris(8))
    assert [uri for uri, outcome in outcomes.items() if outcome is failure] == ["s3://photos/3.jpg"]
    # Alone in its batch, too.
    assert fetcher.fetch_all(["s3://photos/3.jpg"]) == {"s3://photos/3.jpg": failure}


def test_a_failure_that_passes_is_tried_again() -> None:
    store = Store(lambda uri, _: DOWN if uri.endswith("7.jpg") and store.requests[uri] < 2 else b"x")
    assert set(PatientFetcher(store, policy()).fetch_all(uris(20)).values()) == {b"x"}


@pytest.mark.parametrize("failure", [DOWN, GONE])
def test_an_outage_that_lasts_ends_the_run(failure: RowError) -> None:
    store, board = Store(lambda _, count: failure if count else b"x"), Memory()
    fetcher = PatientFetcher(store, policy(0.2, board, "run"))
    fetcher.fetch_all(uris(1))
    begun = time.monotonic()
    with pytest.raises(OutageError, match=r"^s3://photos has been down for 0 s \(--outage-timeout-s\): .* goes on"):
        fetcher.fetch_all(uris(3)[1:])
    assert 0.2 <= time.monotonic() - begun < 2
    (shared,) = [Outage.from_json(data) for key, data in board.content.items() if key.startswith(OUTAGES)]
    assert (shared.store, shared.is_over) == ("s3://photos", False)


def test_a_store_that_never_delivered_counts_as_down_by_many_images_alone() -> None:
    dead = Store(lambda uri, _: DOWN if "dead" in uri else b"x")
    few = uris(7, "https://dead.example")
    assert set(PatientFetcher(dead, policy()).fetch_all(few).values()) == {DOWN}
    # A dead host among others is the fault of the rows that name it.
    mixed = uris(10, "https://dead.example") + uris(12, "https://live.example")
    outcomes = PatientFetcher(dead, policy()).fetch_all(mixed)
    assert [outcome is DOWN for outcome in outcomes.values()] == [True] * 10 + [False] * 12
    with pytest.raises(OutageError, match=r"https://dead\.example has been down"):
        PatientFetcher(dead, policy(0.05)).fetch_all(uris(8, "https://dead.example"))
    starting = Store(lambda _, count: DOWN if count < 30 else b"x")
    assert set(PatientFetcher(starting, policy()).fetch_all(uris(8)).values()) == {b"x"}


def test_a_store_that_refuses_from_the_first_image_on_ends_the_run_at_once() -> None:
    store = Store(lambda *_: REFUSED)
    with pytest.raises(OutageError, match="s3://photos refuses every image: ExpiredToken; the same command"):
        PatientFetcher(store, policy(600)).fetch_all(uris(8))
    # Of the web, sites that refuse robots are no outage.
    web = uris(8, "https://shop.example")
    assert set(PatientFetcher(store, policy(600)).fetch_all(web).values()) == {REFUSED}


def test_two_stores_that_share_a_batch_are_down_together() -> None:
    with pytest.raises(OutageError, match="s3://photos refuses every image"):
        PatientFetcher(Store(lambda *_: REFUSED), policy()).fetch_all(uris(8) + uris(8, "s3://more"))


def test_processes_share_what_was_delivered_and_when_an_outage_began() -> None:
    board, run = Memory(), uuid.uuid4().hex
    PatientFetcher(Store(lambda *_: b"x"), policy(board=board, run_id=run)).fetch_all(uris(2))
    from vqa_ray.images.outage import _delivered

    _delivered.cache_clear()
    down = Store(lambda *_: DOWN)
    late = PatientFetcher(down, policy(0.2, board, run))
    # One failed image is enough: another process knows an image that was delivered.
    with pytest.raises(OutageError):
        late.fetch_all(["s3://photos/9.jpg"])
    _delivered.cache_clear()
    begun = time.monotonic()
    with pytest.raises(OutageError):
        PatientFetcher(down, policy(0.2, board, run)).fetch_all(["s3://photos/8.jpg"])
    assert time.monotonic() - begun < 0.15


def test_it_pickles_and_names_stores() -> None:
    assert isinstance(pickle.loads(pickle.dumps(PatientFetcher(Store.__new__(Store), policy()))), PatientFetcher)
    restored = pickle.loads(pickle.dumps(REFUSED))
    assert (restored.code, restored.message, restored.is_refusal) == (REFUSED.code, "ExpiredToken", True)
    for uri, store in {
        "s3://bucket/a/b.jpg": "s3://bucket",
        "http://user:secret@Host:81/a?sig=x": "http://host:81",
        "http://[::1/a": "http://?",
        "/mnt/photos/a/b.jpg": "/mnt/photos",
        "file:///mnt/photos/a/b.jpg": "/mnt/photos",
        "/a.jpg": "/",
        "a.jpg": "/",
    }.items():
        assert store_of(uri) == store
