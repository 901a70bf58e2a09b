"""Arrow schemas of training rows, beside those of `vqa_ray.schema`."""

from __future__ import annotations

import pyarrow as pa

from vqa_ray.schema import SOURCE_KEY, STATUS

# The columns of a training row beside READ and DECODED; they pass through the decoding stage like kept columns.
TRAINING_FIELDS = (
    # The optimiser step whose global batch the row belongs to, counted over the whole training; 0 in evaluation.
    pa.field("step", pa.int32(), nullable=False),
    # The soft targets: indices into the answer vocabulary, and a weight in 0-1 for each. Empty in evaluation where no
    # answer of the row is in the vocabulary.
    pa.field("label_ids", pa.list_(pa.int32()), nullable=False),
    pa.field("label_weights", pa.list_(pa.float32()), nullable=False),
    # The class of each auxiliary column, in the order of the request; -1 where the row has none. Empty without
    # auxiliary columns.
    pa.field("auxiliary", pa.list_(pa.int32()), nullable=False),
)
# The labels of a row, gathered before any image is decoded.
LABELS = pa.schema(
    [
        SOURCE_KEY,
        # Equal for rows of the same image.
        pa.field("image_key", pa.int64()),
        pa.field("question", pa.string()),
        # The annotators' answers; where `weights` is not null, distinct right answers, each with its weight.
        pa.field("answers", pa.list_(pa.string())),
        pa.field("weights", pa.list_(pa.float64())),
        pa.field("answer_type", pa.string()),
        # The text of each auxiliary column, in the order of the request.
        pa.field("auxiliary", pa.list_(pa.string())),
        *STATUS,
    ]
)
