"""From what a format read, by the user's column names, to rows of the READ schema: identity, questions, errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeVar

import pyarrow as pa

from vqa_ray.conversation.conversation import Conversation
from vqa_ray.errors import ErrorCode, RowError, one_line
from vqa_ray.readers.coerce import as_id, as_int64, as_question, as_text_list, as_turns
from vqa_ray.readers.conversation_rows import ConversationReader, ConversationRow
from vqa_ray.readers.image_refs import ImageRef, ImageRefResolver
from vqa_ray.readers.local_places import LocalPlaces
from vqa_ray.readers.passthrough import Kept
from vqa_ray.readers.source import Source
from vqa_ray.row_text.hidden_columns import TEXT

T = TypeVar("T")
_NO_QUESTIONS: list[str] = []
_NO_TURNS: list[tuple[str, str]] = []


@dataclass(slots=True)
class Row:
    """One row of the READ schema, but for its `source_key`.

    Attributes:
        extra_images: (URI, bytes) of each further image.
        passthrough: values in the order of the fields of `Source.passthrough`.
        text_warning: what was done to the texts of questions or a conversation, or None.
        conversation: of a source that reads conversations.
    """

    row_id: int
    image_id: str | None = None
    question_id: str | None = None
    questions: list[str] = field(default_factory=list)
    turns: list[tuple[str, str]] = field(default_factory=list)
    image_uri: str | None = None
    image: bytes | None = None
    extra_images: list[tuple[str | None, bytes | None]] = field(default_factory=list)
    error: RowError | None = None
    passthrough: Sequence[object] = ()
    text_warning: str | None = None
    conversation: Conversation | None = None

    def size_bytes(self) -> int:
        """Its approximate size in a table."""
        said = sum(len(question) + len(answer) for question, answer in self.turns)
        said += sum(map(len, self.conversation.texts)) if self.conversation else 0
        images = len(self.image or b"") + sum(len(data or b"") for _, data in self.extra_images)
        return images + sum(map(len, self.questions)) + said + 256


class RowBuilder:
    """Makes the rows of one source.

    Args:
        source: its layout, kept fields and questions are used.
        uri: the file the rows are in: relative image references start from its directory.
        images: the directory of images that the reader has found beside the input; None for none.
    """

    def __init__(self, source: Source, uri: str, images: str | None = None) -> None:
        self._layout = source.column_map
        self._fixed = [question.strip() for question in source.config.questions]
        self._asks = source.config.needs_question
        self._fields = source.passthrough
        self._text = source.config.text
        self._text_columns = {
            i: part.name.removeprefix(TEXT) for i, part in enumerate(self._fields) if part.name.startswith(TEXT)
        }
        self._name = uri.removeprefix(source.root.rstrip("/") + "/")
        config = source.config
        roots = (config.image_root or source.root, *config.allow_local, *([] if images is None else [images]))
        # The batches of a program have no root: its own arguments name their places. Images of truth are not read.
        local = LocalPlaces(roots) if roots[0] and (config.needs_image or config.conversations) else None
        self._image_refs = ImageRefResolver(uri, source.root, config.reads_images, config.image_root, local)
        self._conversations = ConversationReader(source, self._image_refs) if config.conversations else None

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
        talk: ConversationRow | None = None
        if self._conversations is not None:
            talk = _tried(lambda: self._conversation(values, kept, image, uri), None, errors)
            shown, questions = (talk.images if talk else []) or [ImageRef()], _NO_QUESTIONS
        else:
            shown = self._shown(values, image, uri, errors)
            questions = _tried(lambda: self._questions(values), _NO_QUESTIONS, errors)
        turns = _tried(lambda: as_turns(*self._value("context", values)), _NO_TURNS, errors)
        given_id = _tried(lambda: as_id(*self._value("image_id", values)), None, errors)
        question_id = _tried(lambda: as_id(*self._value("question_id", values)), None, errors)
        row_id = _tried(lambda: as_int64(*self._value("row_id", values)), None, errors)
        errors += [value for value in kept if isinstance(value, RowError)]
        raw, kept, warning = self._with_texts(kept, errors)
        error = next((e for e in errors if e.code == ErrorCode.ROW_MALFORMED), errors[0] if errors else None)
        own_id = given_id or _image_id(shown)
        if row_id is None:
            said = [text for turn in turns for text in turn]
            if self._conversations is not None:
                said += talk.conversation.texts if talk else [repr(self._value("conversation", values)[0])]
            row_id = self._row_id(shown, [*said, *questions, *raw], (given_id, question_id), error, line)
        return Row(
            row_id=row_id,
            image_id=own_id,
            question_id=question_id,
            questions=questions,
            turns=turns,
            image_uri=shown[0].uri,
            image=None if error else shown[0].data,
            extra_images=[] if error else [(other.uri, other.data) for other in shown[1:]],
            error=RowError(error.code, f"{where}: {error.message}") if error and where else error,
            passthrough=[None if isinstance(value, RowError) else value for value in kept],
            text_warning=talk.warning if talk else warning,
            conversation=talk.conversation if talk and not error else None,
        )

    def failed(self, error: RowError, line: bytes, image_id: str | None = None) -> Row:
        """Return a row of which nothing but the error is known; its id is the hash of the bytes it was read from."""
        kept = [None] * len(self._fields)
        return Row(row_id=identity(b"line", line), image_id=image_id, error=error, passthrough=kept)

    def malformed(self, message: str, line: bytes, image_id: str | None = None) -> Row:
        """Return an error row in the place of one that cannot be parsed."""
        return self.failed(RowError(ErrorCode.ROW_MALFORMED, message), line, image_id)

    def damaged(self, number: int, error: Exception) -> Row:
        """Return the row that stands for all that cannot be read after row `number`."""
        message = f"shard {self._name} cannot be read past row {number}: {one_line(error, 160) or type(error).__name__}"
        return self.malformed(message, f"{self._name}\0{number}".encode())

    def _with_texts(self, kept: Kept, errors: list[RowError]) -> tuple[list[str], Kept, str | None]:
        """Clean the kept values that stand in questions.

        Returns:
            Those values as the row brings them, where they are part of what it asks; all kept values; and a warning.
        """
        if self._text is None:
            return [], kept, None
        raw: list[str] = []
        warnings: list[str] = []
        values = list(kept)
        for i, column in self._text_columns.items():
            value: Any = values[i]
            value = value.as_py() if isinstance(value, pa.Scalar) else value
            if isinstance(value, RowError):
                continue
            raw.append(value or "")
            try:
                values[i], warning = self._text.read(column, value)
                warnings += [warning] if warning else []
            except RowError as error:
                errors.append(error)
                values[i] = None
        return raw if self._asks else [], values, "; ".join(warnings) or None

    def _value(self, role: str, values: Mapping[str, object]) -> tuple[object, str]:
        names: tuple[str, ...] = getattr(self._layout, role)
        for name in names:
            value = values.get(name)
            if value is not None:
                return value, name
        return None, names[0] if names else role

    def _shown(
        self,
        values: Mapping[str, object],
        image: tuple[bytes, str] | None,
        uri: tuple[str, str] | None,
        errors: list[RowError],
    ) -> list[ImageRef]:
        """Return the row's images, one at least."""
        if image is not None:
            return [ImageRef(data=image[0], reference=image[1])]
        if uri is not None:
            return [ImageRef(uri=uri[0], reference=uri[1])]
        if self._layout.images:
            return self._image_refs.several(*self._value("images", values), errors)
        return [self._image_refs.one(self._value("image", values), self._value("image_uri", values), errors)]

    def _conversation(
        self,
        values: Mapping[str, object],
        kept: Kept,
        image: tuple[bytes, str] | None,
        uri: tuple[str, str] | None,
    ) -> ConversationRow:
        assert self._conversations is not None
        question = self._questions(values)[0] if self._asks and not self._layout.conversation else ""
        brought = None if image is None and uri is None else self._shown(values, image, uri, [])
        return self._conversations.read(values, kept, question, brought)

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
            questions = [as_question(value, name)]
        stripped = [(question or "").strip() for question in questions]
        if not stripped or not all(stripped):
            position = f" {stripped.index('') + 1} of {len(stripped)}" if len(stripped) > 1 else ""
            what = "empty" if not questions else "null" if questions[0] is None and not position else "blank"
            raise RowError(ErrorCode.QUESTION_MISSING, f"question{position} in column {name!r} is {what}")
        return stripped

    def _row_id(
        self,
        shown: Sequence[ImageRef],
        texts: Sequence[str],
        ids: tuple[str | None, str | None],
        error: RowError | None,
        line: bytes | None,
    ) -> int:
        if error and error.code == ErrorCode.ROW_MALFORMED and line is not None:
            return identity(b"line", line)
        parts = [*_identity(shown), *(text.encode() for text in texts)]
        if shown[0].data is None and shown[0].uri is None:
            parts += [(value or "").encode() for value in ids]
        return identity(*parts)


def _identity(shown: Sequence[ImageRef]) -> tuple[bytes, ...]:
    return tuple(part for image_ref in shown for part in image_ref.identity())


def _image_id(shown: Sequence[ImageRef]) -> str | None:
    """Return the id of the images together: their references, or a hash of their bytes."""
    references = [image_ref.reference for image_ref in shown]
    if all(references):
        return ", ".join(map(str, references))
    if all(image_ref.data is None for image_ref in shown):
        return None
    return f"{identity(*_identity(shown)) & (2**64 - 1):016x}"


def identity(*parts: bytes) -> int:
    """Return a hash of `parts` as int64: the first 8 bytes' worth of BLAKE2b, each part preceded by its length."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return int.from_bytes(digest.digest(), "little", signed=True)


def _tried(make: Callable[[], T], otherwise: T, errors: list[RowError]) -> T:
    try:
        return make()
    except RowError as error:
        errors.append(error)
        return otherwise
