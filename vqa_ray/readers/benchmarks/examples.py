"""Records as examples: what a layout reads of them, and the rotations of CircularEval."""

from __future__ import annotations

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.benchmarks.fields import LETTERS, Record, lettered
from vqa_ray.readers.benchmarks.layout import Example, Layout
from vqa_ray.readers.benchmarks.layouts import ROTATION


def example_of(layout: Layout, record: Record) -> Example:
    """Return what a layout reads of a record, but for its images.

    Raises:
        RowError: a field is not of the kind that it must be.
    """
    given = [] if layout.choices is None else layout.choices(record)
    if len(given) > len(LETTERS):
        raise RowError(ErrorCode.ROW_MALFORMED, f"the question has {len(given)} choices; there are 26 letters")
    hint = None if layout.hint is None else layout.hint(record)
    return Example(
        question=layout.question(record),
        image_id=layout.image_id(record),
        hint=str(hint) if hint else None,
        choices={letter: str(text) for letter, text in zip(LETTERS, given, strict=False) if text is not None},
        truth={name: read(record) for name, read in layout.truth.items()},
    )


def rotations(record: Record) -> list[Record]:
    """Return the passes of CircularEval: in pass k every choice stands k letters later, and the index is k·10⁶ larger.

    Raises:
        RowError: the choices have a gap, or the record is a rotation already.
    """
    texts = lettered(*LETTERS)(record)
    letters, index, right = LETTERS[: len(texts)], str(record.get("index")), str(record.get("answer"))
    if not index.isdecimal() or int(index) >= ROTATION:
        reason = "is no number below 10⁶: --input-format mmbench reads rows that are rotations already"
        raise RowError(ErrorCode.ROW_MALFORMED, f"index {index} {reason}")
    if None in texts:
        missing = letters[texts.index(None)]
        raise RowError(ErrorCode.ROW_MALFORMED, f"index {index} has choices up to {letters[-1]}, but no {missing}")
    count = len(texts)
    return [
        {
            **record,
            **dict(zip(letters, texts[count - k :] + texts[: count - k], strict=True)),
            "index": str(int(index) + k * ROTATION),
            "answer": letters[(letters.index(right) + k) % count] if right in letters else record.get("answer"),
        }
        for k in range(max(count, 1))
    ]
