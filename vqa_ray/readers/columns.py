"""The columns of an input that hold the image, the question and the ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import pyarrow as pa
from pyarrow import types

from vqa_ray.readers.conversation_columns import DIALOGUES, conversation_roles
from vqa_ray.readers.source import ColumnMap, InputConfig, join_names, request_error

ROLES: tuple[str, ...] = tuple(field.name for field in fields(ColumnMap))
_DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "image": ("image",),
    "image_uri": ("image_uri", "url", "image_path", "image_url"),
    "images": ("images",),
    "question": ("question",),
    "questions": ("questions",),
    "context": ("context",),
    "conversation": DIALOGUES,
    "system": ("system",),
    "image_id": ("image_id",),
    "question_id": ("question_id",),
    "row_id": ("row_id",),
}
_OF_CONVERSATIONS = ("conversation", "system")
FILE_NAME = "file_name"
# Columns that are found without being named.
KNOWN_NAMES = frozenset(name for names in _DEFAULTS.values() for name in names)
# A user who names one of a pair has chosen: the other is then not looked for.
_PAIRS = (("image", "image_uri"), ("question", "questions"))


def resolve(
    config: InputConfig,
    names: Sequence[str],
    where: str,
    *,
    roles: Sequence[str] = ROLES,
    text_question: Sequence[str] = ("question",),
    brings_image: bool = False,
    open_ended: bool = False,
) -> ColumnMap:
    """Find the columns.

    Args:
        config: the request.
        names: the columns there are, in order, duplicates included.
        where: the input or file, for messages.
        roles: what a column of this format can hold at all.
        text_question: the columns that may hold the question when none is named.
        brings_image: images come from elsewhere than a column (webdataset).
        open_ended: `names` are those of a sample; later rows may have others.

    Raises:
        RequestError: a column that was named, or one that is needed, is not there or is there twice.
    """
    roles = [role for role in roles if config.conversations or role not in _OF_CONVERSATIONS]
    check_names(config, roles, where)
    for ours, theirs in config.columns.items():
        if theirs not in names:
            raise request_error(
                f"{where}: no column {theirs!r} (--column {ours}={theirs}); the columns are: {join_names(names)}"
            )
    check_keep(config, names, where)
    if config.conversations:
        found = conversation_roles(config, names, where, roles=roles, question=text_question, open_ended=open_ended)
        return _unique(ColumnMap(**found), config, names, where)
    asks = config.needs_question and not config.questions
    by_role: dict[str, tuple[str, ...]] = {}
    for role in roles:
        if (role in ("question", "questions") and not asks) or not _is_read(role, config):
            continue
        rival = next((other for pair in _PAIRS if role in pair for other in pair if other != role), "")
        if role in config.columns:
            by_role[role] = (config.columns[role],)
        elif rival not in config.columns:
            candidates = text_question if role == "question" else _DEFAULTS[role]
            by_role[role] = tuple(name for name in candidates if (open_ended or name in names))
            if role == "image_uri" and "image" not in roles and "image" in names:
                # LLaVA and others name files in a column `image`; text formats cannot hold anything else in it.
                by_role[role] = (*by_role[role], "image")
    if asks:
        _choose_question(by_role, names, where, config)
    _choose_images(by_role, names, where, config)
    # Hugging Face's ImageFolder, COCO: the name of the image file, where no other column holds the image.
    if FILE_NAME in names and "image_uri" in roles and not _present(by_role, names, "image", "image_uri", "images"):
        by_role["image_uri"] = (FILE_NAME,)
    if config.needs_image and not brings_image and not _present(by_role, names, "image", "image_uri", "images"):
        wanted = " or ".join(repr(role) for role in ("image", "image_uri") if role in roles)
        hint = "--column image_uri=NAME" if "image_uri" in roles else "--column image=NAME"
        raise request_error(f"{where}: no column {wanted}; the columns are: {join_names(names)}; name it with {hint}")
    return _unique(ColumnMap(**by_role), config, names, where)


def _unique(layout: ColumnMap, config: InputConfig, names: Sequence[str], where: str) -> ColumnMap:
    check_unique((*layout.names(), *config.keep, *present_labels(config, names)), names, where)
    return layout


def with_named_images(config: InputConfig, arrow: pa.Schema) -> InputConfig:
    """`config`, reading a column `image` of text as references where no other column has any."""
    at = arrow.get_field_index("image")
    others = [name for name in _DEFAULTS["image_uri"] if name in arrow.names]
    if at < 0 or others or {"image", "image_uri"} & config.columns.keys() or not is_text(plain(arrow.field(at).type)):
        return config
    return replace(config, columns={**config.columns, "image_uri": "image"})


def default_columns(
    config: InputConfig, roles: Sequence[str], text_question: Sequence[str] = ("question",)
) -> ColumnMap:
    """Return the columns of an input of which no row could be read: as named, else by their usual names."""
    found = {role: text_question if role == "question" else _DEFAULTS[role] for role in roles}
    found |= {ours: (theirs,) for ours, theirs in config.columns.items() if ours in found}
    if "questions" not in config.columns:
        found.pop("questions", None)
    found = {role: named for role, named in found.items() if _is_read(role, config)}
    if "images" not in config.columns:
        found.pop("images", None)
    return ColumnMap(**{role: tuple(names) for role, names in found.items()})


def check_names(config: InputConfig, allowed: Sequence[str], where: str) -> None:
    """Check that `config.columns` names only roles of this format.

    Raises:
        RequestError: it names something else.
    """
    for ours, theirs in config.columns.items():
        if ours not in allowed:
            known = f"allowed are: {join_names(allowed)}" if allowed else "this format has no columns"
            raise request_error(f"{where}: --column {ours}={theirs}: {ours!r} cannot be given here; {known}")


def check_keep(config: InputConfig, names: Sequence[str], where: str) -> None:
    """Check that the input has the columns to keep, each named once.

    Raises:
        RequestError: one is not, or is named twice.
    """
    for (name, why), count in Counter(config.kept_columns()).items():
        if count > 1:
            raise request_error(f"{where}: {why} is given {count} times")
        if name not in names:
            raise request_error(f"{where}: {why}: no such column; the columns are: {join_names(names)}")


def present_labels(config: InputConfig, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of `config.labels` that the input has and that are not kept anyway."""
    return tuple(name for name in dict.fromkeys(config.labels) if name in names and name not in config.keep)


