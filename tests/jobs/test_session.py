"""The Ray that a job joins: what is told when there is none."""

from __future__ import annotations

import pytest
import ray

from jobs.session import session
from vqa_ray.errors import RequestError


def refuse(*_: object, **__: object) -> None:
    raise ConnectionError("nobody answers")


@pytest.mark.parametrize(
    ("address", "mode", "hinted"), [("head:6379", "", True), ("head:6379", "token", False), ("local", "", False)]
)
def test_the_token_of_a_cluster_is_hinted_at(
    address: str, mode: str, hinted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with (
        pytest.raises(RequestError, match=f"--address {address}: no Ray to run on: nobody answers") as caught,
        session(address),
    ):
        pass
    assert ("RAY_AUTH_MODE=token" in str(caught.value)) == hinted
