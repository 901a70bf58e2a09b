"""Versions of an index: its files, its model and its approximate index at one moment."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.index.paths import UPDATES, IndexDirectory
from vqa_ray.runs.private_names import public
from vqa_ray.runs.record import to_json
from vqa_ray.storage.atomic import create
from vqa_ray.storage.filesystem import read_bytes

logger = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A Parquet file of an index.

    Attributes:
        path: relative to the index.
        update: the name of the update that read its rows; their `source_key`s are of its input.
        rows, ok: the number of rows, and of rows with a vector.
        size_bytes: of the file.
    """

    path: str
    update: str
    rows: int
    ok: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Update:
    """An update of an index.

    Attributes:
        name: of its directory.
        started: UTC, ISO 8601.
        input: its URI.
        added, replaced, removed: the number of input files.
    """

    name: str
    started: str
    input: str
    added: int
    replaced: int
    removed: int


@dataclass(frozen=True, slots=True)
class AnnState:
    """The approximate index that belongs to a version.

    Attributes:
        path: of the Lance dataset, relative to the index.
        version: of the Lance dataset.
        rows: images in it.
        trained_rows: images that it was built from.
        partitions, sub_vectors: of the IVF_PQ index; 0 partitions for too few images.
        additions: the number of later updates that added images.
        recall: its mean recall@`recall_k` over `recall_queries` of its images; None where it was not measured.
    """

    path: str
    version: int
    rows: int
    trained_rows: int
    partitions: int
    sub_vectors: int
    additions: int = 0
    recall: float | None = None
    recall_queries: int = 0
    recall_k: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an index; immutable once it is published.

    Attributes:
        number: 1, 2, ….
        created: UTC, ISO 8601.
        model: reference, family, fingerprint, score_meaning.
        vectors, dimension: of an image; see `vqa_ray.types.EmbeddingShape`.
        command: the options that all updates share.
        files: in the order of the rows; at least one, possibly without rows.
        updates: oldest first; those with rows left in it, and the last.
        sources: path of the table of input files, relative to the index; None for an index of arrays.
        rows, ok: the number of rows, and of rows with a vector.
        ann: the approximate index; None where search is exact.
    """

    number: int
    created: str
    model: Mapping[str, Any]
    vectors: int
    dimension: int
    command: Mapping[str, Any]
    files: tuple[IndexFile, ...]
    updates: tuple[Update, ...]
    sources: str | None
    rows: int
    ok: int
    ann: AnnState | None = None

    @property
    def width(self) -> int:
        """The length of an `embedding`."""
        return self.vectors * self.dimension

    def to_bytes(self) -> bytes:
        """Serialise as JSON."""
        return to_json({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Version:
        """Parse the JSON of `to_bytes`.

        Raises:
            ValueError: the JSON is incomplete.
            RequestError: it has another format version.
        """
        content = json.loads(data)
        if not isinstance(content, dict) or "format" not in content:
            raise ValueError("not a version of an index")
        if content.pop("format") != FORMAT:
            raise RequestError(f"the index was made by another version of vqa-ray; this one reads format {FORMAT}")
        try:
            ann = content["ann"]
            return cls(
                **{
                    **content,
                    "files": tuple(IndexFile(**each) for each in content["files"]),
                    "updates": tuple(Update(**each) for each in content["updates"]),
                    "ann": None if ann is None else AnnState(**ann),
                }
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a version of an index: {error}") from error


def latest(layout: IndexDirectory) -> Version | None:
    """Return the latest whole version, with a warning about later broken ones; None without an index.

    Raises:
        RequestError: all versions are broken.
    """
    numbers = layout.version_numbers()
    if not numbers:
        return None
    sizes = _sizes(layout)
    faults: list[str] = []
    for number in reversed(numbers):
        fault, version = _load(layout, number, sizes)
        if version is not None:
            for other in faults:
                logger.warning("%s: %s; version %d is used", layout.uri, other, number)
            return version
        faults.append(fault)
    raise RequestError(
        f"{layout.uri}: no version of this index is whole: {'; '.join(faults)}; make the index again elsewhere"
    )


def read(layout: IndexDirectory, number: int) -> Version:
    """Read one version.

    Raises:
        RequestError: the version is missing or broken.
    """
    numbers = layout.version_numbers()
    if number not in numbers:
        known = ", ".join(map(str, numbers)) or "none"
        raise RequestError(f"{layout.uri}: no version {number}; the versions are: {known}")
    fault, version = _load(layout, number, _sizes(layout))
    if version is None:
        raise RequestError(f"{layout.uri}: {fault}")
    return version


def published_updates(layout: IndexDirectory) -> set[str]:
    """Return the names of the updates of all versions."""
    names: set[str] = set()
    for number in layout.version_numbers():
        try:
            version = Version.from_bytes(read_bytes(layout.version(number)))
        except ValueError as error:
            if isinstance(error, RequestError):
                raise
            continue
        names |= {update.name for update in version.updates}
    return names


def publish(layout: IndexDirectory, version: Version) -> bool:
    """Publish a version for all readers at once; False if its number is taken."""
    return create(layout.version(version.number), version.to_bytes())


def _sizes(layout: IndexDirectory) -> dict[str, int]:
    """Sizes in bytes by path relative to the index; a listing may spell the URI differently (file://, ./)."""
    entries = ((entry.uri.rpartition(f"/{UPDATES}/")[2], entry.size_bytes) for entry in layout.row_files())
    # Files that are not current have their private names.
    return {f"{UPDATES}/{public(path)}": size for path, size in entries}


def _load(layout: IndexDirectory, number: int, sizes: Mapping[str, int]) -> tuple[str, Version | None]:
    try:
        version = Version.from_bytes(read_bytes(layout.version(number)))
    except ValueError as error:
        if isinstance(error, RequestError):
            raise
        return f"version {number} cannot be read ({error})", None
    wrong = [file for file in version.files if sizes.get(file.path) != file.size_bytes]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        what = "is missing" if wrong[0].path not in sizes else "has another size"
        return f"version {number} is broken: {wrong[0].path} {what}{more}", None
    return "", version
