"""Publishing to a directory of plain Parquet files: a file per run, replaced as a whole by a later state."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import parquet as pq

from vqa_ray.errors import RequestError
from vqa_ray.publish.publication import KEY, Publication, require_types
from vqa_ray.publish.target import Published, Target
from vqa_ray.storage.atomic import open_atomic
from vqa_ray.storage.filesystem import exists, filesystem_for, list_files
from vqa_ray.storage.uri import join, name_of


def publish(target: Target, publication: Publication) -> Published:
    """Write the rows of a publication as one file, `RUN_ID.parquet`, in place of that of an earlier state.

    Raises:
        RequestError: another file of the directory has columns of other types, or, when rows are merged, one of the
            keys.
    """
    name = f"{publication.run_id}.parquet"
    files = [entry.uri for entry in list_files(target.address)] if exists(target.address) else []
    keys = publication.keys()
    for uri in files:
        if not uri.endswith(".parquet"):
            raise RequestError(f"--to {target}: holds {name_of(uri)}, which is no Parquet file; name another directory")
        schema = _footer(uri)
        if name_of(uri) == name:
            if (schema.metadata or {}).get(KEY.encode()) == publication.key.encode():
                return Published(name, known=True)
            continue
        require_types(f"{target}/{name_of(uri)}", {field.name: field.type for field in schema}, publication.schema)
        if keys is not None and (shared := _shared(uri, keys, publication.by)):
            raise RequestError(
                f"--to {target}: {shared} rows have the key of a row of {publication.label} in {name_of(uri)}, and "
                "files of other runs are not rewritten: publish to delta:, iceberg: or lance:, or with --mode append"
            )
    rows = 0
    form = publication.schema.with_metadata({KEY: publication.key})
    with open_atomic(join(target.address, name)) as sink, pq.ParquetWriter(sink, form, compression="zstd") as writer:
        for batch in publication.reader():
            writer.write_batch(batch)
            rows += batch.num_rows
    return Published(name, rows)


def _footer(uri: str) -> pa.Schema:
    filesystem, path = filesystem_for(uri)
    try:
        with filesystem.open_input_file(path) as source:
            return pq.ParquetFile(source).schema_arrow
    except pa.ArrowInvalid as error:
        raise RequestError(f"{uri}: is damaged: {error}") from error


def _shared(uri: str, keys: pa.Table, by: tuple[str, ...]) -> int:
    filesystem, path = filesystem_for(uri)
    with filesystem.open_input_file(path) as source:
        file = pq.ParquetFile(source)
        if not set(by) <= set(file.schema_arrow.names):
            return 0
        theirs = file.read(list(by)).select(list(by)).cast(keys.schema)
    return int(theirs.join(keys, list(by), join_type="left semi").num_rows)
