"""Tiny checkpoints of the families that are trained."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.chat_conversations import TRAINED_FAMILIES, save_trained


@pytest.fixture(scope="session")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Family → its checkpoint, made when it is first asked for."""
    return functools.cache(lambda family: save_trained(tmp_path_factory.mktemp(family), family))


@pytest.fixture(scope="module", params=TRAINED_FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family that is trained."""
    return str(request.param)


@pytest.fixture(scope="session")
def checkpoint(directories: Callable[[str], Path]) -> Path:
    """A checkpoint with a projector."""
    return directories("qwen2_vl")
