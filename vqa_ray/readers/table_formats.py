"""Directories that a table format keeps: Delta Lake, whose log is heeded, and Iceberg, Hudi and Lance, refused.

Such a directory also holds files that are no part of the table any more. Delta's log: JSON files of actions, and
checkpoints in Parquet that hold the actions up to a version (https://github.com/delta-io/delta/blob/master/PROTOCOL.md).
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import parquet

from vqa_ray.errors import RequestError
from vqa_ray.readers.damage import watched
from vqa_ray.readers.source import request_error
from vqa_ray.storage.filesystem import FileEntry, read_bytes
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.text_encoding import text_lines

_LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.\d{10}\.\d{10})?\.parquet")
_OTHER_CHECKPOINT = re.compile(r"\d{20}\.checkpoint\..*")
_OF_LOG = re.compile(rf"(?P<table>(?:.*/)?){_LOG}/\d{{20}}\.(?:json|checkpoint\..*)", re.DOTALL)
_ICEBERG = re.compile(r"(?:v\d+|\d{5}-[0-9a-f-]{36})(?:\.gz)?\.metadata\.json")
# Reader features that change nothing in which files are read, or how.
_HARMLESS = {"timestampNtz", "vacuumProtocolCheck", "deletionVectors", "columnMapping", "variantType", "typeWidening"}
_PURGE = "purge them (REORG TABLE … APPLY (PURGE))"
_ADVICE = "write the rows you want as plain Parquet files"


def without_removed(root: str, entries: Mapping[str, FileEntry]) -> set[str]:
    """Return the relative paths that table formats keep but do not count as rows.

    Of a Delta table, these are all but the current files.

    Args:
        root: of the input, for messages.
        entries: relative path → file of all that lies there, bookkeeping included.

    Raises:
        RequestError: a table of Iceberg, Hudi or Lance, or one of Delta that needs more than a list of files; the
            message says what to do.
    """
    for path in entries:
        directory, _, name = path.rpartition("/")
        if ".hoodie" in directory.split("/"):
            raise request_error(f"{root}: is a Hudi table, whose current files only Hudi knows; {_ADVICE}")
        if posixpath.basename(directory) == "metadata" and _ICEBERG.fullmatch(name):
            raise request_error(f"{root}: is an Iceberg table, whose current files only its metadata tells; {_ADVICE}")
        if directory == "_versions" and name.endswith(".manifest"):
            raise request_error(f"{root}: is a Lance dataset; its rows are read as lance:{root}")
    tables = {match["table"] for path in entries if (match := _OF_LOG.fullmatch(path))}
    left: set[str] = set()
    for table in tables:
        current = {f"{table}{path}" for path in _current(posixpath.join(root, table), table, entries)}
        missing = sorted(current - entries.keys())
        if missing:
            raise request_error(
                f"{root}: the Delta log names files that are not there, for example {missing[0]}; {_ADVICE}"
            )
        left |= {path for path in entries if path.startswith(table) and path not in current}
    return left


def _current(where: str, table: str, entries: Mapping[str, FileEntry]) -> set[str]:
    start = f"{table}{_LOG}/"
    log = {path.removeprefix(start): entry for path, entry in entries.items() if path.startswith(start)}
    commits = {int(match[1]): log[name] for name in log if (match := _COMMIT.fullmatch(name))}
    checkpoints: dict[int, list[FileEntry]] = {}
    for name, entry in log.items():
        if match := _CHECKPOINT.fullmatch(name):
            checkpoints.setdefault(int(match[1]), []).append(entry)
        elif _OTHER_CHECKPOINT.fullmatch(name):
            raise request_error(
                f"{where}: is a Delta table with checkpoints of version 2, which are not read; {_ADVICE}"
            )
    base = max(checkpoints, default=-1)
    for part in checkpoints.get(base, ())[:1]:
        said = re.search(r"\.\d{10}\.(\d{10})\.parquet$", part.uri)
        if said and int(said[1]) != len(checkpoints[base]):
            raise request_error(f"{where}: parts of a Delta checkpoint are missing; {_ADVICE}")
    later = sorted(version for version in commits if version > base)
    first = base + 1 if base >= 0 else (later[0] if later else 0)
    if later != list(range(first, first + len(later))):
        raise request_error(f"{where}: commits are missing from the Delta log; {_ADVICE}")
    actions = list(_checkpointed(checkpoints.get(base, ())))
    actions += [action for version in later for action in _committed(commits[version])]
    return _replayed(where, table, actions, entries, whole=base >= 0 or first == 0)


def _replayed(
    where: str, table: str, actions: Sequence[Mapping[str, Any]], entries: Mapping[str, FileEntry], *, whole: bool
) -> set[str]:
    # Without the beginning of the log, all files count that no commit removes.
    current = (
        set()
        if whole
        else {path.removeprefix(table) for path in entries if path.startswith(table) and f"{_LOG}/" not in path}
    )
    for action in actions:
        _check(where, action)
        if added := action.get("add"):
            if added.get("deletionVector"):
                raise request_error(
                    f"{where}: is a Delta table with deletion vectors, which are not read; {_PURGE} or {_ADVICE}"
                )
            current.add(_path(where, added["path"]))
        elif removed := action.get("remove"):
            current.discard(_path(where, removed["path"]))
    return current


def _check(where: str, action: Mapping[str, Any]) -> None:
    mode = dict((action.get("metaData") or {}).get("configuration") or {}).get("delta.columnMapping.mode", "none")
    if mode != "none":
        raise request_error(
            f"{where}: is a Delta table with column mapping: its files name the columns otherwise; {_ADVICE}"
        )
    unknown = sorted(set((action.get("protocol") or {}).get("readerFeatures") or ()) - _HARMLESS)
    if unknown:
        raise request_error(f"{where}: is a Delta table that needs a reader with {', '.join(unknown)}; {_ADVICE}")


def _path(where: str, written: str) -> str:
    path = unquote(written)
    if path.startswith("/") or "://" in path:
        raise request_error(f"{where}: is a Delta table with files in other places, for example {path}; {_ADVICE}")
    return path


def _committed(entry: FileEntry) -> Iterator[Mapping[str, Any]]:
    try:
        lines = text_lines(read_bytes(entry.uri).decode())
        for line in lines:
            if line.strip():
                yield json.loads(line)
    except (ValueError, RecursionError) as error:
        raise request_error(f"{entry.uri}: the Delta log cannot be read: {error}") from error


def _checkpointed(parts: Sequence[FileEntry]) -> Iterator[Mapping[str, Any]]:
    for part in parts:
        try:
            with watched(part.uri) as file:
                opened = parquet.ParquetFile(file)
                names = [name for name in ("add", "metaData", "protocol") if name in opened.schema_arrow.names]
                for batch in opened.iter_batches(columns=names):
                    yield from batch.to_pylist()
        except store_failures(pa.ArrowInvalid) as error:
            raise RequestError(f"{part.uri}: the Delta checkpoint cannot be read: {store_reason(error)}") from error
