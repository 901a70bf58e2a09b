"""Updates that were cut short: what a command goes on with, without any file of an index."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from vqa_ray.index.input_files import planned_files
from vqa_ray.index.recovery import UnfinishedUpdate, is_same_index, record_of, resumable_update, salvageable
from vqa_ray.keys import ranges_of
from vqa_ray.readers import InputConfig, open_source
from vqa_ray.runs.record import RunRecord

COMMAND = {"input": "in", "limit": None, "thumbnails": True}
INPUT = {"uri": "in", "format": "images", "fingerprint": "a", "place": "/in"}
RECORD = RunRecord("1", "index", "2026-01-01T00:00:00Z", COMMAND, {"reference": "m", "fingerprint": "f"}, INPUT, {})
WANTED = record_of(RECORD, None)


def test_the_update_of_the_same_command_and_files_is_resumed() -> None:
    other = replace(WANTED, command={**WANTED.command, "thumbnails": False})
    grown = replace(WANTED, input={**INPUT, "fingerprint": "b"})
    unfinished = [UnfinishedUpdate(name, record) for name, record in (("a", other), ("b", grown), ("c", WANTED))]
    assert resumable_update(unfinished, WANTED) == "c"
    assert resumable_update(unfinished[:2], WANTED) is None


def test_updates_of_other_inputs_belong_to_one_index_and_those_of_other_options_do_not() -> None:
    assert is_same_index(replace(RECORD, command={**COMMAND, "input": "more", "limit": 3}), WANTED)
    assert not is_same_index(replace(RECORD, command={**COMMAND, "thumbnails": False}), WANTED)
    assert not is_same_index(replace(RECORD, model={"reference": "m", "fingerprint": "g"}), WANTED)


def test_sources_that_are_whole_unchanged_and_still_wanted_are_salvaged(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(b"image")
        os.utime(tmp_path / f"{number}.png", (1, 1))
    config = InputConfig(str(tmp_path), needs_question=False)
    planned = planned_files(open_source(config), "000001-a")
    keys = planned["first_key"].to_numpy()
    (tmp_path / "1.png").write_bytes(b"another")
    source = open_source(config)
    uris = [str(tmp_path / f"{number}.png") for number in range(4)]
    written = ranges_of(keys[:3])
    good = salvageable(planned, written, keys[:3], source, frozenset(uris[:2]))
    assert good["uri"].to_pylist() == [uris[0]], "1 has changed, 2 is not wanted, 3 is not written"
    twice = np.concatenate([keys[:3], keys[:1]])
    assert salvageable(planned, written, twice, source, frozenset(uris)).num_rows == 0
