from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pytest

from vqa_ray.errors import ModelLoadError
from vqa_ray.process import gc_paused, import_whole
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.model_actor import ModelActor


class Stage:
    """Notes whether garbage was collected while it was made."""

    collected: bool

    def __init__(self) -> None:
        type(self).collected = gc.isenabled()


def test_an_actor_loads_its_model_without_collecting(tmp_path: Path) -> None:
    ModelActor(Stage, CrashJournal("run", tmp_path))
    assert not Stage.collected
    assert gc.isenabled()


class Refused:
    """A stage whose model is wrong."""

    def __init__(self) -> None:
        raise ModelLoadError("model m: weights are incomplete")


def test_a_wrong_model_is_told_by_the_first_call_and_no_sooner(tmp_path: Path) -> None:
    """Ray makes an actor again and again whose constructor fails, and prints a traceback each time."""
    actor = ModelActor(Refused, CrashJournal("run", tmp_path))
    with pytest.raises(ModelLoadError, match="model m: weights are incomplete"):
        actor(pa.table({"source_key": [1]}))


class Where:
    """Tells the thread that made it, and the one that calls it."""

    def __init__(self) -> None:
        self.made = threading.get_ident()

    def __call__(self, table: pa.Table) -> pa.Table:
        return table.append_column("threads", pa.array([[self.made, threading.get_ident()]] * len(table)))


def test_a_stage_is_made_and_called_in_one_thread_of_its_own(tmp_path: Path) -> None:
    actor = ModelActor(Where, CrashJournal("run", tmp_path))
    table = pa.table({"source_key": [7], "error_code": pa.nulls(1, pa.string())})
    with ThreadPoolExecutor(1) as other:
        told = [actor(table), other.submit(actor, table).result()]
    ((made, called),) = {tuple(each["threads"][0].as_py()) for each in told}
    assert made == called != threading.get_ident()


def load_nothing() -> None:
    with gc_paused():
        assert not gc.isenabled()
        with gc_paused():
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
        with gc_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_interrupt_leaves_no_module_half_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray interrupts the task that it cancels and keeps its process; torch cannot be imported a second time."""
    lines = ("import signal, time", "signal.raise_signal(signal.SIGINT)", "time.sleep(0.2)", "whole = time.time()")
    (tmp_path / "imported_once.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    begun = time.time()
    # A shell starts its background jobs with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            import_whole("imported_once")
    finally:
        signal.signal(signal.SIGINT, before)
    assert begun < import_module("imported_once").whole <= time.time()
    assert gc.isenabled()
    del sys.modules["imported_once"]
