"""Outages of a bucket, as its client reports them: images wait for the store, and come."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest

from tests.helpers.faulty_store import PASSING, Fault, FaultyStore, faulty_s3
from vqa_ray.errors import ErrorCode, OutageError, StoreFailure
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.images.outage import OutagePolicy, PatientFetcher
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.s3 import CheckedS3FileSystem

COUNT = 40


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, FaultyStore]]:
    with faulty_s3("outages") as (uri, store):
        for number in range(COUNT):
            write_bytes_atomic(f"{uri}/{number}.jpg", bytes([number]) * 1000)
        yield uri, store
        store.heal()


def patient(timeout_s: float = 60.0) -> PatientFetcher:
    return PatientFetcher(ImageFetcher(2000), OutagePolicy(timeout_s, uuid.uuid4().hex, first_pause_s=0.05))


def check(fetcher: PatientFetcher, uri: str) -> None:
    wanted = {f"{uri}/{number}.jpg": bytes([number]) * 1000 for number in range(COUNT)}
    assert fetcher.fetch_all(wanted) == wanted


@pytest.mark.parametrize("fault", [Fault.EXPIRED, Fault.NO_BUCKET, Fault.BUSY, Fault.RESET])
def test_an_outage_in_the_middle_costs_time_and_no_image(
    bucket: tuple[str, FaultyStore], fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CheckedS3FileSystem, "retries", 1)
    (uri, store), fetcher = bucket, patient()
    store.heal()
    fetcher.fetch_all([f"{uri}/0.jpg"])
    store.inject(fault)
    healing = threading.Timer(1.0, store.heal)
    healing.start()
    check(fetcher, uri)
    healing.join()


@pytest.mark.parametrize("fault", [Fault.EXPIRED, Fault.NO_BUCKET])
def test_a_refusal_from_the_beginning_ends_the_run_at_once(bucket: tuple[str, FaultyStore], fault: Fault) -> None:
    uri, store = bucket
    store.inject(fault)
    with pytest.raises(OutageError, match="refuses every image"):
        check(patient(), uri)
    outcome = ImageFetcher(2000).fetch_all([f"{uri}/1.jpg"])[f"{uri}/1.jpg"]
    assert isinstance(outcome, StoreFailure)
    assert outcome.code == (ErrorCode.IMAGE_MISSING if fault is Fault.NO_BUCKET else ErrorCode.IMAGE_FETCH_FAILED)
    store.heal()


def test_a_tenth_of_the_requests_fails_and_no_image_does(bucket: tuple[str, FaultyStore]) -> None:
    uri, store = bucket
    store.inject(*PASSING, share=0.1)
    check(patient(), uri)
    store.heal()
    assert store.injected.total() > 0
