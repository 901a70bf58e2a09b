"""Updates that were cut short: which one a command goes on with, and which sources of another are still good. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray.index.input_files import NONE, completely_written, unchanged_since
from vqa_ray.index.version import Version
from vqa_ray.keys import Ranges
from vqa_ray.readers import Source
from vqa_ray.runs.record import RunRecord

_BASE = "base_version"
_OF_ONE_UPDATE = ("input", "input_format", "columns", "limit", "model", _BASE)


@dataclass(frozen=True, slots=True)
class UnfinishedUpdate:
    """An update whose rows, as far as they are written, can be relied on."""

    name: str
    record: RunRecord


def record_of(record: RunRecord, base: Version | None) -> RunRecord:
    """Return the record of one update: that of the command, with the version that the update goes on from."""
    return replace(record, command={**record.command, _BASE: base.number if base else 0})


def resumable_update(unfinished: Sequence[UnfinishedUpdate], wanted: RunRecord) -> str | None:
    """Return the name of the update that the same command began; None where there is none.

    Args:
        unfinished: updates that were cut short.
        wanted: the record of the command, see `record_of`.
    """
    for update in unfinished:
        is_same_input = update.record.input["fingerprint"] == wanted.input["fingerprint"]
        if is_same_input and not update.record.differences(wanted):
            return update.name
    return None


def is_same_index(record: RunRecord, wanted: RunRecord) -> bool:
    """Say whether the updates of two records can belong to one index: of one model and the same options."""
    is_same_model = record.model["fingerprint"] == wanted.model["fingerprint"]
    return is_same_model and shared_options(record.command) == shared_options(wanted.command)


def salvageable(
    planned: pa.Table, written: Ranges, keys: npt.NDArray[np.int64], source: Source, wanted: frozenset[str]
) -> pa.Table:
    """Return those sources of an update that are written whole and as they are in the input.

    Args:
        planned: SOURCES that the update set out to read.
        written: its committed source_keys, int64 (R, 2) ranges, ascending.
        keys: int64 (N,), the source_keys of its rows; where one occurs twice, nothing of the update is good.
        source: the input as it is now.
        wanted: URIs of the sources that are still to be read.
    """
    if len(np.unique(keys)) < len(keys):
        return NONE
    return unchanged_since(completely_written(planned, written), source, wanted)


def shared_options(command: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that all updates of an index must agree on, beside the model."""
    return {name: value for name, value in command.items() if name not in _OF_ONE_UPDATE}
