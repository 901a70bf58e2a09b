"""What S3 gives through a line that fails: the whole object or an error, never a part of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.helpers.faulty_store import PASSING, Fault, FaultyStore, faulty_s3
from vqa_ray.storage import filesystem, s3
from vqa_ray.storage.atomic import create, write_bytes_atomic
from vqa_ray.storage.filesystem import filesystem_for, list_files, read_bytes
from vqa_ray.storage.store_errors import store_failures, store_reason

DATA = bytes(range(1, 256)) * 400
BODIES = (Fault.RESET, Fault.CUT, Fault.SHORT, Fault.EMPTY)


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[str, FaultyStore]]:
    with faulty_s3("faulty") as (uri, store):
        yield uri, store


@pytest.fixture(autouse=True)
def _healed(place: tuple[str, FaultyStore]) -> Iterator[None]:
    yield
    place[1].heal()


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.name)
@pytest.mark.parametrize("max_bytes", [None, 2**20])
def test_an_object_is_read_whole(place: tuple[str, FaultyStore], fault: Fault, max_bytes: int | None) -> None:
    uri, store = place
    write_bytes_atomic(f"{uri}/a", DATA)
    before = store.injected[fault]
    store.inject(fault, matching="GET", times=1 if fault is Fault.STALL else 2)
    assert read_bytes(f"{uri}/a", max_bytes) == DATA
    assert store.injected[fault] > before


@pytest.mark.parametrize("fault", BODIES, ids=lambda fault: fault.name)
def test_no_part_of_a_large_object_is_zeros(
    place: tuple[str, FaultyStore], fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s3fs reads an object larger than a block in several requests, and leaves zeros where one brought too little."""
    uri, store = place
    monkeypatch.setattr(filesystem, "_S3_BLOCK_BYTES", 2**14)
    write_bytes_atomic(f"{uri}/large", DATA)
    store.inject(fault, matching="GET", times=1)
    assert read_bytes(f"{uri}/large") == DATA


@pytest.mark.parametrize("fault", BODIES, ids=lambda fault: fault.name)
def test_a_body_that_is_always_short_is_an_error(
    place: tuple[str, FaultyStore], fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, store = place
    monkeypatch.setattr(s3.CheckedS3FileSystem, "retries", 2)
    write_bytes_atomic(f"{uri}/a", DATA)
    store.inject(fault, matching="GET")
    with pytest.raises(store_failures()):
        read_bytes(f"{uri}/a")
    files, path = filesystem_for(f"{uri}/a")
    with pytest.raises(store_failures()), files.open_input_file(path) as file:
        file.read()


@pytest.mark.parametrize(
    ("fault", "told"), [(Fault.EXPIRED, "renew the credentials"), (Fault.NO_BUCKET, "no such bucket")]
)
def test_what_does_not_pass_is_told_at_once(place: tuple[str, FaultyStore], fault: Fault, told: str) -> None:
    uri, store = place
    write_bytes_atomic(f"{uri}/a", DATA)
    store.inject(fault)
    before = store.injected[fault]
    with pytest.raises(store_failures()) as caught:
        read_bytes(f"{uri}/a")
    assert told in store_reason(caught.value)
    assert store.injected[fault] - before == 1


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.BUSY, Fault.RESET], ids=lambda fault: fault.name)
def test_writes_are_repeated(place: tuple[str, FaultyStore], fault: Fault) -> None:
    uri, store = place
    store.inject(fault, matching="PUT", times=1)
    write_bytes_atomic(f"{uri}/written-{fault.name}", DATA)
    # The answer to the first request may be lost after it has made the object: it is ours all the same.
    store.inject(fault, matching="PUT", times=1)
    assert create(f"{uri}/created-{fault.name}", DATA)
    assert not create(f"{uri}/created-{fault.name}", b"another")
    store.inject(fault, share=0.5, times=3)
    assert {entry.size_bytes for entry in list_files(uri) if fault.name in entry.uri} == {len(DATA)}


@pytest.mark.parametrize("fault", [Fault.SHORT, Fault.EMPTY, Fault.RESET], ids=lambda fault: fault.name)
def test_a_listing_cut_short_is_no_shorter_listing(
    place: tuple[str, FaultyStore], fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, store = place
    for number in range(9):
        write_bytes_atomic(f"{uri}/many-{fault.name}/{number}", b"x")
    store.inject(fault, matching="GET", times=2)
    assert len(list_files(f"{uri}/many-{fault.name}")) == 9
    monkeypatch.setattr(s3.CheckedS3FileSystem, "retries", 2)
    store.inject(fault, matching="GET")
    with pytest.raises(store_failures()):
        list_files(f"{uri}/many-{fault.name}")


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.BUSY], ids=lambda fault: fault.name)
def test_a_store_that_answers_with_errors_for_seconds_is_waited_for(
    place: tuple[str, FaultyStore], fault: Fault
) -> None:
    uri, store = place
    write_bytes_atomic(f"{uri}/a", DATA)
    store.inject(fault, matching="GET", times=7)
    assert read_bytes(f"{uri}/a") == DATA
    store.inject(fault, matching="PUT", times=7)
    write_bytes_atomic(f"{uri}/a", DATA)


def test_a_store_that_is_away_is_asked_six_times(
    place: tuple[str, FaultyStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def away(_self: object, method: str, *_given: object, **_options: object) -> None:
        asked.append(method)
        raise EndpointConnectionError(endpoint_url="http://s3")

    monkeypatch.setattr("s3fs.core.S3FileSystem._call_s3", away)
    with pytest.raises(EndpointConnectionError):
        read_bytes(f"{place[0]}/a")
    assert asked == [asked[0]] * 6


def test_a_body_that_came_too_slowly_is_sent_again(place: tuple[str, FaultyStore]) -> None:
    uri, store = place
    store.inject(Fault.SLOW_BODY, matching="PUT", times=2)
    write_bytes_atomic(f"{uri}/slow", DATA)
    assert store.injected[Fault.SLOW_BODY] == 2
    assert read_bytes(f"{uri}/slow") == DATA


def test_an_error_of_the_store_is_waited_for_for_ten_seconds(
    place: tuple[str, FaultyStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(s3, "asyncio", SimpleNamespace(sleep=sleep))
    uri, store = place
    write_bytes_atomic(f"{uri}/a", DATA)
    store.inject(Fault.ERROR, matching="GET")
    with pytest.raises(store_failures()):
        read_bytes(f"{uri}/a")
    assert pauses[0] < 0.2
    assert sum(pauses) > 10


def test_the_error_handler_of_the_program_is_asked_as_before() -> None:
    program = (
        "import s3fs.core\n"
        "s3fs.core.set_custom_error_handler(lambda error: isinstance(error, KeyError))\n"
        "import vqa_ray.storage.s3\n"
        "print([s3fs.core.CUSTOM_ERROR_HANDLER(error) for error in (KeyError(), ValueError())])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[True, False]\n"
