"""Column names and Arrow schemas: the one place where they are defined.

A row passes three forms. READ is what a reader yields (encoded bytes or a reference to them), DECODED is what the
CPU stages hand to the model actors (raw pixels), and an output form (ANSWER, ANSWERS or TAG) is what is written.
Kept columns of the user's (`--keep`) ride along at the end of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

METADATA_KEY = b"vqa_ray"

STATUS_OK = "ok"
STATUS_ERROR = "error"

SCORED_ANSWER = pa.struct([("answer", pa.string()), ("score", pa.float32())])
ANSWERED_QUESTION = pa.struct(
    [
        ("question", pa.string()),
        ("answer", pa.string()),
        ("answer_score", pa.float32()),
        ("answers", pa.list_(SCORED_ANSWER)),
    ]
)

# `source_key` is where a row was read: shard number << 32 | row number in the shard. It is unique in a run by
# construction, which Ray Data's checkpointing needs and a user's own ids do not promise.
SOURCE_KEY = pa.field("source_key", pa.int64(), nullable=False)
ROW_BITS = 32

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
# What the row lived through although it was answered: a question cut to the model's limit, for instance.
WARNING = pa.field("warning", pa.string())

READ = pa.schema(
    [
        SOURCE_KEY,
        *IDENTITY,
        pa.field("questions", pa.list_(pa.string())),
        pa.field("image_uri", pa.string()),
        pa.field("image", pa.large_binary()),
        *STATUS,
    ]
)
DECODED = pa.schema(
    [
        SOURCE_KEY,
        *IDENTITY,
        pa.field("questions", pa.list_(pa.string())),
        # Equal for rows of the same image, so that a model can share work between them.
        pa.field("image_key", pa.int64()),
        # uint8, height × width × 3, row-major RGB; null where status is `error`.
        pa.field("pixels", pa.large_binary()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        *STATUS,
    ]
)
_TAIL = (*STATUS, WARNING, pa.field("attempt", pa.int32(), nullable=False), SOURCE_KEY)
ANSWER = pa.schema(
    [
        *IDENTITY,
        pa.field("question", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("answer_score", pa.float32()),
        pa.field("answers", pa.list_(SCORED_ANSWER)),
        *_TAIL,
    ]
)
ANSWERS = pa.schema([*IDENTITY, pa.field("results", pa.list_(ANSWERED_QUESTION)), *_TAIL])


def tag_schema(attributes: Iterable[tuple[str, bool]]) -> pa.Schema:
    """The schema of a `tag` run.

    Args:
        attributes: (name, multi) of each taxonomy attribute; a multi attribute holds a list of choices and scores.
    """
    fields = [*IDENTITY[:2], pa.field("tags", pa.list_(pa.string()))]
    for name, multi in attributes:
        value, score = pa.string(), pa.float32()
        fields.append(pa.field(name, pa.list_(value) if multi else value))
        fields.append(pa.field(f"{name}_score", pa.list_(score) if multi else score))
    return pa.schema([*fields, *_TAIL])


def with_kept(schema: pa.Schema, kept: Sequence[pa.Field]) -> pa.Schema:
    """`schema` followed by the user's kept columns."""
    return pa.schema([*schema, *kept])


def with_metadata(schema: pa.Schema, metadata: Mapping[str, object]) -> pa.Schema:
    """`schema` with `metadata` as JSON under the key `vqa_ray`."""
    return schema.with_metadata({METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()})


def metadata_of(schema: pa.Schema) -> dict[str, object]:
    """The metadata that `with_metadata` put there; empty when there is none."""
    raw = (schema.metadata or {}).get(METADATA_KEY)
    return dict(json.loads(raw)) if raw else {}
