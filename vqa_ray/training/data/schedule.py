"""Which row is trained on at which step: decided beforehand, whatever the number of workers. Pure.

An epoch is a sequence: the shards in an order of its own, the rows of each as they are stored. The sequence is cut into
windows, within which rows are shuffled, and the global batch of a step is the next `batch_size` rows. So a shard is
read once an epoch, from front to back, and whoever reads holds one window at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqa_ray.errors import RequestError
from vqa_ray.readers import Source
from vqa_ray.schema import ROW_BITS
from vqa_ray.training.data.targets import Targets

WINDOW_BYTES = 64 * 2**20
# What a row takes in memory beside its image, and an image where the source does not tell.
_ROW_BYTES = 256
_IMAGE_BYTES = 50_000
# Rows that are held at once where nothing is shuffled.
_EVALUATION_WINDOW = 64
_REFERENCES = ("jsonl", "csv", "vqa-v2", "images")

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How the order of rows is made.

    Attributes:
        batch_size: rows of a global batch; the last one of an epoch may be smaller.
        seed: of the order.
        shuffle_rows: rows of a window; see `window_rows`.
    """

    batch_size: int
    seed: int = 0
    shuffle_rows: int = 2_048


@dataclass(frozen=True, slots=True)
class ScheduledRows:
    """M rows that one task reads, in the order in which they are wanted.

    Attributes:
        keys: int64 (M,), source_keys.
        steps: int32 (M,), the step that each row belongs to; ascending.
        targets: of these rows.
        auxiliary: int32 (M, columns).
        windows: int64 (W,), their lengths, M together. Each window comes in the order of the sequence, so it can be
            emitted as soon as so many of the rows were read.
        shards: the indices of the shards to read, in this order.
    """

    keys: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int32]
    targets: Targets
    auxiliary: npt.NDArray[np.int32]
    windows: Counts
    shards: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.keys)


class RowSchedule:
    """The order of the rows of each epoch.

    The same keys, targets and settings give the same plan, wherever it is made.

    Args:
        keys: int64 (N,), source_keys, ascending. Rows without targets are left out.
        targets: of these rows.
        config: how the order is made.
        auxiliary: int32 (N, columns), or None for none.

    Raises:
        RequestError: no row has targets.
    """

    def __init__(
        self,
        keys: npt.NDArray[np.int64],
        targets: Targets,
        config: ScheduleConfig,
        auxiliary: npt.NDArray[np.int32] | None = None,
    ) -> None:
        chosen = np.flatnonzero(targets.trainable)
        if not len(chosen):
            raise RequestError(f"none of the {len(keys)} rows to train on has an answer that is in the vocabulary")
        self.config = config
        self._keys, self._targets = keys[chosen], targets.take(chosen)
        self._auxiliary = np.empty((len(chosen), 0), np.int32) if auxiliary is None else auxiliary[chosen]
        # Where each shard's rows begin among the keys, and how many there are.
        self._shards, self._first, self._sizes = np.unique(
            self._keys >> ROW_BITS, return_index=True, return_counts=True
        )

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def steps_per_epoch(self) -> int:
        """Global batches of an epoch."""
        return -(-len(self) // self.config.batch_size)

    def parts(self, epoch: int, first_step: int = 0) -> list[ScheduledRows]:
        """Return the rows of an epoch in their order, in parts that are read one by one.

        Args:
            epoch: from 0.
            first_step: counted over the whole training, as the steps of the parts are: the first step of an epoch is
                `epoch * steps_per_epoch`. Rows of earlier steps are left out.
        """
        rng = np.random.default_rng([self.config.seed, epoch])
        order = rng.permutation(len(self._shards))
        base = epoch * self.steps_per_epoch
        parts = []
        position = 0
        for shards, windows in self._groups(order):
            # Rows in the order of the sequence, then shuffled within each window.
            rows = np.concatenate([np.arange(self._sizes[s]) + self._first[s] for s in shards])
            ends = np.cumsum(windows)
            for begin, end in zip(ends - windows, ends, strict=True):
                rng.shuffle(rows[begin:end])
            steps = base + (position + np.arange(len(rows))) // self.config.batch_size
            position += len(rows)
            done = int(np.searchsorted(steps, first_step))
            if done < len(rows):
                left = np.diff(np.maximum(ends, done), prepend=done)
                parts.append(self._part(rows[done:], steps[done:], left[left > 0], shards))
        return parts

    def _groups(self, order: Counts) -> list[tuple[Counts, Counts]]:
        """Return (shards, lengths of their windows) of each part.

        A part is as many shards as one window holds, or one large shard with windows of its own.
        """
        limit = self.config.shuffle_rows
        groups: list[tuple[Counts, Counts]] = []
        begin, held = 0, 0
        for at, size in enumerate(self._sizes[order].tolist()):
            if held and held + size > limit:
                groups.append((order[begin:at], np.array([held])))
                begin, held = at, 0
            held += size
            if held > limit:
                groups.append((order[begin : at + 1], _even(held, -(-held // limit))))
                begin, held = at + 1, 0
        if held:
            groups.append((order[begin:], np.array([held])))
        return groups

    def _part(self, rows: Counts, steps: npt.NDArray[np.int64], windows: Counts, shards: Counts) -> ScheduledRows:
        keys = self._keys[rows]
        present = set(np.unique(keys >> ROW_BITS).tolist())
        return ScheduledRows(
            keys=keys,
            steps=steps.astype(np.int32),
            targets=self._targets.take(rows),
            auxiliary=self._auxiliary[rows],
            windows=windows,
            shards=tuple(index for index in self._shards[shards].tolist() if index in present),
        )


def evaluation_parts(
    keys: npt.NDArray[np.int64], targets: Targets, auxiliary: npt.NDArray[np.int32] | None = None
) -> list[ScheduledRows]:
    """Every row once, as they are stored, all at step 0; one part for each shard.

    Args:
        keys: int64 (N,), source_keys, ascending.
        targets: of these rows; rows without any are here all the same.
        auxiliary: int32 (N, columns), or None for none.
    """
    classes = np.empty((len(keys), 0), np.int32) if auxiliary is None else auxiliary
    shards, first, sizes = np.unique(keys >> ROW_BITS, return_index=True, return_counts=True)
    parts = []
    for index, begin, size in zip(shards.tolist(), first.tolist(), sizes.tolist(), strict=True):
        rows = np.arange(begin, begin + size)
        windows = _even(len(rows), -(-len(rows) // _EVALUATION_WINDOW))
        steps = np.zeros(len(rows), np.int32)
        parts.append(ScheduledRows(keys[rows], steps, targets.take(rows), classes[rows], windows, (index,)))
    return parts


def window_rows(source: Source, rows: int) -> int:
    """Return how many rows a window of about `WINDOW_BYTES` in memory holds, by the mean of the source.

    Args:
        source: what is read, with its shards.
        rows: of the source, where it does not tell.
    """
    size_bytes = sum(shard.size_bytes for shard in source.shards)
    row_bytes = size_bytes // max(1, source.total_rows or rows)
    if not size_bytes and source.format not in _REFERENCES:
        row_bytes = _IMAGE_BYTES
    return max(1, WINDOW_BYTES // (row_bytes + _ROW_BYTES))


def _even(total: int, parts: int) -> Counts:
    return np.diff(np.arange(parts + 1) * total // parts)
