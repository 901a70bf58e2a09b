"""WebDataset shards: tar files of images and sidecars, streamed. One bad member does not cost the shard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import BinaryIO

import pyarrow as pa

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.bookkeeping import is_bookkeeping
from vqa_ray.readers.columns import ROLES, default_columns, present_labels, resolve
from vqa_ray.readers.damage import until_damage, watched_stream
from vqa_ray.readers.first_rows import take_sample
from vqa_ray.readers.formats.tar_members import Remarks, members_of
from vqa_ray.readers.formats.tar_samples import Sample, samples_of
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.partitions import named_path_values, path_names, with_path_names
from vqa_ray.readers.passthrough import infer_json, keep_json
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.row_tables import numbered
from vqa_ray.readers.source import InputConfig, OpenedInput, Shard, Source, request_error
from vqa_ray.storage.uri import redacted_uri

logger = logging.getLogger(__name__)

_ROLES = tuple(role for role in ROLES if role not in ("image", "image_uri"))
_QUESTIONS = ("question", "txt")


def open_webdataset(config: InputConfig, listing: Listing) -> OpenedInput:
    """One shard a tar; the columns are those of the first 1,000 samples, as far as 32 MiB hold them.

    Raises:
        RequestError: a column that is needed stands in none of them, or there are no samples.
    """
    files = listing.of("webdataset")
    beginning = _Beginning(config.encoding)
    sample = take_sample(files, beginning.read)
    if sample.is_empty:
        raise request_error(f"{listing.uri}: the input is empty: no samples")
    names = with_path_names(config, sample.names, path_names((entry.uri for entry in files), listing.root))
    if sample.rows:
        layout = resolve(
            config,
            names,
            listing.uri,
            roles=_ROLES,
            text_question=_QUESTIONS,
            brings_image=True,
            open_ended=True,
        )
    else:
        layout = default_columns(config, _ROLES, _QUESTIONS)
    shards = (Shard(i, entry.uri, size_bytes=entry.size_bytes) for i, entry in enumerate(files))
    kept = infer_json(config.keep, sample.rows, present_labels(config, sample.names))
    return OpenedInput(tuple(shards), layout, kept, notes=tuple(beginning.notes()), columns=tuple(names))


def read_webdataset(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """Yield the rows of one tar: one for each image, and one for each key that has none."""
    builder, kept = RowBuilder(source, shard.uri), source.passthrough_columns()
    name = shard.uri.rpartition("/")[2]
    path = named_path_values(source, shard.uri)
    make = partial(_row, builder=builder, source=source, fields=kept, shard=name, path=path)
    reads_images, remarks, number = source.config.reads_images, Remarks(), -1
    with watched_stream(shard.uri) as (file, watch):
        rows = numbered(_items(file, remarks, reads_images=reads_images), make, wanted)
        for number, row in until_damage(rows, watch, builder.damaged):
            yield number, row
        later = enumerate(_deferred_items(file, remarks, reads_images=reads_images), number + 1)
        rows = ((number, make(item) if wanted(number) else None) for number, item in later)
        yield from until_damage(rows, watch, lambda *_: None)
    if left_out := remarks.left_out():
        logger.warning("%s: left out: %s", redacted_uri(shard.uri), left_out)


def _row(
    item: Sample | str,
    *,
    builder: RowBuilder,
    source: Source,
    fields: Sequence[pa.Field],
    shard: str,
    path: Mapping[str, str | None],
) -> Row | None:
    if isinstance(item, str):
        return builder.malformed(f"{shard}: {item}", f"{shard}\0{item}".encode())
    where = f"{shard} sample {item.image_id}"
    known_by = f"{shard}\0{item.image_id}".encode()
    if item.image is not None and item.image.problem:
        error = RowError(item.image.problem.code, f"{where}: {item.image.problem.message}")
        return builder.failed(error, known_by, item.image_id)
    values = item.values(source.config.encoding)
    if isinstance(values, str):
        return builder.malformed(f"{where}: {values}", known_by, item.image_id)
    if item.image is None:
        if all(is_bookkeeping(member.name.rpartition("/")[2]) for member in item.sidecars):
            return None
        suffixes = ", ".join(dict.fromkeys(member.suffix for member in item.sidecars))
        several = " (several hold images: give them the suffixes of images)" if item.holds_images else ""
        error = RowError(ErrorCode.IMAGE_MISSING, f"{where}: no image, only {suffixes}{several}")
        return builder.failed(error, known_by, item.image_id)
    kept = keep_json({**path, **values}, fields)
    ids = (*source.column_map.image_id, *source.column_map.question_id)
    values = {**path, **values, **item.ids_as_written(values, ids, source.config.encoding)}
    if item.part:
        given = {
            name: item.with_part(values[name]) for name in source.column_map.image_id if values.get(name) is not None
        }
        values = {**values, **given}
    return builder.row(values, kept, image=(item.image.data, item.image_id), line=known_by, where=where)


def rows_in(file: BinaryIO) -> Iterator[object]:
    """Yield an item for every row of a tar, for an estimate.

    Images are not read, links are not followed, and deferred images count as rows where they stand.
    """
    remarks = Remarks()
    known = 0
    for item in _items(file, remarks, reads_images=False, follows_links=False):
        yield item
        yield from range(known, remarks.deferred)
        known = remarks.deferred
    yield from range(known, remarks.deferred)


def _items(
    file: BinaryIO, remarks: Remarks, *, reads_images: bool = True, follows_links: bool = True
) -> Iterator[Sample | str]:
    """Yield the samples but for the deferred; a text for each damaged stretch."""
    members = members_of(file, remarks, reads_images=reads_images, follows_links=follows_links)
    for sample in samples_of(members):
        while remarks.gaps:
            yield remarks.gaps.pop(0)
        if sample.image is not None and sample.image.is_deferred:
            remarks.adopted.add(sample.image.name)
        yield sample
    yield from remarks.gaps


def _deferred_items(file: BinaryIO, remarks: Remarks, *, reads_images: bool = True) -> Iterator[Sample]:
    """Yield the deferred samples: those of images, after a first pass. What speaks of no image is left out."""
    if not remarks.deferred:
        for name in remarks.deferred_sidecars:
            remarks.leave_out(name)
        return
    file.seek(0)
    for sample in samples_of(members_of(file, remarks, deferred=True, reads_images=reads_images)):
        if sample.image is None:
            for member in sample.sidecars:
                remarks.leave_out(member.name)
        elif sample.image.name not in remarks.adopted:
            yield sample


@dataclass(slots=True)
class _Beginning:
    """The first samples of an input, and what a person should know of them."""

    encoding: str | None
    left_out: Remarks = field(default_factory=Remarks)
    without_image: dict[str, str] = field(default_factory=dict)
    without_sidecar: dict[str, str] = field(default_factory=dict)

    def read(self, uri: str) -> Iterator[tuple[Mapping[str, object] | None, int]]:
        """Yield the beginning of one file, for `take_sample`."""
        remarks = Remarks(unused=self.left_out.unused, examples=self.left_out.examples)
        with watched_stream(uri) as (file, watch):
            items = chain(_items(file, remarks), _deferred_items(file, remarks))
            for _, item in until_damage(enumerate(items), watch, lambda number, error: str(error)):
                values = item if isinstance(item, str) else item.values(self.encoding)
                if isinstance(item, Sample):
                    self._note(item)
                size_bytes = 0 if isinstance(item, str) else item.size_bytes()
                yield (None if isinstance(values, str) else values), size_bytes

    def _note(self, sample: Sample) -> None:
        if sample.image is None:
            self.without_image.setdefault(sample.key, sample.sidecars[0].name)
        elif not sample.sidecars:
            self.without_sidecar.setdefault(sample.key, sample.image.name)

    def notes(self) -> Iterator[str]:
        """Yield notes on members that are left out, and on samples whose members do not lie together."""
        left_out = self.left_out.left_out()
        if left_out:
            yield f"left out of the tars, as far as their beginnings show: {left_out}"
        apart = sorted(self.without_image.keys() & self.without_sidecar.keys())
        if apart:
            names = f"{self.without_sidecar[apart[0]]} and {self.without_image[apart[0]]}"
            yield (
                f"members of one sample do not lie together in the tar ({names}, for example), so they become rows of "
                "their own; write the tar in the order of its names: tar --sort=name"
            )
