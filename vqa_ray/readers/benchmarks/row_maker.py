"""Records of benchmarks as rows: the wording of the question, the images where they are, the truth as columns."""

from __future__ import annotations

import posixpath
import re

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.benchmarks.documents import Found
from vqa_ray.readers.benchmarks.examples import example_of
from vqa_ray.readers.benchmarks.fields import Record
from vqa_ray.readers.benchmarks.layout import Layout
from vqa_ray.readers.benchmarks.prompts import own_prompt
from vqa_ray.readers.image_refs import resolve_uri
from vqa_ray.readers.passthrough import keep_json
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.source import Source

# What is no path relative to a directory.
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*://|data:|/", re.IGNORECASE)


class RowMaker:
    """Makes rows of records.

    Args:
        source: what is read.
        layout: of the records.
        uri: the file that relative references start from.
        place: the texts before and behind a reference, see `vqa_ray.readers.benchmarks.places`.
        by_split: whether ids need their split before them, because several files are read together.
    """

    def __init__(self, source: Source, layout: Layout, uri: str, place: tuple[str, str], *, by_split: bool) -> None:
        self._layout, self._config, self._by_split = layout, source.config, by_split
        images = resolve_uri(place[0], posixpath.dirname(uri)) if place[0] else None
        self._builder, self._name = RowBuilder(source, uri, images), uri.rpartition("/")[2]
        self._fields, self._own = source.passthrough_columns(), source.config.columns.get("question")
        self._before, self._behind = place
        template = source.config.question_template
        self._prompt = layout.prompt if template is None else own_prompt(template)

    def row(self, found: Found) -> Row:
        """Return the row of a record, an error row where it cannot be read."""
        if found.record is None:
            return self._builder.malformed(f"{self._name}: {found.problem}", found.line)
        try:
            return self._row(found.record, found.line)
        except RowError as error:
            row = self._builder.failed(error, found.line)
            row.question_id = self._question_id(found.record)
            return row

    def _row(self, record: Record, line: bytes) -> Row:
        example = example_of(self._layout, record)
        question = record.get(self._own) if self._own else example.question
        if isinstance(question, str) and question.strip() and not self._own:
            question = self._prompt.text(question.strip(), example.choices, example.hint)
        images, error = self._images(record)
        values = {
            "question": question,
            "images": images,
            "image_id": example.image_id,
            "question_id": self._question_id(record),
        }
        row = self._builder.row(values, keep_json({**record, **example.truth}, self._fields), line=line)
        row.error = error or row.error
        return row

    def _images(self, record: Record) -> tuple[list[object], RowError | None]:
        """Return the images of a record as rows bring them, and why the row has none."""
        if not self._config.reads_images:
            return [None], None
        try:
            images = [self._placed(image) for image in self._layout.images(record)]
        except RowError as error:
            return [None], error
        if len(images) > 1 and not self._config.reads_several:
            reason = f"the question has {len(images)} images; the model takes one"
            return [None], RowError(ErrorCode.ROW_MALFORMED, reason)
        return images, None

    def _question_id(self, record: Record) -> str | None:
        """Return the id of a question; where several files are read, with the split before an id of one of them."""
        value = self._layout.question_id(record)
        split = self._layout.truth["split"](record) if self._by_split else None
        return None if value is None else f"{split}/{value}" if split else str(value)

    def _placed(self, image: object) -> object:
        """Return an image as rows bring it: a reference with what goes before and behind it."""
        if isinstance(image, str | int) and not _ABSOLUTE.match(str(image)):
            return f"{self._before}{image}{self._behind}"
        return image