def check_unique(needed: Sequence[str], names: Sequence[str], where: str) -> None:
    """Check that each needed column occurs once; others may share a name.

    Raises:
        RequestError: one is there several times.
    """
    counts = Counter(names)
    for name in needed:
        if counts[name] > 1:
            raise request_error(f"{where}: {counts[name]} columns are named {name!r}; it is unclear which one is meant")


def plain(given: pa.DataType) -> pa.DataType:
    """Return the type without dictionary encoding, run-end encoding or extension."""
    if types.is_dictionary(given) or types.is_run_end_encoded(given):
        return plain(given.value_type)
    return plain(given.storage_type) if isinstance(given, pa.BaseExtensionType) else given


def is_text(given: pa.DataType) -> bool:
    """Check whether values are strings, however they are laid out."""
    return bool(types.is_string(given) or types.is_large_string(given) or types.is_string_view(given))


def is_bytes(given: pa.DataType) -> bool:
    """Check whether values are bytes, however they are laid out."""
    plainly = types.is_binary(given) or types.is_large_binary(given) or types.is_binary_view(given)
    return bool(plainly or types.is_fixed_size_binary(given))


def _is_read(role: str, config: InputConfig) -> bool:
    reads = {"context": config.reads_context, "images": config.reads_several}
    return reads.get(role, config.conversations or role not in _OF_CONVERSATIONS)


def _choose_images(found: dict[str, tuple[str, ...]], names: Sequence[str], where: str, config: InputConfig) -> None:
    """Drop a column of lists unless it is named or there is no column of single images."""
    single, name = ("image", "image_uri"), config.columns.get("images", "images")
    if name not in names or ("images" not in config.columns and _present(found, names, *single)):
        found.pop("images", None)
        return
    if not config.reads_several:
        raise request_error(
            f"{where}: column {name!r} holds several images a row; only `answer` by a chat model takes those"
        )
    for role in single:
        found.pop(role, None)


def _present(found: Mapping[str, tuple[str, ...]], names: Sequence[str], *roles: str) -> bool:
    return any(name in names for role in roles for name in found.get(role, ()))


def _choose_question(found: dict[str, tuple[str, ...]], names: Sequence[str], where: str, config: InputConfig) -> None:
    one, many = _present(found, names, "question"), _present(found, names, "questions")
    if one and many:
        raise request_error(
            f"{where}: has both {join_names(found['question'])!r} and {join_names(found['questions'])!r}; "
            "choose with --column question=NAME or --column questions=NAME"
        )
    dialogue = next((name for name in ("conversations", "messages") if name in names), None)
    if not one and not many and dialogue:
        raise request_error(
            f"{where}: no column 'question' or 'questions'; column {dialogue!r} holds dialogues: --column "
            f"question={dialogue} asks what a person asks in them, where that is one question; or ask every image with "
            "--question TEXT"
        )
    if not one and not many:
        raise request_error(
            f"{where}: no column 'question' or 'questions'; the columns are: {join_names(names)}; "
            "name it with --column question=NAME, or ask every image with --question TEXT"
        )
    found.pop("question" if many else "questions", None)
