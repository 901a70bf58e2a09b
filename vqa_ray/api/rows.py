"""Columns of a user's batch → READ tables, by the rules of the input readers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from vqa_ray.api.images import image_cell
from vqa_ray.errors import RequestError, RowError
from vqa_ray.readers.columns import resolve
from vqa_ray.readers.row_builder import Row, RowBuilder
from vqa_ray.readers.row_tables import tables
from vqa_ray.readers.source import ColumnMap, InputConfig, Shard, Source

# References that stand in a column of images; named as messages name it.
_REFERENCES = "image reference"
_OPTION = re.compile(r"--([a-z][a-z-]*)(?: (\w+)=(\w+))?")

Columns = Mapping[str, Sequence[object]]


class RowReader:
    """Makes READ rows of batches that have the same columns.

    Args:
        names: the columns of the batches.
        columns: our column → the batch's own name for it, where they differ.
        questions: the questions to ask of every image, instead of the batch's own.
        needs_question: ask questions; False for tasks that need none.
        image_root: the directory or prefix, absolute, that image references are relative to and must stay below.
        directory: where relative references lead without an image root; None for the working directory.
        reads_several: whether rows may bring several images each, in a column `images`.

    Raises:
        RequestError: a column is missing or there twice; the message says which ones there are.
    """

    def __init__(
        self,
        names: Sequence[str],
        columns: Mapping[str, str] | None = None,
        questions: Sequence[str] = (),
        *,
        needs_question: bool = True,
        image_root: str | None = None,
        directory: str | None = None,
        reads_several: bool = False,
    ) -> None:
        config = InputConfig(
            uri="the batch",
            columns=columns or {},
            questions=tuple(questions),
            needs_question=needs_question,
            image_root=image_root,
            reads_context="context" in (columns or {}),
            reads_several=reads_several,
        )
        try:
            self.layout = resolve(config, names, config.uri)
        except RequestError as error:
            raise RequestError(in_python(str(error))) from error
        # Columns of images may hold references as well.
        layout = replace(self.layout, image_uri=(*self.layout.image_uri, *(_REFERENCES,) * bool(self.layout.image)))
        self._source = _source(config, layout)
        self._builder = RowBuilder(self._source, f"{directory or Path.cwd()}/batch")

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that are read."""
        return self.layout.names()

    @property
    def has_several_questions(self) -> bool:
        """True where a row may bring several questions."""
        return bool(self.layout.questions) or len(self._source.config.questions) > 1

    def read(self, columns: Columns, count: int) -> Iterator[pa.Table]:
        """Yield the rows of a batch as READ tables, whose `source_key` is the number of the row.

        Args:
            columns: `needed` ones, by name; None stands for null.
            count: of the rows.
        """
        rows = (
            (number, self._row({name: values[number] for name, values in columns.items()})) for number in range(count)
        )
        yield from tables(rows, self._source, Shard(0, "batch"), _always)

    def _row(self, values: Mapping[str, object]) -> Row:
        cells, failure = dict(values), None
        for name in self.layout.image:
            try:
                cell = image_cell(cells[name])
            except RowError as error:
                cell, failure = None, error
            is_reference = isinstance(cell, str)
            cells[name] = None if is_reference else cell
            if is_reference:
                cells[_REFERENCES] = cell
        row = self._builder.row(cells)
        if failure is not None:
            row.error = failure
        return row


def in_python(message: str) -> str:
    """Replace the options of the command in a message by the arguments of the Python API."""

    def argument(option: re.Match[str]) -> str:
        if option[1] == "column":
            return f"columns={{{option[2]!r}: {option[3]!r}}}"
        return "questions=[…]" if option[1] == "question" else option[1].replace("-", "_")

    return _OPTION.sub(argument, message).replace("questions=[…] TEXT", "questions=[…]")


def _source(config: InputConfig, layout: ColumnMap) -> Source:
    return Source(config, "parquet", "", (), (), layout, total_rows=None, fingerprint="", multi_question=False)


def _always(number: int) -> bool:
    return True
