"""Column names and Arrow schemas of rows, and the writing of errors into them.

Readers yield READ rows (encoded bytes or a reference to them), CPU stages hand DECODED rows (raw pixels) to the model
actors, and runs write an output form: ANSWER, ANSWERS, CAPTION, RETRIEVE, or that of `tag_schema` or
`embedding_schema`. The user's kept columns (`--keep`) follow at the end of each.
A run keeps the columns that it began with: its record names their version, a parameter of the functions here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

METADATA_KEY = b"vqa_ray"
_PASSTHROUGH = "kept:"

# The columns of new runs. Version 1, of runs whose record names no version, lacks `finish_reason`, `question_index`,
# `tag_scores` and, but for indexes, `image_uri`; it writes several questions of a row into one row of `results`.
COLUMNS_VERSION = 2

STATUS_OK, STATUS_ERROR, STATUS_GONE = "ok", "error", "gone"

SCORED_ANSWER = pa.struct([("answer", pa.string()), ("score", pa.float32())])
# Left, upper, right and lower edge of an object, in pixels of the upright source image.
BOX = pa.struct([("label", pa.string()), *((edge, pa.float32()) for edge in ("x0", "y0", "x1", "y1"))])
# Only in the outputs of models that can point at objects.
BOXES = pa.field("boxes", pa.list_(BOX))
# An earlier question of a conversation about the image, and its answer.
TURN = pa.struct([("question", pa.string()), ("answer", pa.string())])
QUESTION_SCORE = pa.struct([("question", pa.string()), ("answer", pa.string()), ("score", pa.float32())])
# How a generated text ended, `stop` or `length`; null where the answer was chosen from a vocabulary.
FINISH_REASON = pa.field("finish_reason", pa.string())
ANSWERED_QUESTION = pa.struct(
    [
        ("question", pa.string()),
        ("answer", pa.string()),
        ("answer_score", pa.float32()),
        ("answers", pa.list_(SCORED_ANSWER)),
        FINISH_REASON,
    ]
)
# The score of every choice, even below its threshold; null for a choice outside the model's vocabulary.
TAG_SCORES = pa.field(
    "tag_scores",
    pa.list_(pa.struct([("attribute", pa.string()), ("choice", pa.string()), ("score", pa.float32())])),
)

# The origin of a row: shard number << 32 | row number in the shard. It is unique in a run by construction, which Ray
# Data's checkpointing needs and a user's own ids do not guarantee.
SOURCE_KEY = pa.field("source_key", pa.int64(), nullable=False)
ROW_BITS = 32

# Where the image can be read again; null for a row that brought the bytes themselves.
IMAGE_URI = pa.field("image_uri", pa.string())
# The index of a question in its input row. Together with `source_key` it identifies an output row.
QUESTION_INDEX = pa.field("question_index", pa.int32(), nullable=False)
IDENTITY = (
    pa.field("row_id", pa.int64(), nullable=False),
    pa.field("image_id", pa.string()),
    pa.field("question_id", pa.string()),
)
STATUS = (
    pa.field("status", pa.string(), nullable=False),
    pa.field("error_code", pa.string()),
    pa.field("error_message", pa.string()),
)
# A non-fatal problem of an answered row, e.g. the question was truncated to the model's limit.
WARNING = pa.field("warning", pa.string())

EXTRA_IMAGE = pa.struct(
    [("image_key", pa.int64()), ("pixels", pa.large_binary()), ("height", pa.int32()), ("width", pa.int32())]
)

READ = pa.schema(
    [
        SOURCE_KEY,
        *IDENTITY,
        pa.field("questions", pa.list_(pa.string())),
        # The conversation before the questions, oldest turn first; null for none.
        pa.field("turns", pa.list_(TURN)),
        IMAGE_URI,
        pa.field("image", pa.large_binary()),
        # The row's further images, in order; null for a row with one image, as nearly all are.
        pa.field("extra_images", pa.list_(pa.struct([("image_uri", pa.string()), ("image", pa.large_binary())]))),
        *STATUS,
    ]
)
DECODED = pa.schema(
    [
        SOURCE_KEY,
        *IDENTITY,
        # A null is a question that a retry of the row's other questions does not ask.
        pa.field("questions", pa.list_(pa.string())),
        pa.field("turns", pa.list_(TURN)),
        IMAGE_URI,
        # Equal for rows of the same image, so that a model can share work between them.
        pa.field("image_key", pa.int64()),
        # uint8, height × width × 3, row-major RGB; null where status is `error`.
        pa.field("pixels", pa.large_binary()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        # The size of the upright source image.
        pa.field("source_height", pa.int32()),
        pa.field("source_width", pa.int32()),
        # The row's further images, in order, each with the columns above of the first.
        pa.field("extra_images", pa.list_(EXTRA_IMAGE)),
        *STATUS,
    ]
)
_TAIL = (*STATUS, WARNING, pa.field("attempt", pa.int32(), nullable=False), SOURCE_KEY)
ANSWER = pa.schema(
    [
        *IDENTITY,
        IMAGE_URI,
        pa.field("question", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("answer_score", pa.float32()),
        pa.field("answers", pa.list_(SCORED_ANSWER)),
        FINISH_REASON,
        *_TAIL,
        QUESTION_INDEX,
    ]
)
ANSWERS = pa.schema([*IDENTITY, IMAGE_URI, pa.field("results", pa.list_(ANSWERED_QUESTION)), *_TAIL])
RETRIEVE = pa.schema(
    [
        *IDENTITY[:2],
        IMAGE_URI,
        pa.field("match", pa.bool_()),
        # Null where a mismatch was certain before every question was asked.
        pa.field("score", pa.float32()),
        # Each question of the expression, in its order; `answer` is the wanted one, null for yes. A score is null where
        # the question was not asked because it could not change the outcome.
        pa.field("scores", pa.list_(QUESTION_SCORE)),
        *_TAIL,
    ]
)
CAPTION = pa.schema(
    [
        *IDENTITY[:2],
        IMAGE_URI,
        pa.field("caption", pa.string()),
        pa.field("caption_score", pa.float32()),
        FINISH_REASON,
        *_TAIL,
    ]
)
_NEW_COLUMNS = frozenset((IMAGE_URI.name, FINISH_REASON.name, QUESTION_INDEX.name, TAG_SCORES.name))


class Failure(Protocol):
    """The error of a row, such as `vqa_ray.errors.RowError`: an `ErrorCode` and one line for a person."""

    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str | None: ...


def error_cells(failure: Failure) -> dict[str, str | None]:
    """Return the cells of STATUS for a row in error, by column."""
    return {"status": STATUS_ERROR, "error_code": str(failure.code), "error_message": failure.message}


def mark_failed(table: pa.Table, failures: Mapping[int, Failure]) -> pa.Table:
    """Write errors into the STATUS columns of a table; all else stays as it is.

    Args:
        table: any form with the columns of STATUS.
        failures: row number → error.
    """
    if not failures:
        return table
    for field in STATUS:
        values = table[field.name].to_pylist()
        for row, failure in failures.items():
            values[row] = error_cells(failure)[field.name]
        index = table.schema.get_field_index(field.name)
        table = table.set_column(index, table.schema.field(index), pa.array(values, field.type))
    return table


def is_ok(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Tell which rows of a table are not in error: bool (N,)."""
    return np.asarray(pc.equal(table["status"], STATUS_OK), bool)


