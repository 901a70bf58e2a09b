"""The types of Arrow columns that suit the roles of an input."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
from pyarrow import compute, types

from vqa_ray.readers.columns import ROLES, is_bytes, is_text, plain
from vqa_ray.readers.source import ColumnMap, request_error


def check_types(layout: ColumnMap, arrow: pa.Schema, where: str, *, any_images: bool = False) -> None:
    """Check that the columns of an Arrow schema have types that suit their roles.

    Args:
        layout: the columns by role.
        arrow: the schema.
        where: it is of, for messages.
        any_images: whether a column of images may hold one image or several, whatever it is called.

    Raises:
        RequestError: one is not.
    """
    for role in ROLES:
        fits, wanted = _ANY_IMAGES if any_images and role in _IMAGE_ROLES else _WANTED[role]
        for name in getattr(layout, role):
            indices = arrow.get_all_field_indices(name)
            if not indices:
                continue
            given = arrow.field(indices[0]).type
            if not (types.is_null(given) or fits(plain(given))):
                hint = " (names of image files belong in image_uri: --column image_uri=NAME)" if role == "image" else ""
                text = hint if is_text(plain(given)) else ""
                raise request_error(f"{where}: column {name!r} is {given}; wanted for {role} is {wanted}{text}")


def _is_image(given: pa.DataType) -> bool:
    if is_bytes(given):
        return True
    if not types.is_struct(given):
        return False
    parts = {part.name: plain(part.type) for part in given}
    has_bytes = "bytes" in parts and (is_bytes(parts["bytes"]) or types.is_null(parts["bytes"]))
    return has_bytes and ("path" not in parts or is_text(parts["path"]) or types.is_null(parts["path"]))


def _is_list(given: pa.DataType) -> bool:
    is_list = types.is_list(given) or types.is_large_list(given) or types.is_fixed_size_list(given)
    return bool(is_list or types.is_list_view(given) or types.is_large_list_view(given))


def _is_text_list(given: pa.DataType) -> bool:
    return _is_list(given) and bool(is_text(plain(given.value_type)) or types.is_null(given.value_type))


def _is_turns(given: pa.DataType) -> bool:
    if not _is_list(given) or types.is_null(given.value_type):
        return _is_list(given)
    parts = {part.name: plain(part.type) for part in given.value_type} if types.is_struct(given.value_type) else {}
    return all(name in parts and is_text(parts[name]) for name in ("question", "answer"))


def _is_question(given: pa.DataType) -> bool:
    is_dialogue = _is_list(given) and types.is_struct(given.value_type)
    names = {part.name for part in given.value_type} if is_dialogue else set()
    return is_text(given) or {"from", "value"} <= names or {"role", "content"} <= names


def _is_scalar(given: pa.DataType) -> bool:
    if is_text(given) or is_bytes(given) or types.is_null(given):
        return True
    try:
        compute.cast(pa.nulls(1, given), pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Nested, an interval, or a time in a zone that is unknown here.
        return False
    return True


def _is_images(given: pa.DataType) -> bool:
    return _is_list(given) and (is_text(plain(given.value_type)) or _is_image(plain(given.value_type)))


def _is_dialogue(given: pa.DataType) -> bool:
    return is_text(given) or (_is_list(given) and bool(types.is_struct(plain(given.value_type))))


def _is_shown(given: pa.DataType) -> bool:
    return is_text(given) or _is_image(given) or _is_images(given)


_SCALAR = "a string, a number, or a time in a known zone"
_WANTED: Mapping[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "image": (_is_image, "binary or struct<bytes: binary, path: string>"),
    "image_uri": (is_text, "string"),
    "images": (_is_images, "list<binary>, list<string> or list<struct<bytes: binary, path: string>>"),
    "question": (_is_question, "string"),
    "questions": (_is_text_list, "list<string>"),
    "conversation": (_is_dialogue, "list<struct<role, content>>, list<struct<from, value>> or string"),
    "system": (is_text, "string"),
    "context": (_is_turns, "list<struct<question: string, answer: string>>"),
    "image_id": (_is_scalar, _SCALAR),
    "question_id": (_is_scalar, _SCALAR),
    "row_id": (types.is_integer, "int64"),
}
_IMAGE_ROLES = ("image", "image_uri", "images")
_ANY_IMAGES = (_is_shown, "string, binary, struct<bytes: binary, path: string> or a list of one of them")
