"""The first rows of an input without a schema: which columns there are, and of what types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from vqa_ray.storage.filesystem import FileEntry

SAMPLE_ROWS = 1_000
SAMPLE_BYTES = 32 * 2**20
SAMPLE_FILES = 8


@dataclass(slots=True)
class Sample:
    """The beginning of an input.

    Attributes:
        rows: those that could be made out.
        names: their columns, in the order they came.
        is_empty: all files were read to their ends, and held nothing at all.
    """

    rows: list[Mapping[str, object]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    is_empty: bool = True


def take_sample(
    files: Sequence[FileEntry], read: Callable[[str], Iterator[tuple[Mapping[str, object] | None, int]]]
) -> Sample:
    """Read up to 1,000 rows, 32 MiB or 8 files from the front.

    Args:
        files: the input.
        read: URI → (columns or None for what is malformed, bytes) of each of its rows.
    """
    sample = Sample()
    size_bytes = 0
    for entry in files[:SAMPLE_FILES]:
        rows = read(entry.uri)
        for values, more_bytes in islice(rows, SAMPLE_ROWS - len(sample.rows)):
            sample.is_empty = False
            size_bytes += more_bytes
            if values is not None:
                sample.rows.append(values)
            if size_bytes > SAMPLE_BYTES:
                break
        if size_bytes > SAMPLE_BYTES or len(sample.rows) >= SAMPLE_ROWS:
            break
    sample.is_empty = sample.is_empty and len(files) <= SAMPLE_FILES
    sample.names = _names(sample.rows)
    return sample


def _names(rows: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))
