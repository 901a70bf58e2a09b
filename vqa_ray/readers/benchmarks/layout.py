"""The layout of a published benchmark: which fields of a record are its question, images, choices and truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from vqa_ray.readers.benchmarks.fields import Read, Record, first, listed
from vqa_ray.readers.benchmarks.prompts import BARE, Prompt

_QUESTION, _QUESTION_ID, _IMAGE = first("question"), first("question_id"), listed("image")
TEXTS = pa.list_(pa.string())
# The columns of truth that are not text.
TRUTH_TYPES: Mapping[str, pa.DataType] = {
    "annotator_answers": TEXTS,
    "choices": TEXTS,
    "precision": pa.float64(),
    "answerable": pa.int64(),
}


@dataclass(frozen=True, slots=True)
class Signature:
    """The marks by which a layout is recognised without being named.

    Attributes:
        columns: those that a record has.
        are_all: whether a record has no others.
        test: what must hold of the first record beside; it reads columns of `columns` alone.
    """

    columns: frozenset[str]
    are_all: bool = False
    test: Callable[[Record], bool] | None = None

    def fits(self, names: frozenset[str]) -> bool:
        """Check the names of the columns of a record."""
        return self.columns == names if self.are_all else self.columns <= names


@dataclass(frozen=True, slots=True)
class Layout:
    """One benchmark.

    Attributes:
        title: for messages.
        signatures: one for each form in which it is published; none where others could be mistaken for it.
        question, question_id, image_id, hint: fields of a record; an id of None becomes the file and the number.
        images: bytes, structs, base64 or references.
        image_columns: the columns that hold `images`, which are not read where images are not wanted.
        folders: directories in which references are looked for, beside that of the file; each ends in a slash.
        choices: the texts of the options by letter, None for a missing one; none for open questions.
        truth: our column → field.
        prompt: how question, hint and choices become one text.
        rows_at: the member of a JSON document that holds the records; empty for the whole document.
        reads_together: whether several files are parts of one benchmark, not splits of it.
        repeats_ids: whether such files repeat ids, which then have the split before them (POPE).
        rotates: whether each record becomes as many as it has choices (CircularEval); they stand in columns A, B, ….
    """

    title: str
    signatures: tuple[Signature, ...]
    truth: Mapping[str, Read]
    image_id: Read
    question: Read = _QUESTION
    question_id: Read = _QUESTION_ID
    images: Read = _IMAGE
    prompt: Prompt = BARE
    image_columns: tuple[str, ...] = ("image",)
    hint: Read | None = None
    choices: Read | None = None
    folders: tuple[str, ...] = ()
    rows_at: str = ""
    reads_together: bool = False
    repeats_ids: bool = False
    rotates: bool = False

    def fields(self) -> dict[str, pa.DataType]:
        """Return the columns of truth with their types."""
        return {name: TRUTH_TYPES.get(name, pa.string()) for name in self.truth}


@dataclass(frozen=True, slots=True)
class Example:
    """One question of a benchmark.

    Attributes:
        question, hint: as published.
        image_id: None for none.
        choices: their texts by letter, without those that are missing.
        truth: our column → value.
    """

    question: object
    image_id: object
    hint: str | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, object] = field(default_factory=dict)
