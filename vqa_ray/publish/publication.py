"""What is published: the rows of a run in one state, by which a table knows them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.counted import counted
from vqa_ray.errors import RequestError, one_line
from vqa_ray.publish.table_types import as_plain, plain_schema
from vqa_ray.publish.target import Target
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory, require_directory
from vqa_ray.runs.part_files import open_parquet, read_schema
from vqa_ray.runs.record import RunRecord
from vqa_ray.schema import STATUS_GONE
from vqa_ray.storage.store_errors import refused

# The name of the key under which a table remembers a publication.
KEY = "vqa_ray.publication"
RUN_ID = "run_id"
_ROWS = 8192
_DEFAULT_KEY = ("row_id", "question_index")


@dataclass(frozen=True, slots=True)
class Publication:
    """The rows of a run in one state.

    Attributes:
        label: the run, for messages.
        run_id: of the run.
        state: 1 for a run as it finished, one more with each retry of failed rows and each update.
        merges: rows of the table with the same key are replaced, and those of the run's earlier states; otherwise all
            rows are added.
        by: the columns of the key.
        schema: of the rows, with plain types and `run_id`.
        uris: the files of rows.
    """

    label: str
    run_id: str
    state: int
    merges: bool
    by: tuple[str, ...]
    schema: pa.Schema
    uris: Sequence[str]

    @property
    def key(self) -> str:
        """Return the text by which a table knows the publication again."""
        return f"{self.run_id}/{self.state}"

    def reader(self, schema: pa.Schema | None = None) -> pa.RecordBatchReader:
        """Open the rows for reading, those that are gone from the input left out.

        Args:
            schema: of a table with more columns, which are null; None for that of the publication.
        """
        schema = self.schema if schema is None else schema
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def keys(self) -> pa.Table | None:
        """Read the columns of the key; None where all rows are added, whatever their keys.

        Raises:
            RequestError: a key is null, or two rows have one key.
        """
        if not self.merges:
            return None
        form = pa.schema([self.schema.field(name) for name in self.by])
        keys = self.reader(form).read_all()
        names = ", ".join(self.by)
        for name in self.by:
            if nulls := keys[name].null_count:
                raise RequestError(f"--by {names}: {name} is null in {counted(nulls, 'row')} of {self.label}; {_WAYS}")
        distinct = keys.group_by(list(self.by)).aggregate([]).num_rows
        if distinct < keys.num_rows:
            raise RequestError(
                f"--by {names}: {keys.num_rows - distinct} rows of {self.label} have the key of another row; {_WAYS}"
            )
        return keys

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        wanted = [name for name in schema.names if name != RUN_ID]
        for uri in self.uris:
            with refused(f"{uri}: cannot be read"), open_parquet(uri) as file:
                there = [name for name in wanted if name in file.schema_arrow.names]
                for batch in file.iter_batches(_ROWS, columns=[*there, *(["status"] if "status" not in there else [])]):
                    kept = batch.filter(pc.not_equal(batch["status"], STATUS_GONE))
                    if kept.num_rows:
                        yield self._row_batch(kept, schema)

    def _row_batch(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        arrays = []
        for field in schema:
            if field.name == RUN_ID:
                arrays.append(pa.repeat(pa.scalar(self.run_id, field.type), batch.num_rows))
            elif field.name in batch.schema.names:
                try:
                    arrays.append(as_plain(batch[field.name], field.type))
                except pa.ArrowInvalid as error:
                    raise RequestError(f"{self.label}: column {field.name}: {one_line(error, 120)}") from error
            else:
                arrays.append(pa.nulls(batch.num_rows, field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


_WAYS = "name other columns with --by, or add all rows with --mode append"


def open_publication(run: str, *, merges: bool, by: Sequence[str]) -> Publication:
    """Open the rows of a finished run for publishing.

    Args:
        run: its directory.
        merges: see `Publication`.
        by: see `Publication`; empty for the columns that identify a row of the run.

    Raises:
        RequestError: the run is not finished, its rows are gone, `by` names a column that they lack, or a kept
            column is named run_id.
    """
    require_directory(run, run, "a finished run")
    directory = RunDirectory(run)
    content, record = manifest.read(directory.manifest), RunRecord.read(directory.record)
    if content is None or record is None:
        hint = "; finish the run with the command that began it" if record is not None else ""
        raise RequestError(f"{run}: no finished run{hint}")
    if content["findings"]:
        raise RequestError(f"{run}: its rows are inconsistent ({content['findings'][0]}); run its command again first")
    uris = [entry.uri for entry in directory.part_files()]
    if not uris:
        raise RequestError(f"{run}: its files of rows are gone; nothing is left to publish")
    schema = _schema(uris)
    if RUN_ID in schema.names:
        raise RequestError(f"{run}: has a kept column {RUN_ID!r}, which the table needs for the id of the run")
    key = tuple(by) or tuple(name for name in _DEFAULT_KEY if name in schema.names)
    if unknown := [name for name in key if name not in schema.names]:
        raise RequestError(f"--by {unknown[0]}: no column of {run}; it has {', '.join(schema.names)}")
    nested = [name for name in key if pa.types.is_nested(schema.field(name).type)]
    if nested:
        raise RequestError(f"--by {nested[0]}: holds lists or structures, which are no keys")
    form = plain_schema(schema, run).append(pa.field(RUN_ID, pa.string()))
    return Publication(run, record.run_id, manifest.next_attempt(content) - 1, merges, key, form, uris)


def require_types(to: str, theirs: Mapping[str, pa.DataType], ours: pa.Schema) -> None:
    """Refuse a table whose columns have other types than the rows.

    Args:
        to: the table, for messages.
        theirs: column → its type in the table.
        ours: the schema of the rows.

    Raises:
        RequestError: a column has another type there.
    """
    for field in ours:
        there = theirs.get(field.name)
        if there is None:
            continue
        plain = plain_schema(pa.schema([pa.field(field.name, there)]), to).field(0).type
        if plain != field.type:
            raise RequestError(
                f"--to {to}: the type of column {field.name} has moved: {plain} in the table, {field.type} in the run; "
                "publish to another table"
            )


def would_double(target: Target, publication: Publication) -> RequestError:
    """Return the refusal to add a run to a table that has an earlier state of it."""
    return RequestError(
        f"--to {target}: has the rows of an earlier state of {publication.label}, which --mode append would double; "
        "--mode merge replaces them"
    )


def _schema(uris: Sequence[str]) -> pa.Schema:
    fields: dict[str, pa.Field] = {}
    for uri in uris:
        with refused(f"{uri}: cannot be read"):
            for field in read_schema(uri):
                fields.setdefault(field.name, field)
    return pa.schema(list(fields.values()))
