"""A row of the user's as a conversation: its dialogue or its question and answer, and the images that they show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from vqa_ray.conversation.conversation import IMAGE_MARKER, Conversation, Turn, tidy, with_markers
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.readers.coerce import as_text, mismatch
from vqa_ray.readers.dialogues import Dialogue, check_complete, parse_dialogue
from vqa_ray.readers.image_refs import ImageRef, ImageRefResolver, is_link
from vqa_ray.readers.passthrough import Kept
from vqa_ray.readers.source import Source

_IMAGE_ROLES = ("images", "image", "image_uri")


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """A conversation with its images, in the order of its markers, and what was done to it, or None."""

    conversation: Conversation
    images: list[ImageRef]
    warning: str | None


class ConversationReader:
    """Makes conversations of the rows of a source that reads them.

    Args:
        source: its columns and labels are used.
        resolver: makes images of references.
    """

    def __init__(self, source: Source, resolver: ImageRefResolver) -> None:
        self._columns = source.column_map
        self._labels = {name: len(source.config.keep) + i for i, name in enumerate(source.config.labels)}
        self._resolver = resolver
        self._reads_images = source.config.reads_images

    def read(
        self, values: Mapping[str, object], kept: Kept, question: str, shown: Sequence[ImageRef] | None
    ) -> ConversationRow:
        """Read the conversation of a row.

        Args:
            values: by the user's column names.
            kept: the values of the kept fields and labels.
            question: of a row without a dialogue.
            shown: the images that come from elsewhere than a column.

        Raises:
            RowError: it is none, shows an image that is not there, or an image cannot be read.
        """
        dialogue = self._dialogue(values, kept, question)
        system = next((values[name] for name in self._columns.system if values.get(name) is not None), None)
        if dialogue.system is None and system is not None:
            dialogue.system = (as_text(system, self._columns.system[0]) or "").strip() or None
        beside = list(shown) if shown is not None else self._beside(values)
        images, missing = self._in_order(dialogue, beside)
        turns = list(dialogue.turns)
        warnings = []
        if missing:
            turns[0] = replace(turns[0], text=tidy(with_markers(turns[0].text, missing)))
            # A question of ours never says where its image goes.
            if self._columns.conversation:
                count = f"{len(images) - missing} of {len(images)} images"
                warnings.append(f"{missing} {IMAGE_MARKER} put in front: the texts show {count}")
        warnings += [
            f"answer {i // 2 + 1} is its question word for word"
            for i in range(1, len(turns), 2)
            if turns[i].text.casefold() == turns[i - 1].text.replace(IMAGE_MARKER, "").strip().casefold()
        ]
        conversation = Conversation(dialogue.system, tuple(turns), len(images))
        return ConversationRow(conversation, images, "; ".join(warnings) or None)

    def _dialogue(self, values: Mapping[str, object], kept: Kept, question: str) -> Dialogue:
        named = next((name for name in self._columns.conversation if values.get(name) is not None), None)
        if named is not None or self._columns.conversation:
            name = named or self._columns.conversation[0]
            if named is None:
                raise RowError(ErrorCode.QUESTION_MISSING, f"column {name!r} is null")
            dialogue = parse_dialogue(values[name], name)
            check_complete(dialogue, name)
            return dialogue
        for name, place in self._labels.items():
            answer = _answer(kept[place], name)
            if answer:
                text = tidy(question)
                return Dialogue(
                    None, [Turn("user", text), Turn("assistant", answer)], [None] * text.count(IMAGE_MARKER)
                )
        names = ", ".join(map(repr, self._labels))
        raise RowError(ErrorCode.ANSWER_MISSING, f"no answer in column {names}")

    def _beside(self, values: Mapping[str, object]) -> list[ImageRef]:
        """Return the images of a row's columns: one value, or a list of them; a text that is a JSON list is one."""
        for role in _IMAGE_ROLES:
            for name in getattr(self._columns, role):
                value = values.get(name)
                if value is None or value == "":
                    continue
                listed = _listed(value)
                if listed or not isinstance(value, list):
                    return [
                        self._image(each, name, f"image {number} of {len(listed)} in column {name!r}")
                        for number, each in enumerate(listed, start=1)
                    ]
        return []

    def _image(self, value: object, name: str, where: str) -> ImageRef:
        if value is None or value == "":
            if not self._reads_images:
                return ImageRef()
            raise RowError(ErrorCode.IMAGE_MISSING, f"{where} is null")
        errors: list[RowError] = []
        nothing = (None, name)
        if isinstance(value, str) or is_link(value):
            found = self._resolver.one(nothing, (value, name), errors)
        else:
            found = self._resolver.one((value, name), nothing, errors)
        if errors:
            raise errors[0]
        return found

    def _in_order(self, dialogue: Dialogue, beside: Sequence[ImageRef]) -> tuple[list[ImageRef], int]:
        """Return the images in the order of the markers, those without a marker first, and how many have none."""
        numbered = {each for each in dialogue.images if isinstance(each, int)}
        wrong = next((each for each in sorted(numbered) if not 0 <= each < len(beside)), None)
        if wrong is not None:
            raise RowError(
                ErrorCode.IMAGE_MISSING, f"a turn shows the image of index {wrong}; the row has {len(beside)}"
            )
        free = [i for i in range(len(beside)) if i not in numbered]
        unnumbered = sum(each is None for each in dialogue.images)
        if unnumbered > len(free):
            code = ErrorCode.ROW_MALFORMED if beside else ErrorCode.IMAGE_MISSING
            reason = f"{len(dialogue.images)} times {IMAGE_MARKER} in the texts; images of the row: {len(beside)}"
            raise RowError(code, reason)
        missing = len(free) - unnumbered
        order, rest = free[:missing], iter(free[missing:])
        images = [beside[i] for i in order]
        for number, each in enumerate(dialogue.images, start=1):
            if each is None:
                images.append(beside[next(rest)])
            elif isinstance(each, int):
                images.append(beside[each])
            else:
                images.append(self._image(each, "image", f"image {number} of the turns"))
        return images, missing


def _listed(value: object) -> list[object]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
        return found if isinstance(found, list) else [value]
    return value if isinstance(value, list) else [value]


def _answer(value: object, column: str) -> str:
    """Return the answer in a label: a text, the most frequent of several, or the one of the highest weight."""
    if isinstance(value, pa.Scalar):
        value = value.as_py()
    if isinstance(value, RowError):
        raise value
    if isinstance(value, Mapping):
        ids, weights = value.get("ids") or [], value.get("weights") or []
        if len(ids) != len(weights):
            raise mismatch(column, value, "one weight for each id")
        value = max(zip(weights, ids, strict=True), key=lambda each: each[0])[1] if ids else None
    if isinstance(value, list):
        counts = Counter(each.strip() for each in value if isinstance(each, str) and each.strip())
        value = counts.most_common(1)[0][0] if counts else None
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    if IMAGE_MARKER in text:
        raise RowError(
            ErrorCode.ROW_MALFORMED, f"column {column!r} holds {IMAGE_MARKER}; only a question can show an image"
        )
    return text.strip()
