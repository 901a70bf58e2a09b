"""The files of an input when a run began, kept with the run: its rows are numbered by them.

A run belongs to the files it began with. Whatever is added later is left out, and what has changed is named.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from vqa_ray.errors import RequestError
from vqa_ray.format_names import Format
from vqa_ray.keys import NOTHING, Ranges
from vqa_ray.readers.changes.digest import content_digest
from vqa_ray.readers.formats.hf import is_hub_name
from vqa_ray.readers.lake_tables import parse_table
from vqa_ray.readers.source import Shard, Source
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.canonical import canonical_uri
from vqa_ray.storage.filesystem import FileEntry, read_bytes
from vqa_ray.storage.uri import scheme_of

FORMAT = 1
_METADATA = b"vqa_ray"
# `size_bytes` of image files that updates found gone: their rows are marked, or left out. No file has these sizes.
GONE, FORGOTTEN = -1, -2
# The URI of shards whose rows have moved to other shards; nothing is there.
RETIRED = "./.retired"
_AT_ONCE = 16
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_FILES = pa.schema(
    [
        # UTF-8, with what is not UTF-8 kept as it is.
        pa.field("name", pa.large_binary(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("modified_us", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("digest", pa.binary()),
    ]
)


class KnownFile(NamedTuple):
    """A file as it was when the run began; a tuple, because there can be millions.

    Attributes:
        name: its path below the root.
        size_bytes: its size.
        modified_us: when it was last written, in µs since 1970; None when the store does not say.
        etag: what an object store says of its contents.
        digest: of its contents, see `content_digest`; None where it was not taken.
    """

    name: str
    size_bytes: int
    modified_us: int | None
    etag: str | None
    digest: bytes | None

    def below(self, root: str) -> FileEntry:
        """Return the entry that a listing of that root would give."""
        at = None if self.modified_us is None else _EPOCH + timedelta(microseconds=self.modified_us)
        return FileEntry(f"{root.rstrip('/')}/{self.name}", self.size_bytes, at, self.etag)


@dataclass(frozen=True, slots=True)
class InputSnapshot:
    """An input as a run found it.

    Attributes:
        place: of the input, in its canonical spelling; of a dataset on a hub its name.
        format: one of `FORMATS`.
        fingerprint: of the source.
        shards: with URIs relative to the root (`./…`), where they lie below it.
        files: those that are read, in the order of the source.
        retired: int64 (R, 2) ranges of source_keys that no row has any more, ascending, both ends included.
    """

    place: str
    format: Format
    fingerprint: str
    shards: tuple[Shard, ...]
    files: tuple[KnownFile, ...]
    retired: Ranges = field(default_factory=NOTHING.copy, compare=False)

    def shards_below(self, root: str) -> tuple[Shard, ...]:
        """Return the shards, with URIs below a root."""
        above = root.rstrip("/")
        return tuple(
            replace(shard, uri=root if shard.uri == "." else f"{above}/{shard.uri[2:]}")
            if shard.uri == "." or shard.uri.startswith("./")
            else shard
            for shard in self.shards
        )


def input_place(uri: str) -> str:
    """Name an input in the one way that all its spellings share; a dataset on a hub is its name."""
    table = parse_table(uri)
    if table is not None:
        place = table.address if table.kind == "iceberg" else canonical_uri(table.address)
        return f"{table.kind}:{place}" + ("" if table.version is None else f"@{table.version}")
    return uri if "://" not in uri and is_hub_name(uri) else canonical_uri(uri)


def snapshot_of(source: Source) -> InputSnapshot:
    """Take down what a source is read from.

    Table files on a local disk are looked into, which distinguishes a new time from new contents; image files are
    not, and stores give an etag.
    """
    above = source.root.rstrip("/") + "/"
    digests: list[bytes | None] = [None] * len(source.files)
    if source.format != "images" and scheme_of(source.root) == "file":
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            digests = list(pool.map(content_digest, (entry.uri for entry in source.files)))
    shards = (relative_shard(shard, source.root) for shard in source.shards)
    known = tuple(
        KnownFile(entry.uri.removeprefix(above), entry.size_bytes, time_us(entry), entry.etag, digest)
        for entry, digest in zip(source.files, digests, strict=True)
    )
    return InputSnapshot(input_place(source.config.uri), source.format, source.fingerprint, tuple(shards), known)


def refreshed(known: InputSnapshot, source: Source, names: Collection[str]) -> InputSnapshot:
    """Take down anew the files that are read as they are now; all others stay as they were known."""
    uris = {f"{source.root.rstrip('/')}/{name}" for name in names}
    now = snapshot_of(replace(source, files=tuple(entry for entry in source.files if entry.uri in uris)))
    current = {file.name: file for file in now.files}
    files = tuple(current.get(file.name, file) for file in known.files)
    return replace(known, files=files, shards=now.shards)


def write_snapshot(uri: str, snapshot: InputSnapshot) -> None:
    """Write it, compressed: a million image files take some ten MB."""
    content = {
        "format": FORMAT,
        "place": snapshot.place,
        "input_format": snapshot.format,
        "fingerprint": snapshot.fingerprint,
        "shards": list(_packed(snapshot)),
        "retired": snapshot.retired.tolist(),
    }
    names, *columns = zip(*snapshot.files, strict=True) if snapshot.files else [()] * len(_FILES)
    names = tuple(name.encode(errors="surrogatepass") for name in names)
    table = pa.table(
        [pa.array(values, field.type) for values, field in zip((names, *columns), _FILES, strict=True)],
        schema=_FILES.with_metadata({_METADATA: json.dumps(content).encode()}),
    )
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream, pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    write_bytes_atomic(uri, sink.getvalue().to_pybytes())


def read_snapshot(uri: str) -> InputSnapshot | None:
    """Return the snapshot at `uri`; None where there is none: a run of an earlier version.

    Raises:
        RequestError: it is of another format.
    """
    try:
        data = read_bytes(uri)
    except FileNotFoundError:
        return None
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        table = pa.ipc.open_stream(stream).read_all()
    content: dict[str, Any] = json.loads(table.schema.metadata[_METADATA])
    if content["format"] != FORMAT:
        raise RequestError(f"{uri}: format {content['format']!r} of another version; this one reads {FORMAT}")
    names = [name.decode(errors="surrogatepass") for name in table["name"].to_pylist()]
    columns = (table[field.name].to_pylist() for field in list(_FILES)[1:])
    files = tuple(map(KnownFile._make, zip(names, *columns, strict=True)))
    shards = tuple(_unpacked(content["shards"], names))
    retired = np.array(content.get("retired", ()), np.int64).reshape(-1, 2)
    return InputSnapshot(content["place"], content["input_format"], content["fingerprint"], shards, files, retired)


def _packed(snapshot: InputSnapshot) -> Sequence[Mapping[str, Any]]:
    """Shards as JSON; names that follow each other in the list of files are given by their place there."""
    names = [file.name for file in snapshot.files]
    packed, first = [], 0
    for shard in snapshot.shards:
        fields = {name: getattr(shard, name) for name in Shard.__dataclass_fields__ if name != "names"}
        count = len(shard.names)
        if count and list(shard.names) == names[first : first + count]:
            packed.append({**fields, "first": first, "count": count})
            first += count
        else:
            packed.append({**fields, "names": list(shard.names)})
    return packed


def _unpacked(packed: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Sequence[Shard]:
    shards = []
    for fields in packed:
        first, count = fields.get("first", 0), fields.get("count", 0)
        own = names[first : first + count] if count else fields["names"]
        rest = {name: value for name, value in fields.items() if name in Shard.__dataclass_fields__}
        shards.append(Shard(**{**rest, "names": tuple(own)}))
    return shards


def time_us(entry: FileEntry) -> int | None:
    """When a file was last written, in µs since 1970."""
    return None if entry.modified is None else (entry.modified - _EPOCH) // _MICROSECOND


def relative_shard(shard: Shard, root: str) -> Shard:
    """Return a shard with its URI relative to the root, where it lies below."""
    return replace(shard, uri=_relative(shard.uri, root))


def _relative(uri: str, root: str) -> str:
    if uri == root:
        return "."
    above = root.rstrip("/") + "/"
    return f"./{uri.removeprefix(above)}" if uri.startswith(above) else uri
