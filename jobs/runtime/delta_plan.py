"""The plan of an update: which rows are asked, which stay, and which are gone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.job import Job
from vqa_ray.keys import NOTHING, Keys, Ranges, ranges_of, within
from vqa_ray.readers import Shard, Source, read_shard
from vqa_ray.readers.changes.drift import Drift, named
from vqa_ray.readers.changes.snapshot import RETIRED, InputSnapshot
from vqa_ray.readers.changes.succession import InputDelta, delta_of, settled, source_of, with_keys
from vqa_ray.runs.apply_update import RowChanges
from vqa_ray.runs.counts import current_keys
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.runs.row_match import KnownRow, Matches, RowReading, match
from vqa_ray.schema import ROW_BITS, written_name
from vqa_ray.stages.read import ReadShard, read_tasks

logger = logging.getLogger(__name__)

_MAX_GONE = 0.1
_SHARDS_AT_ONCE = 8
_NO_KEYS: Keys = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """An update of a run.

    Attributes:
        source: the input after it.
        snapshot: the listing after it.
        delta: what the files say.
        changes: what happens to the rows.
        asked: int64 (N,), source_keys that are asked again in their places.
        before, were_gone: int64 (M,), source_keys of all rows before, and of those marked as gone then.
        total: the number of rows to ask; None when unknown.
        asks_all: whether all rows are asked again.
    """

    source: Source
    snapshot: InputSnapshot
    delta: InputDelta
    changes: RowChanges
    asked: Keys
    before: Keys
    were_gone: Keys
    total: int | None
    asks_all: bool

    @property
    def current(self) -> int:
        """The number of rows before that were not marked as gone."""
        return len(self.before) - len(self.were_gone)

    @property
    def kept(self) -> int:
        """The number of rows that stay as they were."""
        leaving = np.setdiff1d(np.concatenate([self.changes.replaced[:, 0], self.changes.gone]), self.were_gone)
        return self.current - len(leaving)

    def check_gone(self, uri: str, max_gone: float | None, drift: Drift | None) -> None:
        """Refuse an update that would take away too many rows: a directory may be missing.

        Raises:
            RequestError: more than the fraction `max_gone` of the rows are gone.
        """
        gone, limit = len(self.changes.gone), _MAX_GONE if max_gone is None else max_gone
        if gone > limit * self.current:
            raise RequestError(
                f"{uri}: --update: {gone:,} of {self.current:,} rows ({gone / self.current:.1%}) are gone"
                f"{named(drift.gone) if drift else ''}, more than --max-gone {limit:g} allows; if nothing is missing "
                f"there by mistake, give --max-gone {min(1.0, np.ceil(100 * gone / self.current) / 100):g}"
            )

    def tasks(self, done: Ranges) -> list[ReadShard]:
        """Make the readers of the rows to ask, without those that are written already."""
        shards = self.source.shards
        first = self.delta.first_new
        tasks = read_tasks(replace(self.source, shards=shards[:first]), keys=self.asked, done=done)
        if self.delta.grown:
            grown = tuple(shards[index] for index in self.delta.grown)
            tasks += read_tasks(replace(self.source, shards=grown), done=with_keys(done, self.before))
        skipped = with_keys(done, self.changes.moved[:, 1])
        return tasks + read_tasks(replace(self.source, shards=shards[first:]), done=skipped)


def plan_update(
    job: Job, directory: RunDirectory, known: InputSnapshot, after: InputSnapshot, *, forget: bool, asks_all: bool
) -> UpdatePlan:
    """Compare the rows of a finished run with its input.

    New shards of tables are read here, without asking anything, where rows of other shards have lost their files.

    Args:
        job: the command.
        directory: of the run.
        known: the listing before.
        after: the listing after the update.
        forget: whether rows that are gone are left out.
        asks_all: whether all rows are asked again.
    """
    delta = delta_of(known, after)
    parts = [entry.uri for entry in directory.part_files()]
    before, were_gone = current_keys(parts)
    source = source_of(job.source, after)
    new = source.shards[delta.first_new :]
    orphans = before[np.isin(before >> ROW_BITS, [s.index for s in after.shards if s.uri == RETIRED])]
    matches, read = Matches(np.empty((0, 2), np.int64), np.empty((0, 2), np.int64), _NO_KEYS), None
    if len(orphans):
        reading = _reading(job)
        now = list(_read_rows(source, new, reading))
        matches = match(_written_rows(parts, orphans, reading), now)
        read = len(now)
    if asks_all:
        both = np.concatenate([matches.same, matches.changed])
        matches = matches._replace(same=matches.same[:0], changed=both[np.argsort(both[:, 0])])
    gone = np.union1d(delta.gone, np.setdiff1d(matches.gone, were_gone))
    asked = delta.changed
    if asks_all:
        asked = np.setdiff1d(before, np.concatenate([orphans, were_gone, gone]))
        asked = np.union1d(asked, delta.changed)
    replaced = np.concatenate([np.stack([asked, asked], axis=1), matches.changed])
    changes = RowChanges(
        replaced[np.argsort(replaced[:, 0])],
        matches.same,
        gone,
        forget,
        f"not in the input any more since {job.record.started}",
    )
    leaving = changes.leaving
    marked = np.union1d(were_gone, _NO_KEYS if changes.forget else gone)
    final = settled(after, leaving, np.setdiff1d(marked, leaving))
    counts = [shard.rows for shard in new]
    fresh = read if read is not None else None if None in counts else sum(count or 0 for count in counts)
    total = None if fresh is None or delta.grown else len(asked) + fresh - len(matches.same)
    return UpdatePlan(
        source_of(job.source, final),
        final,
        delta,
        changes,
        asked,
        before,
        were_gone,
        total,
        asks_all,
    )


def _reading(job: Job) -> RowReading:
    columns = job.source.column_map
    ids = tuple(name for name in ("image_id", "question_id", "image_uri") if name in job.schema.names)
    kept = tuple(
        (part.name, written_name(part.name))
        for part in job.source.passthrough
        if written_name(part.name) in job.schema.names
    )
    # The texts in questions stand in no column of the output, and what a page shows stands in its document alone.
    is_hidden = job.source.config.text is not None or job.source.format == "pdf"
    return RowReading(
        ids if columns.row_id else tuple(name for name in ids if name != "image_uri"),
        kept,
        has_own_ids=bool(columns.row_id),
        tells_all=not is_hidden and not (columns.row_id and (columns.context or columns.images)),
    )


def _read_rows(source: Source, shards: tuple[Shard, ...], reading: RowReading) -> Iterator[KnownRow]:
    """Yield the rows of new shards of tables; their images are dropped at once."""
    slim = source.for_workers()
    if reading.has_own_ids:
        # The ids do not depend on the bytes of images, which then are left where they are.
        slim = slim.without_images()

    def rows(shard: Shard) -> list[KnownRow]:
        return [row for table in read_shard(slim, shard) for row in reading.of_input(table)]

    if shards:
        logger.info("comparing the rows of %d changed or added files", len(shards))
    with ThreadPoolExecutor(_SHARDS_AT_ONCE) as pool:
        for found in pool.map(rows, shards):
            yield from found


def _written_rows(parts: list[str], keys: Keys, reading: RowReading) -> Iterator[KnownRow]:
    wanted: Ranges = ranges_of(keys) if len(keys) else NOTHING
    for uri in parts:
        table = read_columns(uri)
        mine = within(table["source_key"].to_numpy(), wanted)
        if mine.any():
            yield from reading.of_output(table.filter(mine))
