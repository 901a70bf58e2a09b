"""The rows of a run as predictions: answers, captions, tags of each attribute, matches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import RequestError
from vqa_ray.judging.side import SIDE, prediction_schema
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import open_parquet, read_schema, row_count
from vqa_ray.runs.question_rows import question_rows
from vqa_ray.runs.record import RunRecord
from vqa_ray.schema import STATUS_GONE, STATUS_OK
from vqa_ray.storage.python_rows import python_rows

# Job → kind of prediction, its column, that of its score.
_JOBS = {
    "answer": ("text", "answer", "answer_score"),
    "caption": ("text", "caption", "caption_score"),
    "retrieve": ("match", "match", "score"),
    "tag": ("labels", "tags", None),
}
_ROWS = 8192
_FIRST = 256
_LAST = ("source_key", "question_index")


@dataclass(frozen=True, slots=True)
class RunTable:
    """A finished run; see `vqa_ray.judging.side.Side`.

    Attributes:
        job, model: of its record.
        kind: of prediction.
        attributes: of a tag run.
        has_several: whether an input row may have several questions.
        parts: URIs of its files.
        kept: the user's columns, as they are read here.
        input_format: of the input that the run read.
        multi: the attributes that may have several labels, or none.
        choices: attribute → its choices, where the first rows hold the scores of all of them.
        shortlisted: the attributes of which each image was asked about some choices.
    """

    uri: str
    fingerprint: str
    rows: int
    job: str
    model: str
    kind: str
    attributes: tuple[str, ...]
    has_several: bool
    parts: tuple[str, ...]
    kept: tuple[pa.Field, ...]
    ids: frozenset[str]
    input_format: str = ""
    multi: frozenset[str] = frozenset()
    choices: Mapping[str, frozenset[str]] = field(default_factory=dict)
    shortlisted: frozenset[str] = frozenset()

    @property
    def tasks(self) -> int:
        """The number of files."""
        return len(self.parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the user's columns."""
        return tuple(part.name for part in self.kept)

    @property
    def schema(self) -> pa.Schema:
        """The columns of its rows."""
        return prediction_schema(self.kind, self.kept)

    def keeping(self, names: Collection[str]) -> RunTable:
        """Return the same rows with those of the user's columns alone."""
        return replace(self, kept=tuple(part for part in self.kept if part.name in names))

    def tables(self, task: int) -> Iterator[pa.Table]:
        """Yield the rows of a file."""
        with open_parquet(self.parts[task]) as file:
            names = [*_own_columns(file.schema_arrow), *self.columns]
            for batch in file.iter_batches(_ROWS, columns=names):
                table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
                table = table.filter(pc.not_equal(table["status"], STATUS_GONE))
                yield self._labels(table) if self.kind == "labels" else self._single(table)

    def _single(self, table: pa.Table) -> pa.Table:
        _, answer, score = _JOBS[self.job]
        if "results" in table.column_names:
            rows = list(question_rows(python_rows(table)))
            form = {"question": pa.string(), "answer": pa.string(), "answer_score": pa.float32()}
            kept = [field for field in table.schema if field.name != "results"]
            fields = [*kept, *(pa.field(name, kind) for name, kind in form.items()), _PLACE]
            rows = [{"question_index": 0, **row} for row in rows]
            table = pa.Table.from_pylist([_only(row, fields) for row in rows], pa.schema(fields))
        return self._table(table, {"prediction": table[answer], "confidence": table[str(score)]})

    def _labels(self, table: pa.Table) -> pa.Table:
        rows = python_rows(table)
        repeated = table.take(pa.array([i for i in range(len(rows)) for _ in self.attributes], pa.int64()))
        said = [_attribute(row, name) for row in rows for name in self.attributes]
        columns = {
            "attribute": [name for _ in rows for name in self.attributes],
            "prediction": [labels for labels, _ in said],
            "scores": [scores for _, scores in said],
            "confidence": [_confidence(*each) for each in said],
        }
        return self._table(repeated, columns)

    def _table(self, table: pa.Table, predicted: Mapping[str, Any]) -> pa.Table:
        names, count = table.column_names, table.num_rows
        columns: dict[str, Any] = {
            "order": table["source_key"],
            "row_id": pc.cast(table["row_id"], pa.string()),
            "malformed": pa.nulls(count, pa.string()),
            "place": table["question_index"] if "question_index" in names else [0] * count,
            "failed": pc.not_equal(table["status"], STATUS_OK),
            **predicted,
        }
        arrays = []
        for part in self.schema:
            given = columns.get(part.name)
            if given is None:
                given = table[part.name] if part.name in names else pa.nulls(count)
            is_arrow = isinstance(given, pa.Array | pa.ChunkedArray)
            arrays.append(given.cast(part.type) if is_arrow else pa.array(given, part.type))
        return pa.Table.from_arrays(arrays, schema=self.schema)


