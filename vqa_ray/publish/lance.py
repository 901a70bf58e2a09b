"""Publishing to a Lance dataset: one version, known again by the properties of its transaction."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from vqa_ray.errors import RequestError, one_line
from vqa_ray.publish.publication import KEY, RUN_ID, Publication, require_types, would_double
from vqa_ray.publish.target import Published, Target, require_unused
from vqa_ray.storage.lake_storage import location, storage_options

_BEGUN = re.compile(r"(data|_versions|_transactions)/")


def publish(target: Target, publication: Publication) -> Published:
    """Commit the rows of a publication to a Lance dataset, which is made where there is none.

    Raises:
        RequestError: the dataset cannot be opened or written, has columns of other types, or another writer was faster.
    """
    import lance

    where, options = location(target.address), storage_options(target.address)
    properties = {KEY: publication.key}
    try:
        dataset = _open(where, options)
        if dataset is not None and _is_known(dataset, publication.key):
            return Published(f"version {dataset.version}", known=True)
        keys = publication.keys()
        if dataset is None:
            require_unused(target, _BEGUN)
            made = lance.write_dataset(
                publication.reader(), where, mode="create", storage_options=options, transaction_properties=properties
            )
            return Published(f"version {made.version}", made.count_rows())
        require_types(str(target), {field.name: field.type for field in dataset.schema}, publication.schema)
        if keys is None and _rows_of_run(dataset, publication.run_id):
            raise would_double(target, publication)
        new = [field for field in publication.schema if field.name not in dataset.schema.names]
        if new:
            # Null for the rows that are there; a kill between the two leaves a column of nulls.
            dataset.add_columns(pa.schema(new))
        form = dataset.schema
        if keys is not None:
            version = _merge(dataset, publication, publication.reader(form), properties, options)
            return Published(f"version {version}", keys.num_rows)
        count = dataset.count_rows()
        made = lance.write_dataset(
            publication.reader(form),
            where,
            mode="append",
            storage_options=options,
            transaction_properties=properties,
        )
        return Published(f"version {made.version}", made.count_rows() - count)
    except RequestError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise RequestError(f"--to {target}: {one_line(error, 400)}") from error


def _open(where: str, options: dict[str, str] | None) -> Any:
    import lance

    try:
        return lance.dataset(where, storage_options=options)
    except (ValueError, FileNotFoundError) as error:
        if "not found" in str(error).lower() or isinstance(error, FileNotFoundError):
            return None
        raise


def _is_known(dataset: Any, key: str) -> bool:
    # Versions that were cleaned up are forgotten; merged again, their rows come to the same.
    return any(
        (each.transaction_properties or {}).get(KEY) == key
        for each in dataset.get_transactions(dataset.version)
        if each
    )


def _rows_of_run(dataset: Any, run_id: str) -> int:
    if RUN_ID not in dataset.schema.names:
        return 0
    return int(dataset.count_rows(filter=f"{RUN_ID} = '{run_id}'"))


def _merge(
    dataset: Any,
    publication: Publication,
    rows: pa.RecordBatchReader,
    properties: dict[str, str],
    options: dict[str, str] | None,
) -> int:
    import lance

    builder = dataset.merge_insert(list(publication.by)).when_matched_update_all().when_not_matched_insert_all()
    # What the run had and has no longer.
    builder = builder.when_not_matched_by_source_delete(f"{RUN_ID} = '{publication.run_id}'")
    transaction, _ = builder.execute_uncommitted(rows)
    transaction.transaction_properties = {**(transaction.transaction_properties or {}), **properties}
    return int(lance.LanceDataset.commit(dataset, transaction, storage_options=options).version)
