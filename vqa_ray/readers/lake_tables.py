"""Tables that a catalogue or a log keeps: the data files of one of their snapshots, as an input.

`delta:URI[@VERSION]`, `iceberg:CATALOG.NAMESPACE.TABLE[@SNAPSHOT]` and `lance:URI[@VERSION]`. Their files are never
rewritten, so that a run reads the snapshot that it began with, whatever becomes of the table meanwhile. Those of Delta
and Iceberg are Parquet; of Lance, the fragments stand for files.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

from vqa_ray.errors import RequestError, one_line
from vqa_ray.readers.lance_fragments import fragments, open_version
from vqa_ray.readers.source import request_error
from vqa_ray.storage.filesystem import FileEntry
from vqa_ray.storage.lake_storage import TABLE, location, missing_package, patiently, storage_options


class LakeTable(NamedTuple):
    """A table as `--input` names it.

    Attributes:
        uri: the whole name.
        kind: delta, iceberg or lance.
        address: a directory or prefix, or CATALOG.NAMESPACE.TABLE.
        version: of the table, or its snapshot; None for the latest.
    """

    uri: str
    kind: str
    address: str
    version: int | None


def parse_table(uri: str) -> LakeTable | None:
    """Read the name of a table; None for anything else."""
    match = TABLE.fullmatch(uri)
    return match and LakeTable(uri, match[1], match[2], int(match[3]) if match[3] else None)


class TableFiles(NamedTuple):
    """The data files of a snapshot.

    Attributes:
        root: the directory of the table.
        entries: its files, sorted; of a Lance dataset its fragments.
        lance_version: of a Lance dataset; None for other tables.
    """

    root: str
    entries: list[FileEntry]
    lance_version: int | None = None


def table_files(table: LakeTable) -> TableFiles:
    """List the data files of a snapshot.

    Raises:
        RequestError: the table cannot be opened, or more than a list of files is needed to read it; the message says
            what to do.
    """
    if missing := missing_package(table.kind):
        raise request_error(f"{table.uri}: {missing}")
    try:
        found = patiently(lambda: _LISTED[table.kind](table), table.uri, table.address)
    except RequestError:
        raise
    # Each library has many kinds of errors of its own, and none is above another.
    except Exception as error:
        raise request_error(f"{table.uri}: cannot be opened: {one_line(error, 200) or type(error).__name__}") from error
    if not found.entries:
        raise request_error(f"{table.uri}: the input is empty: the table has no data files")
    return found._replace(entries=sorted(found.entries, key=lambda entry: entry.uri))


def _delta(table: LakeTable) -> TableFiles:
    from deltalake import DeltaTable

    opened = DeltaTable(location(table.address), version=table.version, storage_options=storage_options(table.address))
    if opened.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        raise request_error(f"{table.uri}: its files name the columns otherwise (column mapping); {_ADVICE}")
    if next(iter(opened.deletion_vectors()), None) is not None:
        raise request_error(
            f"{table.uri}: has deletion vectors; REORG TABLE … APPLY (PURGE) writes them into the files"
        )
    root = table.address.rstrip("/")
    actions: Any = opened.get_add_actions(flatten=True)
    rows = zip(*(actions.column(name).to_pylist() for name in ("path", "size_bytes", "modification_time")), strict=True)
    entries = [FileEntry(f"{root}/{unquote(path)}", size, _utc(time), None) for path, size, time in rows]
    if foreign := [path for path in map(str, actions.column("path").to_pylist()) if "://" in path or path[:1] == "/"]:
        raise request_error(f"{table.uri}: has files in other places, for example {foreign[0]}; {_ADVICE}")
    return TableFiles(root, entries)


def _iceberg(table: LakeTable) -> TableFiles:
    from pyiceberg.catalog import load_catalog

    catalogue, _, identifier = table.address.partition(".")
    opened = load_catalog(catalogue).load_table(identifier)
    current = {field.field_id: field.name for field in opened.schema().fields}
    for schema in opened.metadata.schemas:
        renamed = next((each for each in schema.fields if current.get(each.field_id, each.name) != each.name), None)
        if renamed is not None:
            raise request_error(
                f"{table.uri}: column {renamed.name} was renamed, and old files keep the name; {_ADVICE}"
            )
    root, entries = opened.location().rstrip("/"), []
    for task in opened.scan(snapshot_id=table.version).plan_files():
        if task.delete_files:
            raise request_error(f"{table.uri}: has row deletes beside its files; rewrite the data files first")
        path = task.file.file_path
        if str(task.file.file_format).rpartition(".")[2] != "PARQUET":
            raise request_error(f"{table.uri}: has files of {task.file.file_format}; {_ADVICE}")
        if not path.startswith(f"{root}/"):
            raise request_error(f"{table.uri}: has files in other places, for example {path}; {_ADVICE}")
        entries.append(FileEntry(path, task.file.file_size_in_bytes, None, None))
    return TableFiles(root, entries)


def _lance(table: LakeTable) -> TableFiles:
    root = table.address.rstrip("/")
    dataset = open_version(root, table.version)
    return TableFiles(root, fragments(root, dataset), int(dataset.version))


def _utc(time: datetime | int | None) -> datetime | None:
    if isinstance(time, int):
        return datetime.fromtimestamp(time / 1000, UTC)
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)


_LISTED = {"delta": _delta, "iceberg": _iceberg, "lance": _lance}
_ADVICE = "write the rows you want to another table or as plain Parquet files"