def ok_rows(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows that are not in error, ascending: int64 (M,)."""
    return np.flatnonzero(is_ok(table))


def of_version(form: pa.Schema, version: int = COLUMNS_VERSION) -> pa.Schema:
    """Return the columns of an output form, other than that of an index, in a version."""
    if version >= COLUMNS_VERSION:
        return form
    return pa.schema([_of_first_version(field) for field in form if field.name not in _NEW_COLUMNS])


def _of_first_version(field: pa.Field) -> pa.Field:
    if field.name != "results":
        return field
    parts = [part for part in field.type.value_type if part.name not in _NEW_COLUMNS]
    return pa.field(field.name, pa.list_(pa.struct(parts)))


def answer_schema(nested: bool, boxes: bool = False, version: int = COLUMNS_VERSION) -> pa.Schema:
    """Return the schema of an `answer` run.

    Args:
        nested: the questions of an input row share one row, in `results`; otherwise each has a row of its own.
        boxes: the model can point at objects; `boxes` follows each `answers`.
        version: of the columns.
    """
    form = ANSWERS if nested else ANSWER
    if boxes and nested:
        *scored, finish_reason = ANSWERED_QUESTION
        result = pa.field("results", pa.list_(pa.struct([*scored, BOXES, finish_reason])))
        form = form.set(form.get_field_index("results"), result)
    elif boxes:
        form = form.insert(form.get_field_index("answers") + 1, BOXES)
    return of_version(form, version)


def caption_schema(boxes: bool = False, version: int = COLUMNS_VERSION) -> pa.Schema:
    """Return the schema of a `caption` run; with `boxes` where the model can point at objects."""
    form = CAPTION.insert(CAPTION.get_field_index("caption_score") + 1, BOXES) if boxes else CAPTION
    return of_version(form, version)


def embedding_schema(vectors: int, dimension: int) -> pa.Schema:
    """Return the schema of an `index` run.

    Args:
        vectors: number per image, see `vqa_ray.models.protocols.Encoder`.
        dimension: of one vector.
    """
    return pa.schema(
        [
            *IDENTITY[:2],
            IMAGE_URI,
            # The image's unit vectors one after the other; null where status is `error`.
            pa.field("embedding", pa.list_(pa.float32(), vectors * dimension)),
            # The size of the upright source image.
            pa.field("height", pa.int32()),
            pa.field("width", pa.int32()),
            # Hex digest of the encoded bytes, also where they could not be decoded; null for a row without bytes.
            pa.field("sha256", pa.string()),
            # JPEG; null in an index without thumbnails.
            pa.field("thumbnail", pa.binary()),
            *_TAIL,
        ]
    )


def tag_schema(attributes: Iterable[tuple[str, bool]], version: int = COLUMNS_VERSION) -> pa.Schema:
    """Return the schema of a `tag` run.

    Args:
        attributes: (name, multi) of each taxonomy attribute; a multi attribute has a list of choices and of scores.
        version: of the columns.
    """
    fields = [*IDENTITY[:2], IMAGE_URI, pa.field("tags", pa.list_(pa.string())), TAG_SCORES]
    for name, multi in attributes:
        value, score = pa.string(), pa.float32()
        fields.append(pa.field(name, pa.list_(value) if multi else value))
        fields.append(pa.field(f"{name}_score", pa.list_(score) if multi else score))
    return of_version(pa.schema([*fields, *_TAIL]), version)


def passthrough_name(name: str) -> str:
    """Return the name of a kept column in READ and DECODED, which may have a column of the same name themselves."""
    return f"{_PASSTHROUGH}{name}" if name in (*READ.names, *DECODED.names) or name.startswith(_PASSTHROUGH) else name


def written_name(name: str) -> str:
    """Return the name of a kept column in the output, the inverse of `passthrough_name`."""
    return name.removeprefix(_PASSTHROUGH)


def with_kept(schema: pa.Schema, kept: Sequence[pa.Field]) -> pa.Schema:
    """Return `schema` followed by the user's kept columns."""
    return pa.schema([*schema, *kept])


def with_metadata(schema: pa.Schema, metadata: Mapping[str, object]) -> pa.Schema:
    """Return `schema` with `metadata` as JSON under the key `vqa_ray`."""
    return schema.with_metadata({METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()})


def metadata_of(schema: pa.Schema) -> dict[str, object]:
    """Return the metadata that `with_metadata` wrote; empty for none."""
    raw = (schema.metadata or {}).get(METADATA_KEY)
    return dict(json.loads(raw)) if raw else {}
