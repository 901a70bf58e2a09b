"""Column names and Arrow schemas: the one place where they are defined.

A row passes three forms. READ is what a reader yields (encoded bytes or a reference to them), DECODED is what the
CPU stages hand to the model actors (raw pixels), and an output form (ANSWER, ANSWERS, TAG, CAPTION, RETRIEVE or that of
`embedding_schema`) is what is written.
Kept columns of the user's (`--keep`) ride along at the end of each.

A run keeps the columns it began with: its record names their version, and the functions that give the forms take it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

METADATA_KEY = b"vqa_ray"
_RIDING = "kept:"

# The columns of new runs. Version 1, that of runs whose record names none, has no `image_uri` but in indexes, no
# `finish_reason`, `question_index` and `tag_scores`, and several questions of a row in one row of `results`.
COLUMNS_VERSION = 2

STATUS_OK = "ok"
STATUS_ERROR = "error"

SCORED_ANSWER = pa.struct([("answer", pa.string()), ("score", pa.float32())])
# Where something is: left, upper, right and lower edge in pixels of the source image, turned upright.
BOX = pa.struct([("label", pa.string()), *((edge, pa.float32()) for edge in ("x0", "y0", "x1", "y1"))])
# Only in the outputs of models that can point at things.
BOXES = pa.field("boxes", pa.list_(BOX))
# An earlier question of a conversation about the image, and its answer.
TURN = pa.struct([("question", pa.string()), ("answer", pa.string())])
QUESTION_SCORE = pa.struct([("question", pa.string()), ("answer", pa.string()), ("score", pa.float32())])
# How a free text ended, `stop` or `length`; null where the answer was chosen from a vocabulary.
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
# The score of every choice of an image, also of those below their threshold; null where the model cannot say it.
TAG_SCORES = pa.field(
    "tag_scores",
    pa.list_(pa.struct([("attribute", pa.string()), ("choice", pa.string()), ("score", pa.float32())])),
)

# `source_key` is where a row was read: shard number << 32 | row number in the shard. It is unique in a run by
# construction, which Ray Data's checkpointing needs and a user's own ids do not promise.
SOURCE_KEY = pa.field("source_key", pa.int64(), nullable=False)
ROW_BITS = 32

# Where the image can be read again; null where a row brought nothing but its bytes.
IMAGE_URI = pa.field("image_uri", pa.string())
# The place of a question among those of its row, from 0. With `source_key` it tells the rows of an output apart.
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
# What the row lived through although it was answered: a question cut to the model's limit, for instance.
WARNING = pa.field("warning", pa.string())

EXTRA_IMAGE = pa.struct(
    [("image_key", pa.int64()), ("pixels", pa.large_binary()), ("height", pa.int32()), ("width", pa.int32())]
)

READ = pa.schema(
    [
        SOURCE_KEY,
        *IDENTITY,
        pa.field("questions", pa.list_(pa.string())),
        # What was said before the questions, oldest first; null for nothing.
        pa.field("turns", pa.list_(TURN)),
        IMAGE_URI,
        pa.field("image", pa.large_binary()),
        # Further images of the row, in order; null where it brings one, as nearly all do.
        pa.field("extra_images", pa.list_(pa.struct([("image_uri", pa.string()), ("image", pa.large_binary())]))),
        *STATUS,
    ]
)
DECODED = pa.schema(
    [
        SOURCE_KEY,
        *IDENTITY,
        # A null is a question that is not asked now, in a retry of others of its row.
        pa.field("questions", pa.list_(pa.string())),
        pa.field("turns", pa.list_(TURN)),
        IMAGE_URI,
        # Equal for rows of the same image, so that a model can share work between them.
        pa.field("image_key", pa.int64()),
        # uint8, height × width × 3, row-major RGB; null where status is `error`.
        pa.field("pixels", pa.large_binary()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        # The image as it was brought, turned upright.
        pa.field("source_height", pa.int32()),
        pa.field("source_width", pa.int32()),
        # Further images of the row, in order, each with what the columns above hold of the first.
        pa.field("extra_images", pa.list_(EXTRA_IMAGE)),
        *STATUS,
    ]
)
# What a training row brings beside READ and DECODED; the fields ride as kept columns through the decoding stage.
TRAINING_FIELDS = (
    # The optimiser step whose global batch the row belongs to, counted over the whole training; 0 in evaluation.
    pa.field("step", pa.int32(), nullable=False),
    # The soft targets: places in the answer vocabulary, and for each a weight in 0-1. Empty in evaluation where no
    # answer of the row is in the vocabulary.
    pa.field("label_ids", pa.list_(pa.int32()), nullable=False),
    pa.field("label_weights", pa.list_(pa.float32()), nullable=False),
    # The class of each auxiliary column, in the order asked for; -1 where the row has none. Empty when none is asked.
    pa.field("auxiliary", pa.list_(pa.int32()), nullable=False),
)
# What training learns of a row before any image is decoded.
INDEX = pa.schema(
    [
        SOURCE_KEY,
        # Equal for rows of the same image.
        pa.field("image_key", pa.int64()),
        pa.field("question", pa.string()),
        # What the annotators said; where `weights` is not null, distinct answers that are right by so much.
        pa.field("answers", pa.list_(pa.string())),
        pa.field("weights", pa.list_(pa.float64())),
        pa.field("answer_type", pa.string()),
        # The text of each auxiliary column, in the order asked for.
        pa.field("auxiliary", pa.list_(pa.string())),
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
        # Null where no match was certain before every question was asked.
        pa.field("score", pa.float32()),
        # Each question of the expression in its order; `answer` is the one looked for, null for yes. A score is null
        # where the question could not change the outcome and was not asked.
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


def of_version(form: pa.Schema, version: int = COLUMNS_VERSION) -> pa.Schema:
    """Return the columns that `form`, one of the output forms but that of an index, had in a version."""
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
        nested: whether the questions of an input row stand in one row, in `results`; else each has a row of its own.
        boxes: whether the model can point at things; then `boxes` follows each `answers`.
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
    """Return the schema of a `caption` run; `boxes` where the model can point at things."""
    form = CAPTION.insert(CAPTION.get_field_index("caption_score") + 1, BOXES) if boxes else CAPTION
    return of_version(form, version)


def embedding_schema(vectors: int, dimension: int) -> pa.Schema:
    """Return the schema of an `index` run.

    Args:
        vectors: of an image, see `vqa_ray.models.protocols.Encoder`.
        dimension: of one vector.
    """
    return pa.schema(
        [
            *IDENTITY[:2],
            IMAGE_URI,
            # The vectors of the image one after the other, each of length 1; null where status is `error`.
            pa.field("embedding", pa.list_(pa.float32(), vectors * dimension)),
            # Pixels of the image as it was brought, turned upright.
            pa.field("height", pa.int32()),
            pa.field("width", pa.int32()),
            # Hex, of the encoded bytes; there whenever there were bytes, also where they could not be decoded.
            pa.field("sha256", pa.string()),
            # JPEG; null where it is not wanted.
            pa.field("thumbnail", pa.binary()),
            *_TAIL,
        ]
    )


def tag_schema(attributes: Iterable[tuple[str, bool]], version: int = COLUMNS_VERSION) -> pa.Schema:
    """Return the schema of a `tag` run.

    Args:
        attributes: (name, multi) of each taxonomy attribute; a multi attribute holds a list of choices and scores.
        version: of the columns.
    """
    fields = [*IDENTITY[:2], IMAGE_URI, pa.field("tags", pa.list_(pa.string())), TAG_SCORES]
    for name, multi in attributes:
        value, score = pa.string(), pa.float32()
        fields.append(pa.field(name, pa.list_(value) if multi else value))
        fields.append(pa.field(f"{name}_score", pa.list_(score) if multi else score))
    return of_version(pa.schema([*fields, *_TAIL]), version)


def riding_name(name: str) -> str:
    """Return the name of a kept column on its way through READ and DECODED, which may have a column of that name."""
    return f"{_RIDING}{name}" if name in READ.names or name in DECODED.names else name


def written_name(name: str) -> str:
    """Return the name of a kept column in the output: `riding_name` undone."""
    return name.removeprefix(_RIDING)


def with_kept(schema: pa.Schema, kept: Sequence[pa.Field]) -> pa.Schema:
    """Return `schema` followed by the user's kept columns."""
    return pa.schema([*schema, *kept])


def with_metadata(schema: pa.Schema, metadata: Mapping[str, object]) -> pa.Schema:
    """Return `schema` with `metadata` as JSON under the key `vqa_ray`."""
    return schema.with_metadata({METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()})


def metadata_of(schema: pa.Schema) -> dict[str, object]:
    """Return the metadata that `with_metadata` put there; empty when there is none."""
    raw = (schema.metadata or {}).get(METADATA_KEY)
    return dict(json.loads(raw)) if raw else {}
