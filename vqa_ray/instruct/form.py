"""The columns of an `instruct` run: a row for each image and task."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.conversation.conversation import CONVERSATION

AGREEMENT = pa.field("agreement", pa.float32())
"""P(yes) of a second model for the question whether the answers are right."""

# The encoded image of a row that names none, so that the output can be trained on.
_IMAGE = pa.field("image", pa.large_binary())
# The columns that differ between the tasks of an image.
_OF_TASK = (
    pa.field("task", pa.string()),
    # The phrasing in the prompts file, `TASK/NUMBER`, and its text with that of the row.
    pa.field("prompt_id", pa.string()),
    pa.field("prompt", pa.string()),
    # As the teacher wrote it, also where nothing came of it.
    pa.field("reply", pa.string()),
    # Null for a row in error.
    pa.field("conversation", CONVERSATION.type),
    schema.FINISH_REASON,
)
# The same for all rows of a run.
_OF_RUN = (
    pa.field("teacher", pa.string()),
    pa.field("teacher_fingerprint", pa.string()),
    pa.field("seed", pa.int64()),
)
_TAIL = tuple(schema.ANSWER)[schema.ANSWER.get_field_index("status") :]


def instruct_schema(*, agreement: bool) -> pa.Schema:
    """Return the schema of an `instruct` run.

    Args:
        agreement: a second model is asked whether the answers are right.
    """
    more = (AGREEMENT,) if agreement else ()
    return pa.schema([*schema.IDENTITY, schema.IMAGE_URI, _IMAGE, *_OF_TASK, *more, *_OF_RUN, *_TAIL])
