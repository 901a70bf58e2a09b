"""WebDataset shards: tar files of images and sidecars, streamed. One bad member does not cost the shard."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Self

import pyarrow as pa

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.columns import ROLES, default_columns, present_labels, resolve
from vqa_ray.readers.damage import until_damage, watched_stream
from vqa_ray.readers.first_rows import take_sample
from vqa_ray.readers.formats.tar_samples import TEXT_SUFFIXES, Member, Sample, member_name, samples_of
from vqa_ray.readers.listing import Listing
from vqa_ray.readers.partitions import named_path_values, path_names, with_path_names
from vqa_ray.readers.passthrough import infer_json, keep_json
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.row_tables import numbered
from vqa_ray.readers.source import InputConfig, OpenedInput, Shard, Source, request_error

MAX_MEMBER_BYTES = 256 * 2**20
_ROLES = tuple(role for role in ROLES if role not in ("image", "image_uri"))
_QUESTIONS = ("question", "txt")


class _Header(tarfile.TarInfo):
    """A member's header, which knows how much that is no tar stood before it."""

    skipped_bytes = 0

    @classmethod
    def fromtarfile(cls, tar: Any) -> Self:
        """The next header. Where `tarfile` would take a damaged header or a cut-off file for the end, this goes on
        to the next sound header, and raises at the end of a file that has no end mark."""
        if tar.is_nested:
            return super().fromtarfile(tar)
        skipped, at_end = 0, False
        while True:
            tar.is_nested = True
            try:
                header = super().fromtarfile(tar)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
                at_end = True
            except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
                if skipped:
                    raise tarfile.ReadError(f"its last {skipped} bytes are not tar") from None
                if isinstance(error, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
                    raise tarfile.ReadError("it ends in the middle of a header") from None
                if at_end:
                    raise tarfile.EOFHeaderError("end of file header") from None  # type: ignore[attr-defined]
                raise tarfile.ReadError("it ends without an end-of-archive mark; it may be cut off") from None
            except tarfile.HeaderError:
                skipped += tarfile.BLOCKSIZE
            else:
                if header.size < 0:
                    raise tarfile.ReadError(f"the header of {header.name!r} gives a size below 0")
                header.skipped_bytes = skipped
                return header
            finally:
                tar.is_nested = False


class _Tar(tarfile.TarFile):
    tarinfo = _Header
    is_nested = False


def open_webdataset(config: InputConfig, listing: Listing) -> OpenedInput:
    """One shard a tar; the columns are those of the first 1,000 samples, as far as 32 MiB hold them.

    Raises:
        RequestError: a column that is needed stands in none of them, or there are no samples.
    """
    files = listing.of("webdataset")
    sample = take_sample(files, _sample)
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
    return OpenedInput(tuple(shards), layout, kept, columns=tuple(names))


def read_webdataset(source: Source, shard: Shard, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row | None]]:
    """The rows of one tar: one for each image, and one for each key that has none."""
    maker, kept = RowBuilder(source, shard.uri), source.kept_columns()
    name = shard.uri.rpartition("/")[2]
    path = named_path_values(source, shard.uri)
    with watched_stream(shard.uri) as (file, watch):
        rows = numbered(
            _items(file, source.config.reads_images),
            lambda item: _row(item, maker, source, kept, name, path=path),
            wanted,
        )
        yield from until_damage(rows, watch, maker.damaged)


def _row(
    item: Sample | str,
    maker: RowBuilder,
    source: Source,
    fields: Sequence[pa.Field],
    shard: str,
    *,
    path: Mapping[str, str | None],
) -> Row:
    if isinstance(item, str):
        return maker.malformed(f"{shard}: {item}", f"{shard}\0{item}".encode())
    where = f"{shard} sample {item.image_id}"
    known_by = f"{shard}\0{item.image_id}".encode()
    if item.image is not None and item.image.problem:
        error = RowError(item.image.problem.code, f"{where}: {item.image.problem.message}")
        return maker.failed(error, known_by, item.image_id)
    values = item.values()
    if isinstance(values, str):
        return maker.malformed(f"{where}: {values}", known_by, item.image_id)
    if item.image is None:
        suffixes = ", ".join(dict.fromkeys(member.suffix for member in item.sidecars))
        error = RowError(ErrorCode.IMAGE_MISSING, f"{where}: no image, only {suffixes}")
        return maker.failed(error, known_by, item.image_id)
    values = {**path, **values}
    kept = keep_json(values, fields)
    if item.part:
        given = {name: item.with_part(values[name]) for name in source.layout.image_id if values.get(name) is not None}
        values = {**values, **given}
    return maker.row(values, kept, image=(item.image.data, item.image_id), line=known_by, where=where)


def rows_in(file: BinaryIO) -> Iterator[object]:
    """Something for every row of a tar, in their order; images are passed over, not read."""
    return _items(file, reads_images=False)


def _items(file: BinaryIO, reads_images: bool = True) -> Iterator[Sample | str]:
    """The samples; a text for each stretch of a tar that is none."""
    gaps: list[str] = []
    for sample in samples_of(_members(file, gaps, reads_images)):
        while gaps:
            yield gaps.pop(0)
        yield sample
    yield from gaps


def _members(file: BinaryIO, gaps: list[str], reads_images: bool) -> Iterator[Member]:
    with _Tar.open(fileobj=file, mode="r:") as tar:
        while (header := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]
            skipped = getattr(header, "skipped_bytes", 0)
            if skipped:
                gaps.append(f"a damaged tar header; {skipped} bytes before {header.name!r} were skipped")
            named = member_name(header.name)
            if named is None or header.isdir():
                continue
            yield _read(tar, header, Member(*named), reads_images)


def _read(tar: tarfile.TarFile, header: tarfile.TarInfo, member: Member, reads_images: bool) -> Member:
    if not header.isreg():
        message = "is a link or a special file; links in a tar are not followed"
        member.problem = RowError(ErrorCode.IMAGE_MISSING, message)
    elif not (member.is_image or member.suffix == "json" or member.suffix in TEXT_SUFFIXES):
        return member
    elif header.size > MAX_MEMBER_BYTES:
        message = f"has {header.size} bytes; at most {MAX_MEMBER_BYTES} are read"
        member.problem = RowError(ErrorCode.IMAGE_TOO_LARGE, message)
    elif reads_images or not member.is_image:
        contents = tar.extractfile(header)
        member.data = contents.read() if contents else b""
    return member


def _sample(uri: str) -> Iterator[tuple[Mapping[str, object] | None, int]]:
    with watched_stream(uri) as (file, watch):
        for _, item in until_damage(enumerate(_items(file)), watch, lambda number, error: str(error)):
            values = item if isinstance(item, str) else item.values()
            size_bytes = 0 if isinstance(item, str) else item.size_bytes()
            yield (None if isinstance(values, str) else values), size_bytes
