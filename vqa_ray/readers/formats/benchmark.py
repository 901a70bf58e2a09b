"""Published benchmarks as rows: questions in the benchmark's own wording, their images, and their truth as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import pyarrow as pa

from vqa_ray.errors import RowError
from vqa_ray.format_names import Format
from vqa_ray.readers.benchmarks.documents import Found, json_records
from vqa_ray.readers.benchmarks.examples import rotations
from vqa_ray.readers.benchmarks.fields import FILE, NUMBER, Record
from vqa_ray.readers.benchmarks.folders import diagram_records, folder_shards, task_files, task_records, with_images
from vqa_ray.readers.benchmarks.layout import Layout
from vqa_ray.readers.benchmarks.layouts import LAYOUTS
from vqa_ray.readers.benchmarks.places import find_images
from vqa_ray.readers.benchmarks.prompts import own_prompt
from vqa_ray.readers.benchmarks.recognise import format_of, kind_of_table, tables_of
from vqa_ray.readers.benchmarks.row_maker import RowMaker
from vqa_ray.readers.benchmarks.splits import of_split
from vqa_ray.readers.benchmarks.tables import parquet_names, parquet_records, tsv_records
from vqa_ray.readers.columns import check_keep, check_names, present_labels
from vqa_ray.readers.formats.parquet import row_group_shards
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.passthrough import infer_json
from vqa_ray.readers.row_builder import Row
from vqa_ray.readers.row_tables import numbered
from vqa_ray.readers.source import ColumnMap, InputConfig, OpenedInput, Shard, Source, join_names, request_error
from vqa_ray.readers.suffixes import HUB_PARQUET
from vqa_ray.storage.filesystem import FileEntry

_SHARD_ROWS = 10_000
_SAMPLE = 1_000
# So many images are looked for until one is found.
_REFERENCES = 4
_ROLES = ("question", "image_folder")
_COLUMNS = ColumnMap(images=("images",), question=("question",), image_id=("image_id",), question_id=("question_id",))
# What `Shard.names` holds before the files of a folder: the text before a reference and the text behind it, the split
# to read, and a mark where other files repeat its ids.
_PLACE = 4
_NOWHERE = ("",) * _PLACE
# Stands for a file of a folder: its references are relative to the folder.
_FOLDER = "files"


def open_benchmark(name: Format, config: InputConfig, listing: Listing) -> OpenedInput:
    """Find the files of a benchmark and its images.

    `config.columns` may give `question`, a field to ask as it stands, and `image_folder`. The columns of truth are read
    beside those of `config.keep`, which names fields of the records or columns of truth.

    Raises:
        RequestError: there are no such files, or several splits; they hold no records; the images cannot be found; or a
            column to keep is not there.
    """
    layout = LAYOUTS[name]
    check_names(config, _ROLES, listing.uri)
    if config.question_template is not None:
        own_prompt(config.question_template)
    tables = _tables(name, listing)
    shards: list[Shard] = []
    sample: list[Record] = []
    if not tables or (name == "ai2d" and kind_of_table(tables[0].uri) == "json"):
        shards, sample = _open_folder(config, layout, listing, tables)
        tables = ()
    for entry in tables:
        repeats = layout.repeats_ids and len(tables) > 1 and kind_of_table(entry.uri) == "json"
        more, records = _open_table(config, layout, entry, listing.fragment, repeats_ids=repeats)
        shards += [replace(shard, index=len(shards) + i) for i, shard in enumerate(more)]
        sample += records[: _SAMPLE - len(sample)]
    if not shards:
        part = f" of split {listing.fragment!r}" if listing.fragment else ""
        raise request_error(f"{listing.uri}: the input is empty: no {layout.title} questions{part} are there")
    names = _names(sample)
    truth = [column for column in layout.truth if not sample or _is_stated(layout, column, sample)]
    known = list(dict.fromkeys((*truth, *names)))
    check_keep(config, known, listing.uri)
    if (column := config.columns.get("question", "")) not in ("", *names):
        raise request_error(f"{listing.uri}: no column {column!r}; the columns are: {join_names(known)}")
    labels = present_labels(config, known)
    taken = {*config.keep, *config.keep_as}
    brought = () if labels or not config.needs_question else tuple(column for column in truth if column not in taken)
    kept = f"; its truth is kept in {join_names(brought)}" if brought else ""
    return OpenedInput(
        tuple(shards),
        _COLUMNS,
        _fields(layout, (*config.keep, *brought, *labels), sample),
        notes=(f"{listing.uri}: read as {layout.title} ({name}){kept}",),
        revision=listing.fragment,
        columns=tuple(known),
        brought=brought,
    )


def _is_stated(layout: Layout, column: str, records: Sequence[Record]) -> bool:
    """Check whether one of the records has a column of truth."""
    for record in records:
        try:
            if layout.truth[column](record) not in (None, []):
                return True
        except RowError:
            continue
    return False


def _names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record if not name.startswith("\0")))


def _fields(layout: Layout, names: Sequence[str], sample: Sequence[Record]) -> tuple[pa.Field, ...]:
    own = layout.fields()
    return tuple(pa.field(name, own[name]) if name in own else infer_json([name], sample)[0] for name in names)


def _tables(name: Format, listing: Listing) -> Sequence[FileEntry]:
    """Return the files with the questions; none where they are those of a folder of tasks.

    Raises:
        RequestError: there are none, or several of which one is wanted.
    """
    found = tables_of(listing)
    if listing.is_file or listing.named or not found:
        return found or (listing.entries if listing.is_file and name != "mme" else ())
    # Of AI2D, whose diagrams have a file each, a broken one is a row in error.
    fitting = () if name == "ai2d" else [entry for entry in found if format_of(entry) == name]
    chosen = fitting or found
    splits: dict[str, list[FileEntry]] = {}
    for entry in chosen:
        named = HUB_PARQUET.search(entry.uri)
        splits.setdefault(named["split"] if named else "", []).append(entry)
    if listing.fragment in splits:
        return splits[listing.fragment]
    if len(splits) > 1:
        raise request_error(
            f"{listing.uri}: has splits {join_names(list(splits))}; name one of them: {listing.uri}#SPLIT"
        )
    if len(chosen) > 1 and not LAYOUTS[name].reads_together and "" in splits:
        names = [listing.relative(entry) for entry in chosen]
        raise request_error(f"{listing.uri}: holds {len(names)} files of questions; give one: {join_names(names)}")
    return chosen


def _open_folder(
    config: InputConfig, layout: Layout, listing: Listing, documents: Sequence[FileEntry]
) -> tuple[list[Shard], list[Record]]:
    """Return the shards of many small files, and the first records."""
    files: Sequence[tuple[str, ...]] = [(listing.relative(entry),) for entry in documents]
    files = files or with_images(listing, task_files(listing))
    shards = folder_shards(listing.root, files, _NOWHERE)
    found = (each.record for each in _records(layout, shards[0], config, _always)) if shards else iter(())
    sample = [record for record in islice(found, _SAMPLE) if record is not None]
    if documents and config.reads_images:
        references = [name for record in sample[:_REFERENCES] for name in _references(layout, record)]
        place = (*find_images(config, layout, f"{listing.root}/{_FOLDER}", references), *_NOWHERE[2:])
        shards = folder_shards(listing.root, files, place)
    return shards, sample


def _open_table(
    config: InputConfig, layout: Layout, entry: FileEntry, split: str, *, repeats_ids: bool
) -> tuple[list[Shard], list[Record]]:
    """Return the shards of a file, and its first records."""
    is_parquet = kind_of_table(entry.uri) == "parquet"
    part = "" if is_parquet and HUB_PARQUET.search(entry.uri) else split
    whole = Shard(0, entry.uri, size_bytes=entry.size_bytes, names=("", "", part, "repeats" if repeats_ids else ""))
    shards = [replace(shard, names=whole.names) for shard in row_group_shards(entry.uri)] if is_parquet else [whole]
    if not shards:
        return [], []
    sample: list[Record] = []
    # Most Parquet files hold the images themselves.
    refers = config.reads_images and not (is_parquet and parquet_names(entry.uri) & {*layout.image_columns, "image"})
    count, references = 0, dict[str, None]()
    try:
        for found in _records(layout, shards[0], replace(config, reads_images=False), _always):
            count += 1
            if found.record is None:
                continue
            if len(sample) < _SAMPLE:
                sample.append(found.record)
            if len(references) < _REFERENCES and refers:
                references |= dict.fromkeys(_references(layout, found.record))
            if kind_of_table(entry.uri) != "json" and len(sample) >= _SAMPLE:
                break
    except (ValueError, RecursionError) as error:
        raise request_error(f"{entry.uri}: cannot be read as {layout.title}: {error}") from error
    if not count:
        return [], []
    if sample and "question" not in config.columns and all(layout.question(record) is None for record in sample):
        raise request_error(
            f"{entry.uri}: has no questions as {layout.title} has them; the fields are: {join_names(_names(sample))}"
        )
    names = (*find_images(config, layout, entry.uri, list(references)), *whole.names[2:])
    if kind_of_table(entry.uri) != "json":
        is_known = not layout.rotates and not part
        return [replace(shard, names=names, rows=shard.rows if is_known else None) for shard in shards], sample
    pieces = [(start, min(start + _SHARD_ROWS, count)) for start in range(0, count, _SHARD_ROWS)]
    return [
        Shard(i, entry.uri, start, stop, names, None if layout.rotates else stop - start)
        for i, (start, stop) in enumerate(pieces)
    ], sample


def _references(layout: Layout, record: Record) -> list[str]:
    """Return the images of a record that are named."""
    try:
        return [str(image) for image in layout.images(record) if isinstance(image, str | int)]
    except RowError:
        return []


def _records(layout: Layout, shard: Shard, config: InputConfig, wanted: Callable[[int], bool]) -> Iterator[Found]:
    """Yield the records of a shard, each with its place."""
    split, kind = shard.names[2], kind_of_table(shard.uri)
    base: Mapping[str, object] = {FILE: shard.uri.rpartition("/")[2].partition(".")[0]}
    found: Iterator[Found]
    if len(shard.names) > _PLACE:
        read = diagram_records if shard.names[_PLACE].endswith(".json") else task_records
        found = read(shard, shard.names[_PLACE:], config.encoding)
    elif kind == "parquet":
        left_out = frozenset(() if config.reads_images else layout.image_columns)
        found = parquet_records(shard, left_out, _always if split or layout.rotates else wanted)
    elif kind == "tsv":
        found = tsv_records(shard.uri, config.encoding, reads_images=config.reads_images)
    else:
        found = json_records(shard.uri, config.encoding, layout.rows_at)
    placed: Iterator[Found] = (
        each if each.record is None else each._replace(record={**base, NUMBER: number, **each.record})
        for number, each in enumerate(found)
    )
    if split:
        placed = of_split(placed, split, shard.uri)
    return islice(placed, shard.start, shard.stop) if kind == "json" and shard.stop else placed


def read_benchmark(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """Yield the rows of one shard: one for each record, or for each of its rotations."""
    layout = LAYOUTS[source.format]
    uri = shard.uri if len(shard.names) <= _PLACE else f"{shard.uri}/{_FOLDER}"
    before, behind, _, repeats_ids = shard.names[:_PLACE]
    maker = RowMaker(source, layout, uri, (before, behind), by_split=bool(repeats_ids))
    found = _records(layout, shard, source.config, wanted)
    return numbered(_rotated(found) if layout.rotates else found, maker.row, wanted)


def _rotated(records: Iterator[Found]) -> Iterator[Found]:
    for found in records:
        try:
            turned = [] if found.record is None else rotations(found.record)
        except RowError as error:
            yield found._replace(record=None, problem=error.message)
        else:
            yield from (found._replace(record=record) for record in turned) if turned else [found]


def _always(number: int) -> bool:
    return True
