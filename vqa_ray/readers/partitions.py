"""Columns that the path of a file speaks of: Hive's `split=test/date=2026-01-01`, splits and configurations. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

import pyarrow as pa

from vqa_ray.readers.columns import FILE_NAME, KNOWN_NAMES
from vqa_ray.readers.source import InputConfig, Source

SPLIT, CONFIGURATION = "split", "config"
_NULL = "__HIVE_DEFAULT_PARTITION__"
_NAMES = "train|training|test|testing|validation|valid|val|dev|eval|evaluation"
_DIRECTORY = re.compile(_NAMES, re.IGNORECASE)
# `train-00000-of-00002.parquet` with any split, as the hub names files; `train.csv`, `train-000012.tar`.
_FILE = re.compile(
    rf"(?P<hub>(?!data-|part-)[\w.]+?)-\d{{5}}-of-\d{{5}}(?:-[0-9a-f]+)?\.parquet"
    rf"|(?P<plain>{_NAMES})(?:[-_.]\d+(?:-of-\d+)?)?(?:\.\w+){{1,2}}",
    re.IGNORECASE,
)
# A directory in which the hub keeps all files; it names no configuration.
_DATA = "data"
# Columns that are found without being named: a directory `image_id=7` is read as one only where it is named.
_FOUND_UNNAMED = KNOWN_NAMES | {FILE_NAME, "txt"}


def path_values(uri: str, root: str, *, by_file_name: bool = True) -> dict[str, str | None]:
    """Column → text of all that the path of a file says.

    Partitions are read from the whole path, so that they are the same whichever part of a table is read; splits and
    configurations from the root's own name on.

    Args:
        uri: the file.
        root: the directory or prefix of the input.
        by_file_name: whether the file's name can say the split (that of an image does not).
    """
    above, base = posixpath.split(root.rstrip("/"))
    *directories, name = [base, *uri.removeprefix(root.rstrip("/") + "/").split("/")]
    values: dict[str, str | None] = {}
    at = next((i for i in reversed(range(len(directories))) if _DIRECTORY.fullmatch(directories[i])), None)
    named = _FILE.fullmatch(name) if by_file_name else None
    if at is not None:
        values[SPLIT] = directories[at]
    elif named:
        values[SPLIT] = named["hub"] or named["plain"]
        at = len(directories) if named["hub"] else 0
    if at is not None and at > 1 and directories[at - 1].lower() != _DATA and "=" not in directories[at - 1]:
        values[CONFIGURATION] = directories[at - 1]
    for part in (*above.split("/"), *directories):
        column, mark, value = part.partition("=")
        if mark and column:
            values[_decoded(column)] = None if value == _NULL else _decoded(value)
    return values


def path_names(uris: Iterable[str], root: str, *, by_file_name: bool = True) -> tuple[str, ...]:
    """Return the columns that the paths of any of the files speak of, in the order they come."""
    places = {uri if by_file_name else f"{posixpath.dirname(uri)}/": None for uri in uris}
    values = (path_values(uri, root, by_file_name=by_file_name) for uri in places)
    return tuple(dict.fromkeys(name for found in values for name in found))


def with_path_names(config: InputConfig, own: Iterable[str], offered: Iterable[str]) -> list[str]:
    """Return a file's own columns, then those of its path that the request can name and the file does not have."""
    names, named = list(own), _named(config)
    unnamed = _FOUND_UNNAMED.union(config.labels) - named
    return [*names, *(name for name in offered if name not in unnamed and name not in names)]


def named_path_values(source: Source, uri: str) -> dict[str, str | None]:
    """Values of the columns that the request names, from the path of a file."""
    named = _named(source.config)
    return {name: value for name, value in path_values(uri, source.root).items() if name in named}


def with_path_fields(config: InputConfig, arrow: pa.Schema, offered: Iterable[str]) -> pa.Schema:
    """Return the schema of a file with the columns of paths as text, see `with_path_names`."""
    for name in with_path_names(config, arrow.names, offered)[len(arrow.names) :]:
        arrow = arrow.append(pa.field(name, pa.string()))
    return arrow


def with_path_columns(batch: pa.RecordBatch, values: Mapping[str, str | None]) -> pa.RecordBatch:
    """Return a batch with those columns of its path that it does not have itself."""
    for name, value in values.items():
        if name not in batch.schema.names:
            column = pa.repeat(pa.scalar(value, pa.string()), batch.num_rows)
            batch = batch.append_column(pa.field(name, pa.string()), column)
    return batch


def _named(config: InputConfig) -> frozenset[str]:
    return frozenset((*config.keep, *config.columns.values()))


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
