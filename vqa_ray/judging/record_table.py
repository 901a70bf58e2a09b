"""Tables that the readers of inputs open, without their images: truth, and predictions of other tools."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from vqa_ray.errors import ErrorCode, RequestError
from vqa_ray.judging.side import SIDE
from vqa_ray.readers import InputConfig, Source, open_source, read_shard
from vqa_ray.readers.coerce import as_id
from vqa_ray.readers.damage import watched_stream
from vqa_ray.readers.estimate import estimate_rows
from vqa_ray.readers.formats.json_text import json_members
from vqa_ray.readers.source import join_names
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.text_encoding import decode_text

_MOST_TASKS = 64
_BYTES_PER_ROW = 1000
_HEAD_BYTES = 2**16
_ANNOTATIONS = re.compile(rb'^\s*\{.*?"annotations"\s*:\s*\[', re.DOTALL)
_TEXTS = pa.list_(pa.string())
_ANNOTATION_COLUMNS = {
    "annotator_answers": _TEXTS,
    "question_type": pa.string(),
    "answer_type": pa.string(),
    "multiple_choice_answer": pa.string(),
}
_ANNOTATION_ROWS = 4096
# Columns that SIDE has, or that hold images.
RESERVED = frozenset((*SIDE.names, "image", "images"))


@dataclass(frozen=True, slots=True)
class RecordTable:
    """A table; see `vqa_ray.judging.side.Side`."""

    source: Source
    columns: tuple[str, ...]
    ids: frozenset[str]
    rows: int = 0

    @property
    def uri(self) -> str:
        """The URI as it was given."""
        return self.source.config.uri

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the files."""
        return self.source.fingerprint

    @property
    def tasks(self) -> int:
        """The number of parts."""
        return min(_MOST_TASKS, len(self.source.shards))

    def tables(self, task: int) -> Iterator[pa.Table]:
        """Yield the rows of some shards that follow each other."""
        count = len(self.source.shards)
        for shard in self.source.shards[task * count // self.tasks : (task + 1) * count // self.tasks]:
            for table in read_shard(self.source, shard):
                yield _side_of(table, self.source)


def open_records(config: InputConfig, wanted: Sequence[str]) -> RecordTable | AnnotationTable:
    """Open a table in any format of inputs; it may lack images.

    Args:
        config: what to read; with questions of its own, those of the table are left out.
        wanted: columns to read where the table has them, beside ids and question.

    Raises:
        RequestError: as `open_source`, or the table is empty.
    """
    if (annotations := AnnotationTable.at(config)) is not None:
        return annotations
    labels = tuple(name for name in dict.fromkeys(wanted) if name not in RESERVED)
    config = replace(config, labels=labels, needs_image=False, needs_question=False, reads_images=False)
    source = open_source(config)
    asks = config.columns.get("question", "question") in source.columns or source.column_map.question
    if asks and not config.questions:
        source = open_source(replace(config, needs_question=True))
    columns = source.config.labels
    table = RecordTable(source, columns, _ids(source), _rows(source))
    if not table.ids & {"image_id", "question_id"} and source.column_map.image:
        # Nothing but their bytes tells the rows apart.
        source = source.with_images()
        table = replace(table, source=source, ids=_ids(source))
    return table


def _rows(source: Source) -> int:
    """Return the number of rows; where it is not stated, from the beginnings of files, or from their sizes."""
    if source.total_rows is not None:
        return source.total_rows
    estimate = estimate_rows(source)
    return sum(shard.size_bytes for shard in source.shards) // _BYTES_PER_ROW if estimate is None else estimate.rows


def _ids(source: Source) -> frozenset[str]:
    """Return the columns of SIDE that hold something in the first rows of a table.

    Raises:
        RequestError: it has no rows.
    """
    table = RecordTable(source, (), frozenset())
    first = next((part for task in range(table.tasks) for part in table.tables(task) if part.num_rows), None)
    if first is None:
        raise RequestError(f"{source.config.uri}: has no rows")
    if not first["malformed"].null_count:
        raise RequestError(f"{source.config.uri}: none of the first rows can be read: {first['malformed'][0]}")
    given = {name for name in SIDE.names if first[name].null_count < first.num_rows} - {"order", "malformed"}
    has_row_ids = source.config.columns.get("row_id", "row_id") in source.columns
    return frozenset(given if has_row_ids else given - {"row_id"})


def _side_of(table: pa.Table, source: Source) -> pa.Table:
    """Return READ rows as SIDE rows with the further columns of the table."""
    is_malformed = pc.equal(table["error_code"], str(ErrorCode.ROW_MALFORMED))
    columns = {
        "order": table["source_key"],
        "row_id": pc.cast(table["row_id"], pa.string()),
        "question": pa.array([asked[0] if asked else None for asked in table["questions"].to_pylist()], pa.string()),
        "malformed": pc.if_else(pc.fill_null(is_malformed, False), table["error_message"], None),
    }
    own = [table[part.name] for part in source.passthrough]
    arrays = [columns[name] if name in columns else table[name] for name in SIDE.names]
    return pa.Table.from_arrays([*arrays, *own], schema=pa.schema([*SIDE, *source.passthrough_columns()]))


@dataclass(frozen=True, slots=True)
class AnnotationTable:
    """The official annotations of VQA v2 by themselves; see `vqa_ray.judging.side.Side`."""

    uri: str
    fingerprint: str
    rows: int
    encoding: str | None = None
    tasks: int = 1
    columns: tuple[str, ...] = tuple(_ANNOTATION_COLUMNS)
    ids: frozenset[str] = frozenset(("image_id", "question_id"))

    @classmethod
    def at(cls, config: InputConfig) -> AnnotationTable | None:
        """Return the annotations at a URI; None where it names something else."""
        if config.format not in (None, "vqa-v2") or not re.search(r"\.json(\.\w+)?$", config.uri):
            return None
        try:
            with watched_stream(config.uri) as (file, _):
                head = file.read(_HEAD_BYTES)
        except OSError:
            return None
        if not _ANNOTATIONS.match(head) or b'"question_id"' not in head:
            return None
        data = read_bytes(config.uri)
        return cls(config.uri, hashlib.sha256(data).hexdigest(), data.count(b'"question_id"'), config.encoding)

    def tables(self, task: int) -> Iterator[pa.Table]:
        """Yield the annotations."""
        del task
        batch: list[dict[str, object]] = []
        place = 0
        text = decode_text(read_bytes(self.uri), self.encoding)
        try:
            for key, value, _ in json_members(text, "annotations"):
                if key == "annotations" and isinstance(value, dict):
                    batch.append(_annotation(place, value))
                    place += 1
                if len(batch) == _ANNOTATION_ROWS:
                    yield self._table(batch)
                    batch = []
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{self.uri}: not a VQA annotations file: {error}") from error
        if batch:
            yield self._table(batch)

    def _table(self, batch: Sequence[Mapping[str, object]]) -> pa.Table:
        own = [pa.field(name, kind) for name, kind in _ANNOTATION_COLUMNS.items()]
        return pa.Table.from_pylist(list(batch), pa.schema([*SIDE, *own]))


def _annotation(place: int, value: Mapping[str, object]) -> dict[str, object]:
    answers = value.get("answers")
    said = [each.get("answer") for each in answers if isinstance(each, dict)] if isinstance(answers, list) else None
    texts = {name: None if (cell := value.get(name)) is None else str(cell) for name in _ANNOTATION_COLUMNS}
    return {
        "order": place,
        "row_id": None,
        "image_id": as_id(value.get("image_id"), "image_id"),
        "question_id": as_id(value.get("question_id"), "question_id"),
        **texts,
        "annotator_answers": None if said is None else [None if each is None else str(each) for each in said],
    }


def describe_columns(table: RecordTable | AnnotationTable) -> str:
    """Name the columns of a table, for a message."""
    return join_names(table.columns if isinstance(table, AnnotationTable) else table.source.columns)
