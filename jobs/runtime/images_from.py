"""`--images-from`: the image table of a run, opened and checked, and its locations, kept in the run directory."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.index.input_snapshot import read_input_snapshot, write_input_snapshot
from vqa_ray.index.reader import Index, open_index
from vqa_ray.jobs.runtime.progress import announce_when_slow
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.images_from_group import ImagesFromGroup
from vqa_ray.readers import Source
from vqa_ray.readers.image_join.image_table import locations, open_table, place
from vqa_ray.readers.image_join.locations import Location, write_locations
from vqa_ray.runs.directory import PRIVATE
from vqa_ray.runs.part_files import read_columns
from vqa_ray.schema import STATUS_OK
from vqa_ray.stages.join_images import JoinImages
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.delete import delete_directory
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.store_errors import refused
from vqa_ray.storage.uri import join, redacted_uri

logger = logging.getLogger(__name__)

INDEX = "index:"
_RECORD = "images-from.json"
_HELD = ("images", "webdataset")


@dataclass(frozen=True, slots=True)
class ImageTable:
    """Where images are.

    Attributes:
        uri: as given.
        ours: the column of the key in the rows.
        sources: name → input whose rows may hold images.
        fingerprint: changes with the table.
        index: the index that it is; None for any other.
        column: of the key; None for the default.
    """

    uri: str
    ours: str
    sources: Mapping[str, Source]
    fingerprint: str
    index: Index | None = None
    column: str | None = None

    def located(self) -> Iterator[tuple[str, Location]]:
        """Yield each key with the place of its image."""
        if self.index is None:
            yield from locations(self.sources[""])
            return
        column = self.column or "image_id"
        for file in self.index.version.files:
            names = list(dict.fromkeys((column, "image_uri", "source_key", "status")))
            for row in read_columns(self.index.file_uri(file), names).to_pylist():
                if row["status"] == STATUS_OK and row[column] is not None:
                    shards = self.sources[file.update].shards if row["image_uri"] is None else ()
                    yield str(row[column]), place(file.update, shards, row["image_uri"], row["source_key"])


def image_table(spec: RunSpec) -> ImageTable | None:
    """Open the image table of a spec; None where the rows hold their images.

    Raises:
        RequestError: it is not there, or has no such column.
    """
    if not isinstance(spec, ImagesFromGroup) or spec.images_from is None:
        return None
    uri, (ours, theirs) = spec.images_from, spec.key_columns()
    if "image_id" in spec.columns:
        raise RequestError(f"--column image_id={spec.columns['image_id']}: --images-key {spec.images_key} gives the id")
    with announce_when_slow(f"looking at the images in {redacted_uri(uri)}"), refused(f"--images-from {uri}"):
        try:
            return _opened(uri, ours, theirs, tuple(spec.allow_local))
        except RequestError as error:
            raise RequestError(f"--images-from: {error}") from error


def _opened(uri: str, ours: str, theirs: str | None, allow_local: tuple[str, ...]) -> ImageTable:
    if not uri.startswith(INDEX):
        source = open_table(uri, theirs, ours, allow_local)
        return ImageTable(uri, ours, {"": source}, source.fingerprint)
    index = open_index(uri.removeprefix(INDEX))
    if theirs is not None and theirs not in index.columns:
        raise RequestError(f"{uri}: no column {theirs!r}; the columns are: {', '.join(index.columns)}")
    files = index.version.files
    needed = {
        file.update for file in files if read_columns(index.file_uri(file), ["image_uri"])["image_uri"].null_count
    }
    sources = {update: read_input_snapshot(index.layout.origin(update)) for update in sorted(needed)}
    return ImageTable(uri, ours, sources, " ".join(file.path for file in files), index, theirs)


def check_rows(spec: RunSpec, source: Source) -> None:
    """Refuse an input that holds its images itself.

    Raises:
        RequestError: it is one of image files.
    """
    if source.format in _HELD:
        raise RequestError(f"--images-from: {spec.input}: {source.format} input holds the images itself")


def join_images(spec: RunSpec) -> JoinImages | None:
    """Return the stage that finds the images of a run; None where its rows hold them.

    The locations are written once for a run, so that a resumed run and a retry find the same images; an update writes
    them again where the table has changed.
    """
    table = image_table(spec)
    if table is None:
        return None
    directory = join(spec.output, PRIVATE, "images-from")
    try:
        record: dict[str, Any] = json.loads(read_bytes(join(directory, _RECORD)))
    except FileNotFoundError:
        record = {}
    if not record or (spec.update and record["fingerprint"] != table.fingerprint):
        former, record = record.get("name"), _write(directory, table)
        if former is not None:
            delete_directory(join(directory, former))
    elif record["fingerprint"] != table.fingerprint:
        logger.warning("%s has changed since the run began; images are looked for where they were", table.uri)
    here = join(directory, record["name"])
    sources = {name: read_input_snapshot(join(here, f"source-{number}.json")) for number, name in _numbered(record)}
    return JoinImages(join(here, "keys"), table.uri, table.ours, sources)


def _numbered(record: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    yield from enumerate(record["sources"])


def _write(directory: str, table: ImageTable) -> dict[str, Any]:
    """Write the locations of a table, then the record that names them."""
    record: dict[str, Any] = {
        "name": uuid.uuid4().hex[:8],
        "fingerprint": table.fingerprint,
        "sources": list(table.sources),
    }
    here = join(directory, record["name"])
    with announce_when_slow(f"noting where the images in {redacted_uri(table.uri)} are"):
        keys = write_locations(join(here, "keys"), table.located())
    for number, name in _numbered(record):
        write_input_snapshot(join(here, f"source-{number}.json"), replace(table.sources[name], shards=()))
    if keys.repeated:
        logger.warning(
            "--images-from %s: %d rows have the key of an earlier one, such as %r; the first image of a key counts",
            table.uri,
            keys.repeated,
            keys.example,
        )
    record |= {"keys": keys.distinct, "repeated": keys.repeated}
    write_bytes_atomic(join(directory, _RECORD), json.dumps(record).encode())
    return record
