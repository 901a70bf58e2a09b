"""Publishing to an Iceberg table: one transaction, known again by a property of the table and of its snapshot."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import RequestError, one_line
from vqa_ray.publish.publication import KEY, RUN_ID, Publication, require_types, would_double
from vqa_ray.publish.target import Published, Target


def publish(target: Target, publication: Publication) -> Published:
    """Commit the rows of a publication to an Iceberg table, which is made where there is none.

    The catalogue's settings are pyiceberg's: `~/.pyiceberg.yaml` or variables such as PYICEBERG_CATALOG__NAME__URI.

    Raises:
        RequestError: the catalogue is not configured, the table cannot be opened or written, has columns of other
            types, or another writer was faster.
    """
    from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, RESTError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        table = _table(target, publication.schema)
        return _commit(target, table, publication)
    except RequestError:
        raise
    except CommitFailedException as error:
        reason = one_line(error, 120)
        raise RequestError(f"--to {target}: another writer was faster ({reason}); repeat the command") from error
    except (NoSuchTableError, RESTError, SQLAlchemyError, OSError, ValueError, NotImplementedError) as error:
        raise RequestError(f"--to {target}: {one_line(error, 200)}") from error


def _table(target: Target, schema: pa.Schema) -> Any:
    from pyiceberg.catalog import load_catalog

    name, _, identifier = target.address.partition(".")
    try:
        catalog = load_catalog(name)
    except ValueError as error:
        prefix = f"PYICEBERG_CATALOG__{name.upper()}__"
        raise RequestError(
            f"--to {target}: the catalogue {name} cannot be opened ({one_line(error, 120)}); its settings stand in "
            f"~/.pyiceberg.yaml or in variables such as {prefix}URI and {prefix}WAREHOUSE"
        ) from error
    catalog.create_namespace_if_not_exists(identifier.rpartition(".")[0])
    return catalog.create_table_if_not_exists(identifier, schema)


def _commit(target: Target, table: Any, publication: Publication) -> Published:
    mark = f"{KEY}.{publication.run_id}"
    known = table.properties.get(mark)
    if known is not None and int(known) >= publication.state:
        return Published(f"snapshot {table.metadata.current_snapshot_id}", known=True)
    if known is not None and not publication.merges:
        raise would_double(target, publication)
    theirs = {field.name: field.type for field in table.schema().as_arrow()}
    require_types(str(target), theirs, publication.schema)
    keys = publication.keys()
    replaced = None if keys is None or table.current_snapshot() is None else _replaced(table, publication, keys)
    with table.transaction() as transaction:
        if any(field.name not in theirs for field in publication.schema):
            with transaction.update_schema() as update:
                update.union_by_name(publication.schema)
        if replaced is not None:
            transaction.delete(replaced)
        transaction.append(publication.reader(), snapshot_properties={KEY: publication.key})
        transaction.set_properties({mark: str(publication.state)})
    table.refresh()
    snapshot = table.current_snapshot()
    return Published(f"snapshot {snapshot.snapshot_id}", int(snapshot.summary["added-records"] or 0))


def _replaced(table: Any, publication: Publication, keys: pa.Table) -> Any:
    """Return the filter of the rows to take out: those of the run, and those of others with its keys; None for none."""
    from pyiceberg.expressions import EqualTo, Or
    from pyiceberg.table.upsert_util import create_match_filter

    names = [field.name for field in table.schema().fields]
    if not set(publication.by) <= set(names):
        return None
    of_run = RUN_ID in names
    theirs = table.scan(selected_fields=(*publication.by, *([RUN_ID] if of_run else []))).to_arrow()
    own = pc.equal(theirs[RUN_ID], publication.run_id).fill_null(False) if of_run else None
    filters: list[Any] = (
        [cast("Any", EqualTo)(RUN_ID, publication.run_id)] if own is not None and pc.any(own).as_py() else []
    )
    others = theirs if own is None else theirs.filter(pc.invert(own))
    by = list(publication.by)
    shared = others.select(by).cast(keys.schema).join(keys, by, join_type="left semi")
    if shared.num_rows:
        filters.append(create_match_filter(shared, by))
    return None if not filters else filters[0] if len(filters) == 1 else Or(*filters)
