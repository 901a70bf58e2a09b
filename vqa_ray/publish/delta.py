"""Publishing to a Delta table: one commit, known again by its application transaction (run id, state)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from vqa_ray.errors import RequestError, one_line
from vqa_ray.publish.publication import KEY, RUN_ID, Publication, require_types, would_double
from vqa_ray.publish.target import Published, Target, require_unused
from vqa_ray.storage.filesystem import exists, list_files
from vqa_ray.storage.lake_storage import location, storage_options
from vqa_ray.storage.uri import join, name_of

_COMMIT = re.compile(r"\d{20}\.json")
_BEGUN = re.compile(r"_delta_log/(?!\d{20}\.json)|part-[^/]*\.parquet$")


def publish(target: Target, publication: Publication) -> Published:
    """Commit the rows of a publication to a Delta table, which is made where there is none.

    Raises:
        RequestError: the table cannot be opened or written, has columns of other types, or another writer was faster.
    """
    from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
    from deltalake.exceptions import DeltaError

    where, options = location(target.address), storage_options(target.address)
    commit = CommitProperties(
        custom_metadata={KEY: publication.key}, app_transactions=[Transaction(publication.run_id, publication.state)]
    )
    try:
        table = DeltaTable(where, storage_options=options) if DeltaTable.is_deltatable(where, options) else None
        if table is None:
            _require_no_log(target)
            require_unused(target, _BEGUN)
        there = [] if table is None else [field.name for field in table.schema().fields]
        _require_distinct(target, there, publication.schema.names)
        if table is not None:
            known = table.transaction_version(publication.run_id)
            if known is not None and known >= publication.state:
                return Published(f"version {table.version()}", known=True)
            fields = pa.schema(table.schema().to_arrow())
            require_types(str(target), {field.name: field.type for field in fields}, publication.schema)
            if not publication.merges and known is not None:
                raise would_double(target, publication)
        keys = publication.keys()
        if table is None or keys is None:
            write_deltalake(
                where,
                publication.reader(),
                mode="append",
                schema_mode="merge" if table is not None else None,
                storage_options=options,
                commit_properties=commit,
            )
            table = DeltaTable(where, storage_options=options)
        else:
            _merge(table, publication, commit)
    except DeltaError as error:
        raise RequestError(f"--to {target}: {one_line(error, 400)}") from error
    return Published(f"version {table.version()}", _rows(table) if keys is None else keys.num_rows)


def _require_no_log(target: Target) -> None:
    """Refuse a place that has commits and is no table: it became one meanwhile, or its log cannot be read."""
    log = join(target.address, "_delta_log")
    names = [name_of(entry.uri) for entry in list_files(log, hidden=True)] if exists(log) else []
    commit = next((name for name in sorted(names) if _COMMIT.fullmatch(name)), None)
    if commit is not None:
        raise RequestError(
            f"--to {target}: cannot be opened as a table, although _delta_log/{commit} is there: another process may "
            "be making it; repeat the command, and if that does not help, its log is damaged"
        )


def _require_distinct(target: Target, theirs: Sequence[str], ours: Sequence[str]) -> None:
    """Refuse columns whose names differ in case alone: Delta takes them for one."""
    seen = {name.casefold(): name for name in theirs}
    for name in ours:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise RequestError(
                f"--to {target}: columns {other} and {name} differ in case alone, and Delta takes them for one; "
                "publish to another table, or to iceberg:, lance: or parquet:"
            )


def _rows(table: Any) -> int:
    metrics = table.history(1)[0].get("operationMetrics") or {}
    return int(metrics.get("num_added_rows", 0))


def _merge(table: Any, publication: Publication, commit: Any) -> None:
    on = " AND ".join(f'target."{name}" = source."{name}"' for name in publication.by)
    merger = table.merge(
        publication.reader(),
        predicate=on,
        source_alias="source",
        target_alias="target",
        merge_schema=True,
        commit_properties=commit,
    )
    merger = merger.when_matched_update_all().when_not_matched_insert_all()
    if RUN_ID in [field.name for field in table.schema().fields]:
        # What the run had and has no longer.
        merger = merger.when_not_matched_by_source_delete(predicate=f"target.{RUN_ID} = '{publication.run_id}'")
    merger.execute()
