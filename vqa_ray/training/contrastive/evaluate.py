"""What a written dual encoder makes of validation rows that were embedded with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.models.checkpoint.weights import load_text_tokenizer
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import Encoder
from vqa_ray.training.config import CONTRASTIVE
from vqa_ray.training.contrastive.batch import text_keys
from vqa_ray.training.contrastive.validate import DIRECTIONS, PAIR_RESULTS, PairValidation, pair_results
from vqa_ray.training.data.captions import NO_CAPTION
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.step_feed import SkippedRow
from vqa_ray.training.start import describe_start
from vqa_ray.training.tokenizer import question_tokenizer
from vqa_ray.training.validation import ValidationMetrics, failed_rows

_TEXTS_AT_ONCE = 256

# One row per validation row: its captions, and how many wrong images each finds before the first right one; how many
# wrong captions its image finds before. Null where status is `error`.
PAIR_RANKS = pa.schema(
    [
        *schema.IDENTITY[:2],
        pa.field("captions", pa.list_(pa.string())),
        pa.field("text_to_image_ranks", pa.list_(pa.int64())),
        pa.field("image_to_text_rank", pa.int64()),
        *schema.STATUS,
        schema.SOURCE_KEY,
    ]
)


@dataclass(frozen=True, slots=True)
class PairEvaluation:
    """The metrics of a written model, and PAIR_RANKS rows."""

    metrics: ValidationMetrics
    rows: pa.Table


def evaluate_embedded(embedded: pa.Table, rows: LabelledRows, options: ModelOptions, loss: float) -> PairEvaluation:
    """Encode the captions of validation rows, and tell how well captions and images find each other.

    Args:
        embedded: a row of `schema.embedding_schema` for each of them, in any order.
        rows: what was validated on.
        options: the model that they were embedded with.
        loss: of the validation, which is taken over.

    Raises:
        RunError: a row is missing, came twice or is none of `rows`; none could be measured.
    """
    embedded = embedded.take(np.argsort(embedded["source_key"].to_numpy()))
    tokenize = _tokenizer(options.reference)
    validation = PairValidation.of(_results(embedded, rows, options.load_encoder(), tokenize), rows)
    return PairEvaluation(validation.metrics(loss), _rows(embedded, rows, validation))


def _tokenizer(reference: str) -> Callable[[str], tuple[int, ...]]:
    info = describe_start(reference, CONTRASTIVE)
    return question_tokenizer(load_text_tokenizer(info.path), info.max_text_tokens)


def _results(
    embedded: pa.Table, rows: LabelledRows, encoder: Encoder, tokenize: Callable[[str], tuple[int, ...]]
) -> pa.Table:
    """PAIR_RESULTS, in order of key."""
    failures = {
        key: SkippedRow(key, code, message)
        for key, status, code, message in zip(
            *(embedded[name].to_pylist() for name in ("source_key", "status", "error_code", "error_message")),
            strict=True,
        )
        if status != schema.STATUS_OK
    }
    has_caption = rows.answers.value_lengths().to_numpy(zero_copy_only=False) > 0
    for key in rows.keys[~has_caption].tolist():
        failures.setdefault(key, SkippedRow(key, NO_CAPTION, "the row has no caption"))
    usable = ~np.isin(rows.keys, list(failures))
    chosen = embedded.filter(pa.array(np.isin(embedded["source_key"].to_numpy(), rows.keys[usable])))
    captions = rows.answers.filter(pa.array(usable))
    texts = captions.flatten().to_pylist()
    vectors = [encoder.encode_texts(texts[at : at + _TEXTS_AT_ONCE]) for at in range(0, len(texts), _TEXTS_AT_ONCE)]
    offsets = np.concatenate([[0], np.cumsum(captions.value_lengths().to_numpy(zero_copy_only=False))]).astype(np.int64)
    failed = failed_rows(list(failures.values()), PAIR_RESULTS)
    if not vectors:
        return failed
    images = np.stack(chosen["embedding"].to_numpy(zero_copy_only=False)) if chosen.num_rows else np.empty((0, 1))
    keys = [int(text[:16], 16) - 2**63 for text in chosen["sha256"].to_pylist()]
    found = pair_results(
        pa.table({"source_key": chosen["source_key"], "image_key": pa.array(keys, pa.int64())}),
        images.astype(np.float32),
        offsets,
        text_keys([tokenize(text) for text in texts]),
        np.concatenate(vectors),
    )
    return pa.concat_tables([found, failed])


def _rows(embedded: pa.Table, rows: LabelledRows, validation: PairValidation) -> pa.Table:
    """PAIR_RANKS rows of all, in order of key."""
    of_text, of_image = (validation.ranks[way] for way in DIRECTIONS)
    text_ranks, image_ranks = of_text[validation.pairs.text_of], of_image[validation.pairs.image_of]
    ends = np.cumsum(np.bincount(validation.pairs.text_row, minlength=validation.rows))
    by_row = iter(zip(np.split(text_ranks, ends[:-1]), image_ranks.tolist(), strict=True))
    found = [next(by_row) if encoded else (None, None) for encoded in validation.encoded]
    columns = {
        "row_id": embedded["row_id"],
        "image_id": embedded["image_id"],
        "captions": rows.answers,
        "text_to_image_ranks": [None if texts is None else texts.tolist() for texts, _ in found],
        "image_to_text_rank": [image for _, image in found],
        **{part.name: embedded[part.name] for part in schema.STATUS},
        "source_key": embedded["source_key"],
    }
    failures = {
        row: SkippedRow(rows.keys[row], NO_CAPTION, "the row has no caption")
        for row in np.flatnonzero(schema.is_ok(embedded) & ~validation.encoded).tolist()
    }
    table = pa.table({part.name: columns[part.name] for part in PAIR_RANKS}, schema=PAIR_RANKS)
    return schema.mark_failed(table, failures)
