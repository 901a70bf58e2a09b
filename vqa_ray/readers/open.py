"""Any input as a source of rows: what a user names, opened and checked before any work, then read shard by shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial

import pyarrow as pa
from pyarrow import compute

from vqa_ray.conversation.conversation import shows_nothing
from vqa_ray.errors import RequestError
from vqa_ray.format_names import Format
from vqa_ray.readers.benchmarks.recognise import recognised
from vqa_ray.readers.changes.resumed import EarlierRun, pinned, recover, resume, table_as_begun, with_totals
from vqa_ray.readers.columns import is_bytes, plain
from vqa_ray.readers.formats.benchmark import open_benchmark, read_benchmark
from vqa_ray.readers.formats.csv import open_csv, read_csv
from vqa_ray.readers.formats.hf import check_split, is_hub_name, open_hf, open_hub, read_hf
from vqa_ray.readers.formats.images import open_images, read_images
from vqa_ray.readers.formats.jsonl import open_jsonl, read_jsonl
from vqa_ray.readers.formats.lance_table import open_lance, read_lance
from vqa_ray.readers.formats.parquet import open_parquet, read_parquet
from vqa_ray.readers.formats.pdf import open_pdf, read_pdf
from vqa_ray.readers.formats.vqa_v2 import open_vqa_v2, read_vqa_v2
from vqa_ray.readers.formats.webdataset import open_webdataset, read_webdataset
from vqa_ray.readers.lake_tables import parse_table
from vqa_ray.readers.listing import Listing, absolute, check_format, guess_format, list_input, with_kinds
from vqa_ray.readers.row_builder import Row
from vqa_ray.readers.row_tables import tables, wanted_rows
from vqa_ray.readers.source import (
    BENCHMARKS,
    FORMATS,
    InputConfig,
    OpenedInput,
    Shard,
    Source,
    join_names,
    request_error,
)
from vqa_ray.readers.suffixes import kinds_found
from vqa_ray.readers.together import together, whole_files
from vqa_ray.row_text.hidden_columns import TEXT
from vqa_ray.schema import STATUS_ERROR, passthrough_name
from vqa_ray.storage.filesystem import FileEntry
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.storage.uri import redacted_uri, scheme_of
from vqa_ray.text_encoding import check_encoding

_Open = Callable[[InputConfig, Listing], OpenedInput]
_Read = Callable[[Source, Shard, Callable[[int], bool]], Iterator[tuple[int, Row | None]]]
_READERS: dict[Format, tuple[_Open, _Read]] = {
    "parquet": (open_parquet, read_parquet),
    "webdataset": (open_webdataset, read_webdataset),
    "jsonl": (open_jsonl, read_jsonl),
    "csv": (open_csv, read_csv),
    "images": (open_images, read_images),
    "pdf": (open_pdf, read_pdf),
    "vqa-v2": (open_vqa_v2, read_vqa_v2),
    "hf": (open_hf, read_hf),
    "lance": (open_lance, read_lance),
    **{name: (partial(open_benchmark, name), read_benchmark) for name in BENCHMARKS},
}


def open_source(config: InputConfig, earlier: EarlierRun | None = None) -> Source:
    """List the input, tell its format and check its columns, before any work.

    Args:
        config: what to read.
        earlier: what the output knows of the input; the files of a run that goes on are those it began with.

    Raises:
        RequestError: the input is missing, empty, unreadable, of a mixed or unknown format, or lacks a column;
            the message says what was found and what is allowed.
    """
    if any(not question.strip() for question in config.questions):
        raise RequestError("--question is blank; give the text of a question")
    given = check_format(config.format) if config.format is not None else None
    check_encoding(config.encoding)
    if config.image_root is not None:
        config = replace(config, image_root=absolute(config.image_root))
    config = replace(config, allow_local=tuple(map(_local_directory, config.allow_local)))
    if config.text is not None:
        config = config.with_texts()
    try:
        if given == "hf" and is_hub_name(config.uri):
            listing = Listing(config.uri, config.uri, ())
            source = _source(config, given, listing, open_hub(config))
            snapshot = earlier.snapshot_for(config.uri) if earlier else None
            return source if snapshot is None else pinned(source, snapshot)
        listing = list_input(config.uri)
        if earlier is None:
            return _opened(config, given, listing)
        listing = earlier.without_output(listing)
        snapshot = earlier.snapshot_for(config.uri)
        if snapshot is not None:
            if parse_table(config.uri) and not earlier.update:
                listing = table_as_begun(listing, snapshot)
            if given is not None and given != snapshot.format:
                raise RequestError(
                    f"--output {earlier.output}: holds another run: --input-format: {snapshot.format} → {given}; use "
                    "another --output, or the command it was made with"
                )
            return resume(listing, snapshot, partial(_opened, config, snapshot.format), update=earlier.update)
        source = _opened(config, given, listing)
        return recover(listing, earlier, partial(_opened, config, given), source) if earlier.fingerprint else source
    except store_failures() as error:
        raise request_error(f"{config.uri}: the input cannot be read: {store_reason(error, named=True)}") from error


def _local_directory(uri: str) -> str:
    if scheme_of(uri) != "file":
        raise request_error(f"--allow-local {redacted_uri(uri)}: is not a local directory; others need no permission")
    return absolute(uri)


def _opened(config: InputConfig, given: Format | None, listing: Listing) -> Source:
    listing = with_kinds(listing, given)
    chosen = given or recognised(config, listing) or guess_format(listing)
    if config.question_template is not None and chosen not in BENCHMARKS:
        raise request_error(
            f"--question-template: words the questions of benchmarks ({join_names(BENCHMARKS)}); {listing.uri} is read "
            f"as {chosen}; name its layout with --input-format, or word prompts with --prompt-template"
        )
    if config.image_root is not None and chosen in ("images", "pdf", "webdataset"):
        raise request_error(f"--image-root {redacted_uri(config.image_root)}: {chosen} input holds the images itself")
    check_split(listing, chosen)
    try:
        contents = _READERS[chosen][0](config, listing)
    except RequestError as error:
        images = _images_beside(chosen, listing)
        if listing.output:
            raise request_error(f"{error}; {listing.uri} is {listing.output}: give that as the input") from error
        if given is not None or not images:
            raise
        raise request_error(
            f"{listing.uri}: {error}; the {images:,} image files there are read by --input-format images"
        ) from error
    return _source(config, chosen, listing, contents)


def _source(config: InputConfig, chosen: Format, listing: Listing, contents: OpenedInput) -> Source:
    if config.together:
        contents = replace(contents, shards=whole_files(contents.shards))
    files = _files(listing, contents)
    if contents.brought:
        names = config.keep_as or config.keep
        config = replace(config, keep=(*config.keep, *contents.brought), keep_as=(*names, *contents.brought))
    own = (f"the input is {listing.output}: its rows are read",) if listing.output else ()
    notes = (*own, *contents.notes, *_beside(chosen, listing), *_left_out(chosen, listing, files))
    source = Source(
        config=replace(config, labels=tuple(part.name for part in contents.passthrough[len(config.keep) :])),
        format=chosen,
        root=listing.root,
        shards=contents.shards,
        passthrough=_passthrough(config, contents.passthrough),
        column_map=contents.column_map,
        total_rows=None,
        fingerprint=_fingerprint(chosen, listing, contents, files),
        multi_question=config.needs_question and (bool(contents.column_map.questions) or len(config.questions) > 1),
        notes=notes,
        columns=contents.columns,
        files=files,
    )
    return with_totals(source)


def read_shard(source: Source, shard: Shard, keys: Collection[int] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of one shard, numbered without gaps, as tables of at most 256 rows and (but for one row) 16 MiB.

    An error of a row stands in the row: `status`, `error_code`, `error_message`. Where the source does not read
    images, they are left out as long as each has a name of its own.

    Args:
        source: `open_source(…)`, or its `for_workers()`.
        shard: one of its shards.
        keys: only rows with these source keys; None for all.

    Returns:
        Tables of `schema.with_kept(schema.READ, source.passthrough)`.

    Raises:
        OSError: the store cannot be read, or the file is gone: the task is worth trying again.
        RunError: the file changed since it was opened.
    """
    wanted = wanted_rows(shard, keys)
    if source.config.reads_images or not source.config.needs_image:
        yield from _tables(source, shard, wanted)
    else:
        yield from _without_images(source, shard, wanted)


