"""Published benchmarks as rows: questions in the benchmark's own wording, their images, and their truth as columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import pyarrow as pa

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.benchmarks.documents import Found, json_records
from vqa_ray.readers.benchmarks.examples import example_of, rotations
from vqa_ray.readers.benchmarks.fields import FILE, NUMBER, Record
from vqa_ray.readers.benchmarks.folders import task_files, task_records, task_shards
from vqa_ray.readers.benchmarks.layout import Layout
from vqa_ray.readers.benchmarks.layouts import LAYOUTS
from vqa_ray.readers.benchmarks.places import find_images
from vqa_ray.readers.benchmarks.prompts import own_prompt
from vqa_ray.readers.benchmarks.recognise import format_of, kind_of_table, tables_of
from vqa_ray.readers.benchmarks.splits import of_split
from vqa_ray.readers.benchmarks.tables import parquet_names, parquet_records, tsv_records
from vqa_ray.readers.columns import check_keep, check_names, present_labels
from vqa_ray.readers.formats.parquet import row_group_shards
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.passthrough import infer_json, keep_json
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.row_tables import numbered
from vqa_ray.readers.source import ColumnMap, Format, InputConfig, OpenedInput, Shard, Source, join_names, request_error
from vqa_ray.readers.suffixes import HUB_PARQUET
from vqa_ray.storage.filesystem import FileEntry

_SHARD_ROWS = 10_000
_SAMPLE = 1_000
# So many images are looked for until one is found.
_REFERENCES = 4
_ROLES = ("question", "image_folder")
_COLUMNS = ColumnMap(images=("images",), question=("question",), image_id=("image_id",), question_id=("question_id",))
_REFERENCE = re.compile(r"[a-z][a-z0-9+.-]*://|data:|/", re.IGNORECASE)
# What `Shard.names` holds of a file, before the files of a folder: see `_names`.
_PLACE = 4


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
    if not tables:
        shards, sample = _open_folder(config, listing)
    for entry in tables:
        more, records = _open_table(config, layout, entry, listing.fragment, together=len(tables) > 1)
        shards += [replace(shard, index=len(shards) + i) for i, shard in enumerate(more)]
        sample += records[: _SAMPLE - len(sample)]
    if not shards:
        part = f" of split {listing.fragment!r}" if listing.fragment else ""
        raise request_error(f"{listing.uri}: the input is empty: no {layout.title} questions{part} are there")
    names = _names(sample)
    known = list(dict.fromkeys((*layout.truth, *names)))
    check_keep(config, known, listing.uri)
    if (column := config.columns.get("question", "")) not in ("", *names):
        raise request_error(f"{listing.uri}: no column {column!r}; the columns are: {join_names(known)}")
    labels = present_labels(config, known)
    taken = {*config.keep, *config.keep_as}
    brought = () if labels or not config.needs_question else tuple(name for name in layout.truth if name not in taken)
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
    fitting = [entry for entry in found if format_of(entry) == name]
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


def _open_folder(config: InputConfig, listing: Listing) -> tuple[list[Shard], list[Record]]:
    files = task_files(listing)
    shards = task_shards(listing, files, ("", "", "", ""))
    records = (found.record for found in _records(LAYOUTS["mme"], shards[0], config, _always)) if shards else ()
    return shards, [record for record in islice(records, _SAMPLE) if record is not None]


def _open_table(
    config: InputConfig, layout: Layout, entry: FileEntry, split: str, *, together: bool
) -> tuple[list[Shard], list[Record]]:
    """Return the shards of a file, and its first records."""
    is_parquet = kind_of_table(entry.uri) == "parquet"
    part = "" if is_parquet and HUB_PARQUET.search(entry.uri) else split
    whole = Shard(0, entry.uri, size_bytes=entry.size_bytes, names=("", "", part, "together" if together else ""))
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
    pieces = range(0, count, _SHARD_ROWS)
    return [
        Shard(i, entry.uri, start, min(start + _SHARD_ROWS, count), names, min(_SHARD_ROWS, count - start))
        for i, start in enumerate(pieces)
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
        found = task_records(shard, shard.names[_PLACE:], config.encoding)
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
    found = _records(layout, shard, source.config, wanted)
    return numbered(_rotated(found) if layout.rotates else found, _RowMaker(source, layout, shard).row, wanted)


def _rotated(records: Iterator[Found]) -> Iterator[Found]:
    for found in records:
        try:
            turned = [] if found.record is None else rotations(found.record)
        except RowError as error:
            yield found._replace(record=None, problem=error.message)
        else:
            yield from (found._replace(record=record) for record in turned) if turned else [found]


class _RowMaker:
    """Makes the rows of a shard."""

    def __init__(self, source: Source, layout: Layout, shard: Shard) -> None:
        self._layout, self._config = layout, source.config
        self._builder = RowBuilder(source, shard.uri if len(shard.names) <= _PLACE else f"{shard.uri}/tasks")
        self._fields, self._own = source.passthrough_columns(), source.config.columns.get("question")
        self._before, self._behind, _, self._together = shard.names[:_PLACE]
        template = source.config.question_template
        self._prompt = layout.prompt if template is None else own_prompt(template)
        self._name = shard.uri.rpartition("/")[2]

    def row(self, found: Found) -> Row:
        """Return the row of a record, an error row where it cannot be read."""
        if found.record is None:
            return self._builder.malformed(f"{self._name}: {found.problem}", found.line)
        try:
            return self._row(found.record, found.line)
        except RowError as error:
            row = self._builder.failed(error, found.line)
            row.question_id = self._question_id(found.record)
            return row

    def _row(self, record: Record, line: bytes) -> Row:
        example = example_of(self._layout, record)
        question = record.get(self._own) if self._own else example.question
        if isinstance(question, str) and question.strip() and not self._own:
            question = self._prompt.text(question.strip(), example.choices, example.hint)
        images, error = self._images(record)
        values = {
            "question": question,
            "images": images,
            "image_id": example.image_id,
            "question_id": self._question_id(record),
        }
        row = self._builder.row(values, keep_json({**record, **example.truth}, self._fields), line=line)
        row.error = error or row.error
        return row

    def _images(self, record: Record) -> tuple[list[object], RowError | None]:
        """Return the images of a record as rows bring them, and why the row has none."""
        if not self._config.reads_images:
            return [None], None
        try:
            images = [self._placed(image) for image in self._layout.images(record)]
        except RowError as error:
            return [None], error
        if len(images) > 1 and not self._config.reads_several:
            reason = f"the question has {len(images)} images; the model takes one"
            return [None], RowError(ErrorCode.ROW_MALFORMED, reason)
        return images, None

    def _question_id(self, record: Record) -> str | None:
        """Return the id of a question; where several files are read, with the split before an id of one of them."""
        value = self._layout.question_id(record)
        split = self._layout.truth["split"](record) if self._together and "split" in self._layout.truth else None
        return None if value is None else f"{split}/{value}" if split else str(value)

    def _placed(self, image: object) -> object:
        """Return an image as rows bring it: a reference with what goes before and behind it."""
        if isinstance(image, str | int) and not _REFERENCE.match(str(image)):
            return f"{self._before}{image}{self._behind}"
        return image


def _always(number: int) -> bool:
    return True
