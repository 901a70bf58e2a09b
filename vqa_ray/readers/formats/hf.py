"""Hugging Face datasets: directories that `save_to_disk` wrote, directories laid out like the hub, names on the hub."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from vqa_ray.format_names import Format
from vqa_ray.readers.arrow_rows import rows_of
from vqa_ray.readers.column_types import check_types
from vqa_ray.readers.columns import present_labels, resolve, with_named_images
from vqa_ray.readers.damage import DAMAGE, until_damage, watched_stream
from vqa_ray.readers.formats.parquet import open_parquet, read_parquet
from vqa_ray.readers.listing import Listing, is_saved_dataset, list_input
from vqa_ray.readers.partitions import CONFIGURATION, SPLIT, named_path_values, path_names, with_path_fields
from vqa_ray.readers.passthrough import infer_arrow
from vqa_ray.readers.passthrough_types import notes_on
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.source import (
    BENCHMARKS,
    ColumnMap,
    InputConfig,
    OpenedInput,
    Shard,
    Source,
    join_names,
    request_error,
)
from vqa_ray.readers.suffixes import HUB_PARQUET
from vqa_ray.storage.filesystem import exists, read_bytes
from vqa_ray.storage.uri import scheme_of

_HUB_NAME = re.compile(
    r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?(?:#(?:(?P<config>[^/]+)/)?(?P<split>.+))?"
)
_HUB_ROWS = 32


def open_hf(config: InputConfig, listing: Listing) -> OpenedInput:
    """Find the shards of a dataset directory; `DIR#SPLIT` names one of several splits.

    Raises:
        RequestError: it is no dataset, has several splits and none is named, or lacks a column.
    """
    if is_saved_dataset(listing):
        return _open_saved(config, _choose_saved(listing), listing.root)
    parquet = [entry for entry in listing.entries if listing.kind(entry) == "parquet"]
    if not parquet:
        raise request_error(
            f"{listing.uri}: is not a Hugging Face dataset (no dataset_dict.json or state.json of save_to_disk, no "
            f"Parquet files); found {listing.found()}"
        )
    splits: dict[str, list[Any]] = {}
    for entry in parquet:
        named = HUB_PARQUET.search(entry.uri)
        splits.setdefault(named["split"] if named else "train", []).append(entry)
    return open_parquet(config, listing, splits[_choose(listing.uri, listing.fragment, list(splits))])


def read_hf(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """Yield the rows of one shard, whichever kind it is of."""
    if shard.names:
        yield from _read_hub(source, shard, wanted)
    elif shard.uri.endswith(".arrow"):
        builder = RowBuilder(source, shard.uri)
        with watched_stream(shard.uri) as (file, watch):
            path = named_path_values(source, shard.uri)
            rows = rows_of(_batches(file, source), 0, source, builder, wanted, path=path)
            yield from until_damage(rows, watch, builder.damaged)
    else:
        yield from read_parquet(source, shard, wanted)


def check_split(listing: Listing, chosen: Format) -> None:
    """Check that a split is named only where there are some.

    Raises:
        RequestError: it is named of files without.
    """
    # Of documents, it names pages.
    if listing.fragment and chosen not in ("hf", "pdf", *BENCHMARKS):
        raise request_error(
            f"{listing.uri}: #{listing.fragment} names a split of a dataset, and this is read as {chosen}; name the "
            "files of the split, by a pattern for instance"
        )


def is_hub_name(uri: str) -> bool:
    """Check whether `uri` can only name a dataset on the hub: `org/name`, `org/name@revision#config/split`."""
    return bool(_HUB_NAME.fullmatch(uri)) and not exists(uri.partition("#")[0])


def open_hub(config: InputConfig) -> OpenedInput:
    """Find the shards of a dataset on the hub, pinned to the revision it has now.

    Raises:
        RequestError: it has several splits and none is named, or lacks a column.
        OSError: the hub cannot be reached, or has no such dataset.
    """
    from datasets import get_dataset_config_names, get_dataset_split_names
    from huggingface_hub import HfApi

    named = _HUB_NAME.fullmatch(config.uri)
    assert named is not None
    name, revision = named["name"], HfApi().dataset_info(named["name"], revision=named["revision"]).sha
    configurations = get_dataset_config_names(name, revision=revision)
    configuration = _choose(config.uri, named["config"] or "", configurations, "configurations", "CONFIG/SPLIT")
    splits = get_dataset_split_names(name, configuration, revision=revision)
    split = _choose(config.uri, named["split"] or "", splits)
    return open_streamed(config, name, str(revision), configuration, split)


def open_streamed(config: InputConfig, name: str, revision: str, configuration: str, split: str) -> OpenedInput:
    """Return the shards of a dataset that `datasets` streams: one for each of its files.

    Raises:
        RequestError: it lacks a column, or has no rows.
    """
    stream = _stream(name, revision, configuration, split)
    table = next(iter(stream.with_format("arrow").iter(1)), None)
    if table is None:
        raise request_error(f"{config.uri}: the input is empty: no rows in split {split!r}")
    schema = with_path_fields(config, table.schema, (CONFIGURATION, SPLIT))
    layout = _layout(config, schema, config.uri)
    count = int(stream.num_shards)
    pinned = f"{name}@{revision}"
    shards = tuple(Shard(i, pinned, i, count, (name, revision, configuration, split)) for i in range(count))
    described = table.schema if stream.features is None else stream.features.arrow_schema
    kept = _kept(config, schema.with_metadata(described.metadata))
    columns = tuple(schema.names)
    return OpenedInput(shards, layout, kept, revision=f"{pinned}#{configuration}/{split}", columns=columns)


def _read_hub(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    stream = _stream(*shard.names).shard(num_shards=shard.stop, index=shard.start).with_format("arrow")
    batches = (batch for table in stream.iter(_HUB_ROWS) for batch in table.combine_chunks().to_batches())
    named = {CONFIGURATION: shard.names[2], SPLIT: shard.names[3]}
    return rows_of(batches, 0, source, RowBuilder(source, shard.uri), wanted, path=named)


def _stream(name: str, revision: str, configuration: str, split: str) -> Any:
    from datasets import load_dataset

    return load_dataset(name, configuration or None, split=split, revision=revision or None, streaming=True)


def _choose_saved(listing: Listing) -> Listing:
    names = {listing.relative(entry): entry for entry in listing.entries}
    if "dataset_dict.json" not in names:
        if listing.fragment:
            raise request_error(
                f"{listing.uri}: this dataset has no splits to choose from; leave out #{listing.fragment}"
            )
        return listing
    splits = json.loads(read_bytes(names["dataset_dict.json"].uri)).get("splits", [])
    return list_input(f"{listing.root}/{_choose(listing.uri, listing.fragment, splits)}")


def _open_saved(config: InputConfig, listing: Listing, root: str) -> OpenedInput:
    entries = {listing.relative(entry): entry for entry in listing.entries}
    try:
        state = json.loads(read_bytes(entries["state.json"].uri))
        names = [data["filename"] for data in state["_data_files"]]
    except (KeyError, ValueError, TypeError) as error:
        raise request_error(
            f"{listing.uri}: state.json is missing or does not name the data files: {error!r}"
        ) from error
    missing = [name for name in names if name not in entries]
    if missing:
        raise request_error(f"{listing.uri}: the data files that state.json names are not there: {join_names(missing)}")
    arrow = _first_schema([entries[name].uri for name in names])
    if arrow is not None:
        arrow = with_path_fields(config, arrow, path_names([entries[names[0]].uri], root))
    layout = ColumnMap() if arrow is None else _layout(config, arrow, listing.uri)
    shards = (
        Shard(i, entries[name].uri, rows=_count(entries[name].uri), size_bytes=entries[name].size_bytes)
        for i, name in enumerate(names)
    )
    found = tuple(shards)
    if all(shard.rows == 0 for shard in found):  # also when there are no files
        raise request_error(f"{listing.uri}: the input is empty: the dataset has no rows")
    kept = infer_arrow(config.keep, []) if arrow is None else _kept(config, arrow)
    if arrow is None:
        return OpenedInput(found, layout, kept)
    return OpenedInput(found, layout, kept, notes_on(config.keep, [arrow], kept), columns=tuple(arrow.names))


def _kept(config: InputConfig, arrow: pa.Schema) -> tuple[pa.Field, ...]:
    labels = present_labels(config, arrow.names)
    return infer_arrow((*config.keep, *labels), [arrow], labels)


def _layout(config: InputConfig, arrow: pa.Schema, where: str) -> ColumnMap:
    layout = resolve(with_named_images(config, arrow), arrow.names, where)
    check_types(layout, arrow, where, any_images=config.conversations)
    return layout


def _choose(uri: str, given: str, there: list[str], what: str = "splits", form: str = "SPLIT") -> str:
    if given and given not in there:
        raise request_error(f"{uri}: has no {given!r}; its {what} are: {join_names(there)}")
    if not given and len(there) != 1:
        raise request_error(f"{uri}: has several {what}, {join_names(there)}; choose one with {uri}#{form}")
    return given or there[0]


def _first_schema(uris: list[str]) -> pa.Schema | None:
    for uri in uris:
        with watched_stream(uri) as (file, watch):
            try:
                return ipc.open_stream(file).schema
            except DAMAGE:
                if watch.failure is not None:
                    raise
    return None


def _batches(file: Any, source: Source) -> Iterator[pa.RecordBatch]:
    wanted = [*source.column_map.names(), *source.config.passthrough]
    for batch in ipc.open_stream(file):
        names = batch.schema.names
        yield batch.select([names.index(name) for name in dict.fromkeys(wanted) if name in names])


def _count(uri: str) -> int | None:
    """Return the rows of a local file, by its batches' headers; elsewhere that would mean to read it all."""
    if scheme_of(uri) != "file":
        return None
    try:
        with pa.memory_map(uri) as mapped:
            return sum(int(batch.num_rows) for batch in ipc.open_stream(mapped))
    except DAMAGE:
        return None