def _tables(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[pa.Table]:
    read = _READERS[source.format][1]
    if not source.config.together or source.config.group_by is None:
        return tables(read(source, shard, wanted), source, shard, wanted)
    place = source.config.keep.index(source.config.group_by)
    every = wanted_rows(shard, None)
    rows = tables(read(source, shard, every), source, shard, every)
    return together(rows, shard, source.passthrough[place].name, wanted)


def _without_images(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[pa.Table]:
    """Tables as `_tables` gives them; from the first image on that only its bytes identify, images are read."""
    last = -1
    for table in _tables(source, shard, wanted):
        is_named = compute.or_(compute.is_valid(table["image_id"]), compute.equal(table["status"], STATUS_ERROR))
        is_named = compute.or_(is_named, shows_nothing(table))
        if not compute.all(is_named).as_py():
            break
        last = table["source_key"][-1].as_py()
        yield table
    else:
        return
    for table in _tables(source.with_images(), shard, wanted):
        rest = table.filter(compute.greater(table["source_key"], last))
        if rest.num_rows:
            yield rest


def _images_beside(chosen: Format, listing: Listing) -> int:
    """Count the image files that lie beside the tables that are read."""
    if chosen not in ("csv", "jsonl", "parquet") or listing.is_file:
        return 0
    return sum(listing.kind(entry) == "images" for entry in listing.entries)


def _beside(chosen: Format, listing: Listing) -> tuple[str, ...]:
    """Return a note on image files that lie beside the tables that are read."""
    images = _images_beside(chosen, listing)
    if not images:
        return ()
    return (f"{images} image files lie beside the {chosen} files; those that a row names are read, others are not",)


def _passthrough(config: InputConfig, kept: Sequence[pa.Field]) -> tuple[pa.Field, ...]:
    """Return the kept fields and the labels under the names of READ tables."""
    names = config.keep_as or config.keep
    written = [
        _text_field(part, name) if name.startswith(TEXT) else part.with_name(passthrough_name(name))
        for part, name in zip(kept, names, strict=False)
    ]
    return (*written, *(part.with_name(passthrough_name(part.name)) for part in kept[len(names) :]))


def _text_field(part: pa.Field, name: str) -> pa.Field:
    if pa.types.is_nested(part.type) or is_bytes(plain(part.type)):
        raise request_error(f"column {part.name!r}, which a question names, is {part.type}; wanted is text or a number")
    return pa.field(name, pa.string())


def _left_out(chosen: Format, listing: Listing, files: Sequence[FileEntry]) -> tuple[str, ...]:
    """Return a note on the files that are not read, by kind, with an example of each."""
    known = {entry.uri for entry in files}
    # Images and documents beside tables are read by their references, and of a data set on disk other splits are not
    # wanted.
    elsewhere = {"images": (), "pdf": (), "webdataset": (), "hf": ("parquet",)}.get(chosen, ("images", "pdf"))
    others = [
        entry
        for entry in listing.entries
        if entry.uri not in known and listing.kind(entry) not in elsewhere and not _is_of_dataset(chosen, entry)
    ]
    if not others or listing.is_file:
        return ()
    was = "file was" if len(others) == 1 else "files were"
    return (f"{len(others)} {was} left out: {kinds_found(others, examples=True)}",)


def _is_of_dataset(chosen: Format, entry: FileEntry) -> bool:
    """Check whether a file describes the data set rather than belonging to its rows."""
    name = entry.uri.rpartition("/")[2]
    if chosen == "hf":
        return name in ("dataset_dict.json", "dataset_infos.json", "dataset_info.json", "state.json", "README.md")
    is_official = chosen == "vqa-v2" and name.endswith(("annotations.json", "questions.json"))
    return is_official or (chosen == "scienceqa" and name in ("pid_splits.json", "captions.json"))


def _files(listing: Listing, contents: OpenedInput) -> tuple[FileEntry, ...]:
    """Return the files of a listing that are read."""
    read = {shard.uri for shard in contents.shards}
    read |= {f"{listing.root}/{name}" for shard in contents.shards for name in shard.names}
    return tuple(entry for entry in listing.entries if entry.uri in read)


def _fingerprint(chosen: Format, listing: Listing, contents: OpenedInput, files: Sequence[FileEntry]) -> str:
    """Return a SHA-256 over the format and each file that is read: path below the root, size, time."""
    described = [
        (listing.relative(entry), entry.size_bytes, entry.modified.isoformat() if entry.modified else "")
        for entry in files
    ]
    text = json.dumps([chosen, listing.fragment, contents.revision, described])
    return hashlib.sha256(text.encode()).hexdigest()


__all__ = ["FORMATS", "EarlierRun", "InputConfig", "Shard", "Source", "open_source", "read_shard"]
