"""From what a format read, by the user's column names, to rows of the READ schema: identity, questions, errors."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeVar

from vqa_ray.errors import ErrorCode, RowError, one_line
from vqa_ray.readers.base import Source
from vqa_ray.readers.kept import Kept
from vqa_ray.readers.values import as_id, as_int64, as_reference, as_text, as_text_list, as_turns, mismatch

T = TypeVar("T")
_NO_QUESTIONS: list[str] = []
_NO_TURNS: list[tuple[str, str]] = []


@dataclass(slots=True)
class Row:
    """One row of the READ schema, but for its `source_key`; `kept` in the order of the kept fields."""

    row_id: int
    image_id: str | None = None
    question_id: str | None = None
    questions: list[str] = field(default_factory=list)
    turns: list[tuple[str, str]] = field(default_factory=list)
    image_uri: str | None = None
    image: bytes | None = None
    error: RowError | None = None
    kept: Sequence[object] = ()

    def size_bytes(self) -> int:
        """What it adds to a table, about."""
        said = sum(len(question) + len(answer) for question, answer in self.turns)
        return len(self.image or b"") + sum(map(len, self.questions)) + said + 256


@dataclass(slots=True)
class _Image:
    data: bytes | None = None
    uri: str | None = None
    # What the image is called where it was named; never a place that changes when the input is copied elsewhere.
    reference: str | None = None

    def identity(self) -> tuple[bytes, ...]:
        if self.uri is not None and self.reference is not None:
            return b"uri", self.reference.encode()
        return (b"bytes", self.data) if self.data is not None else (b"none",)


class RowMaker:
    """Makes the rows of one source.

    Args:
        source: its layout, kept fields and questions are used.
        uri: the file the rows are in: relative image references are told from its directory.
    """

    def __init__(self, source: Source, uri: str) -> None:
        self._layout = source.layout
        self._fixed = [question.strip() for question in source.config.questions]
        self._asks = source.config.needs_question
        self._reads_images = source.config.reads_images
        self._fields = source.kept
        self._directory = posixpath.dirname(uri)
        root = source.root.rstrip("/") + "/"
        self._name = uri.removeprefix(root)
        self._from_root = posixpath.dirname(self._name) if uri.startswith(root) else ""

    def row(
        self,
        values: Mapping[str, object],
        kept: Kept = (),
        *,
        image: tuple[bytes, str] | None = None,
        uri: tuple[str, str] | None = None,
        line: bytes | None = None,
        where: str = "",
    ) -> Row:
        """One row.

        Args:
            values: by the user's column names; absent and None are the same.
            kept: the values of the kept fields, an error in place of one that does not fit.
            image: (encoded bytes, name) where the image does not come from a column.
            uri: (URI, name) where the image's place does not come from a column.
            line: the bytes that the row was read from; a malformed row is known by their hash.
            where: the file and line, for messages.
        """
        errors: list[RowError] = []
        found = self._image(values, image, uri, errors)
        questions = _tried(lambda: self._questions(values), _NO_QUESTIONS, errors)
        turns = _tried(lambda: as_turns(*self._value("context", values)), _NO_TURNS, errors)
        given_id = _tried(lambda: as_id(*self._value("image_id", values)), None, errors)
        question_id = _tried(lambda: as_id(*self._value("question_id", values)), None, errors)
        row_id = _tried(lambda: as_int64(*self._value("row_id", values)), None, errors)
        errors += [value for value in kept if isinstance(value, RowError)]
        error = next((e for e in errors if e.code == ErrorCode.ROW_MALFORMED), errors[0] if errors else None)
        own_id = given_id or found.reference
        if own_id is None and found.data is not None:
            own_id = f"{identity(*found.identity()) & (2**64 - 1):016x}"
        if row_id is None:
            said = [text for turn in turns for text in turn]
            row_id = self._row_id(found, [*said, *questions], (given_id, question_id), error, line)
        return Row(
            row_id=row_id,
            image_id=own_id,
            question_id=question_id,
            questions=questions,
            turns=turns,
            image_uri=found.uri,
            image=None if error else found.data,
            error=RowError(error.code, f"{where}: {error.message}") if error and where else error,
            kept=[None if isinstance(value, RowError) else value for value in kept],
        )

    def failed(self, error: RowError, line: bytes, image_id: str | None = None) -> Row:
        """A row of which nothing but the error is known; its id is the hash of the bytes it was read from."""
        kept = [None] * len(self._fields)
        return Row(row_id=identity(b"line", line), image_id=image_id, error=error, kept=kept)

    def malformed(self, message: str, line: bytes, image_id: str | None = None) -> Row:
        """As `failed`, for a row that cannot be made out."""
        return self.failed(RowError(ErrorCode.ROW_MALFORMED, message), line, image_id)

    def damaged(self, number: int, error: Exception) -> Row:
        """The row that stands for all that cannot be read after row `number`."""
        message = f"shard {self._name} cannot be read past row {number}: {one_line(error, 160) or type(error).__name__}"
        return self.malformed(message, f"{self._name}\0{number}".encode())

    def _value(self, role: str, values: Mapping[str, object]) -> tuple[object, str]:
        names: tuple[str, ...] = getattr(self._layout, role)
        for name in names:
            value = values.get(name)
            if value is not None:
                return value, name
        return None, names[0] if names else role

    def _image(
        self,
        values: Mapping[str, object],
        image: tuple[bytes, str] | None,
        uri: tuple[str, str] | None,
        errors: list[RowError],
    ) -> _Image:
        if image is not None:
            return _Image(data=image[0], reference=image[1])
        if uri is not None:
            return _Image(uri=uri[0], reference=uri[1])
        found = _Image()
        before = len(errors)
        value, name = self._value("image", values)
        path: str | None = None
        if isinstance(value, Mapping):
            named: object = value.get("path")
            path = _tried(lambda: as_reference(named, f"{name}.path"), None, errors)
            value = value.get("bytes")
        if isinstance(value, bytes):
            found.data = value
        elif value is not None:
            errors.append(mismatch(name, value, "bytes"))
        written = _tried(lambda: as_reference(*self._value("image_uri", values)), None, errors)
        if written is None and found.data is None and self._reads_images:
            written = path
        if written is not None:
            found.uri = resolve_uri(written, self._directory)
            is_relative = found.uri != written
            found.reference = posixpath.normpath(posixpath.join(self._from_root, written)) if is_relative else written
        else:
            found.reference = path
        if found.data is None and found.uri is None and self._reads_images and len(errors) == before:
            errors.append(RowError(ErrorCode.IMAGE_MISSING, "the row has no image and no image URI"))
        return found

    def _questions(self, values: Mapping[str, object]) -> list[str]:
        if not self._asks:
            return []
        if self._fixed:
            return list(self._fixed)
        if self._layout.questions:
            value, name = self._value("questions", values)
            questions = as_text_list(value, name)
        else:
            value, name = self._value("question", values)
            questions = [as_text(value, name)]
        stripped = [(question or "").strip() for question in questions]
        if not stripped or not all(stripped):
            place = f" {stripped.index('') + 1} of {len(stripped)}" if len(stripped) > 1 else ""
            what = "empty" if not questions else "null" if questions[0] is None and not place else "blank"
            raise RowError(ErrorCode.QUESTION_MISSING, f"question{place} in column {name!r} is {what}")
        return stripped

    def _row_id(
        self,
        image: _Image,
        texts: Sequence[str],
        ids: tuple[str | None, str | None],
        error: RowError | None,
        line: bytes | None,
    ) -> int:
        if error and error.code == ErrorCode.ROW_MALFORMED and line is not None:
            return identity(b"line", line)
        parts = [*image.identity(), *(text.encode() for text in texts)]
        if image.data is None and image.uri is None:
            parts += [(value or "").encode() for value in ids]
        return identity(*parts)


def identity(*parts: bytes) -> int:
    """A hash of `parts` as int64: the first 8 bytes' worth of BLAKE2b, each part preceded by its length."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return int.from_bytes(digest.digest(), "little", signed=True)


def resolve_uri(written: str, directory: str) -> str:
    """An image reference as an absolute URI: URIs and absolute paths as they are, others told from `directory`."""
    if "://" in written or written.startswith(("/", "data:")):
        return written
    scheme, mark, path = directory.rpartition("://")
    return scheme + mark + posixpath.normpath(posixpath.join(path, written))


def _tried(make: Callable[[], T], otherwise: T, errors: list[RowError]) -> T:
    try:
        return make()
    except RowError as error:
        errors.append(error)
        return otherwise