_PLACE = pa.field("question_index", pa.int32())


def open_run(uri: str) -> RunTable | None:
    """Open a finished run; None where the URI holds no run.

    Raises:
        RequestError: the run has not finished, is one of another job, or its rows are gone.
    """
    directory = RunDirectory(uri)
    record = _record(directory)
    if record is None:
        return None
    done = manifest.read(directory.manifest)
    if done is None:
        raise RequestError(f"--predictions {uri}: the run has not finished; finish it with the command that began it")
    if record.job not in _JOBS:
        raise RequestError(f"--predictions {uri}: a run of {record.job!r}; expected answer, tag, caption or retrieve")
    parts = tuple(entry.uri for entry in directory.part_files())
    rows = sum(map(row_count, parts)) - int(done.get("gone", 0))
    if not rows:
        raise RequestError(f"--predictions {uri}: the run has no rows")
    schema = read_schema(parts[0])
    names = schema.names
    kept = tuple(schema)[max(names.index(name) for name in _LAST if name in names) + 1 :]
    attributes = tuple(name for name in names if record.job == "tag" and f"{name}_score" in names)
    kind = _JOBS[record.job][0]
    fingerprint = f"{record.run_id} {done.get('timing', {}).get('finished')} {len(done.get('attempts') or ())}"
    table = RunTable(
        *(uri, fingerprint, rows, record.job, str(record.model.get("reference")), kind, attributes),
        *(bool(record.input.get("several")), parts, kept, frozenset()),
        input_format=str(record.input.get("format") or ""),
        multi=frozenset(name for name in attributes if pa.types.is_list(schema.field(name).type)),
        shortlisted=frozenset(name for name in attributes if f"{name}_rank" in names),
    )
    first = next(part for task in range(table.tasks) for part in table.tables(task) if part.num_rows)
    ids = {name for name in SIDE.names if first[name].null_count < first.num_rows} - {"order", "malformed"}
    choices = _choices(first.slice(0, _FIRST)) if kind == "labels" and "tag_scores" in names else {}
    whole = {name: each for name, each in choices.items() if not {f"{name}_rank", f"{name}_path"} & set(names)}
    return replace(table, ids=frozenset(ids), choices=whole)


def _choices(table: pa.Table) -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for attribute, scores in zip(table["attribute"].to_pylist(), table["scores"].to_pylist(), strict=True):
        found[attribute].update(each["label"] for each in scores or ())
    return {attribute: frozenset(labels) for attribute, labels in found.items() if labels}


def _record(directory: RunDirectory) -> RunRecord | None:
    try:
        return RunRecord.read(directory.record)
    except NotADirectoryError:
        return None


def _own_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of a run that tell its predictions."""
    last = max(schema.get_field_index(name) for name in _LAST)
    skipped = ("answers", "boxes", "warning", "error_message", "finish_reason")
    return [name for name in schema.names[: last + 1] if name not in skipped]


def _only(row: Mapping[str, Any], fields: Sequence[pa.Field]) -> dict[str, Any]:
    return {field.name: row.get(field.name) for field in fields}


def _attribute(row: Mapping[str, Any], name: str) -> tuple[list[str] | None, list[dict[str, Any]]]:
    """Return the labels of an attribute, None in error, and the scores of its choices."""
    if row["status"] != STATUS_OK:
        return None, []
    value, score = row[name], row[f"{name}_score"]
    labels = value if isinstance(value, list) else [] if value is None else [value]
    kept = [each for each in row.get("tag_scores") or () if each["attribute"] == name]
    if kept:
        return labels, [{"label": each["choice"], "score": each["score"]} for each in kept]
    scores = score if isinstance(score, list) else [score]
    return labels, [{"label": label, "score": each} for label, each in zip(labels, scores, strict=False)]


def _confidence(labels: Sequence[str] | None, scores: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the score of the surest label given, of the surest choice where none was."""
    found = [each for each in scores if each["score"] is not None]
    given = [each["score"] for each in found if each["label"] in (labels or ())]
    return max(given or [each["score"] for each in found], default=None)
