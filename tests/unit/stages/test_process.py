from __future__ import annotations

import gc
from pathlib import Path

import pytest

from vqa_ray.stages.actor import ModelActor
from vqa_ray.stages.journal import CrashJournal
from vqa_ray.stages.process import collecting_later


class Stage:
    """Notes whether garbage was collected while it was made."""

    collected: bool

    def __init__(self) -> None:
        type(self).collected = gc.isenabled()


def test_an_actor_loads_its_model_without_collecting(tmp_path: Path) -> None:
    ModelActor(Stage, {}, CrashJournal("run", tmp_path))
    assert not Stage.collected
    assert gc.isenabled()


def load_nothing() -> None:
    with collecting_later():
        assert not gc.isenabled()
        with collecting_later():
            pass
        assert not gc.isenabled()
        raise ValueError("no such model")


def test_garbage_is_collected_again_whatever_loading_ends_with() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="no such model"):
        load_nothing()
    assert gc.isenabled()


def test_a_process_that_never_collects_is_left_alone() -> None:
    gc.disable()
    try:
        with collecting_later():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
