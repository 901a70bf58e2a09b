"""What a catalogue says of its products: rows of truth, of questions with their answers, and captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from vqa_ray.catalog.captions import captions_for
from vqa_ray.catalog.product import Product
from vqa_ray.catalog.questions import KINDS, ask

TRUTH = (
    pa.field("category", pa.string()),
    pa.field("colour", pa.string()),
    pa.field("pattern", pa.string()),
    pa.field("motif", pa.string()),
)
PRODUCT_COLUMNS = (pa.field("row_id", pa.int64(), nullable=False), pa.field("image_id", pa.string()))
QUESTION_COLUMNS = (
    pa.field("question_id", pa.string()),
    pa.field("question", pa.string()),
    pa.field("answer", pa.string()),
    # The same answer in the form the evaluation of VQA reads: a list, one entry per annotator.
    pa.field("annotator_answers", pa.list_(pa.string())),
    pa.field("kind", pa.string()),
)


def row_fields(questions: int, captions: int = 0) -> tuple[pa.Field, ...]:
    """Return the columns of `rows_of`, without the image."""
    said = (pa.field("caption", pa.string() if captions == 1 else pa.list_(pa.string())),) if captions else ()
    return (*PRODUCT_COLUMNS, *(QUESTION_COLUMNS if questions else ()), *said, *TRUTH)


def rows_of(product: Product, questions: int, captions: int = 0) -> list[dict[str, Any]]:
    """Return the rows about one product: one with the truth, or one for each question.

    With captions, each row has all of them: a string for one, otherwise a list. The kinds of question take turns in an
    order that differs by product, so that fewer than `len(KINDS)` questions per product still ask every kind equally
    often over a catalogue.
    """
    truth: dict[str, Any] = {field.name: getattr(product, field.name) for field in TRUTH}
    if captions:
        texts = captions_for(product, captions)
        truth = {"caption": texts[0] if captions == 1 else texts, **truth}
    if not questions:
        return [{"row_id": product.index, "image_id": product.image_id, **truth}]
    # The last number separates these draws from those of `sample_product`.
    rng = np.random.default_rng([product.seed, product.index, 1])
    order = rng.permutation(len(KINDS))
    rows = []
    for number in range(questions):
        asked = ask(product, KINDS[order[number % len(KINDS)]], rng)
        row = {
            "row_id": product.index * questions + number,
            "image_id": product.image_id,
            "question_id": f"{product.image_id}-q{number}",
            "question": asked.question,
            "answer": asked.answer,
            "annotator_answers": [asked.answer],
            "kind": asked.kind,
        }
        rows.append({**row, **truth})
    return rows
