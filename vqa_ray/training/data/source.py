"""An input to learn from: where its right answers are, and how it is read without and with its images. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import pyarrow as pa
from pyarrow import types

from vqa_ray.conversation.conversation import CONVERSATION
from vqa_ray.readers import EarlierRun, InputConfig, Source, open_source
from vqa_ray.readers.columns import is_text, plain
from vqa_ray.readers.conversations import open_conversations
from vqa_ray.readers.source import join_names, request_error

# What a column of truth holds in each row: what several people said, one answer, or answers with their weights; or what
# the image is described by; or a conversation about images.
Truth: TypeAlias = Literal["annotators", "answer", "weighted", "captions", "conversation"]

TRUTH_COLUMNS = ("annotator_answers", "answer", "label", "labels")
ANSWER_TYPE = "answer_type"
# `text` is what Hugging Face's ImageFolder calls a caption.
CAPTION_COLUMNS = ("caption", "captions", "text")
_WANTED = (
    "list<string> (what each annotator said), string (one answer) or "
    "struct<ids: list<string>, weights: list<double>> (answers and how right they are)"
)


@dataclass(frozen=True, slots=True)
class TrainingSource:
    """An opened input with right answers, or captions.

    Attributes:
        source: reads images and the columns named below.
        truth: the column with the right answers, or the captions.
        kind: what that column holds.
        answer_type: the column that tells the type of the answer; None when there is none.
        auxiliary: category columns to learn beside them.
    """

    source: Source
    truth: str
    kind: Truth
    answer_type: str | None
    auxiliary: tuple[str, ...]

    @property
    def labels(self) -> Source:
        """The rows with their right answers and without images: what the index is made from."""
        return self.source.without_images()

    @property
    def images(self) -> Source:
        """What is trained on: the same rows and keys, with images and captions, without right answers."""
        if self.kind == "conversation":
            return self.source
        return self.source.with_labels(() if self.captions is None else (self.captions,))

    @property
    def captions(self) -> str | None:
        """The column with the captions; None where there are answers."""
        return self.truth if self.kind == "captions" else None

    def for_workers(self) -> TrainingSource:
        """Return the same without the list of shards."""
        return replace(self, source=self.source.for_workers())


def open_training_source(
    config: InputConfig,
    truth: str | None = None,
    auxiliary: tuple[str, ...] = (),
    earlier: EarlierRun | None = None,
) -> TrainingSource:
    """Open an input and find its right answers.

    Args:
        config: what to read; its `columns` may also rename `annotator_answers`, `answer`, `label`, `labels` and
            `answer_type`. Kept columns are not used.
        truth: the column with the right answers; None takes the first there is of `TRUTH_COLUMNS`.
        auxiliary: category columns to learn beside the answers.
        earlier: what the output knows of the input.

    Raises:
        RequestError: as `open_source`; or there is no column with right answers, or none of a name given, or one is of
            a type that cannot be learnt from; or a row asks several questions.
    """
    ours = (*TRUTH_COLUMNS, ANSWER_TYPE)
    renamed = {name: theirs for name, theirs in config.columns.items() if name in ours}
    others = {name: theirs for name, theirs in config.columns.items() if name not in ours}
    candidates: tuple[str, ...]
    if truth is not None:
        candidates = (renamed.get(truth, truth),)
    else:
        candidates = tuple(renamed[name] for name in TRUTH_COLUMNS if name in renamed) or TRUTH_COLUMNS
    answer_type = renamed.get(ANSWER_TYPE, ANSWER_TYPE)
    labels = tuple(dict.fromkeys((*candidates, answer_type, *auxiliary)))
    source = open_source(replace(config, columns=others, keep=(), labels=labels), earlier)
    _check_questions(source)
    for name in renamed.values():
        if name not in source.config.labels:
            raise request_error(f"{config.uri}: no column {name!r}; the columns are: {join_names(source.columns)}")
    column = next((name for name in candidates if name in source.config.labels), None)
    if column is None:
        raise request_error(_no_truth(source, candidates, truth))
    given = {part.name: part.type for part in source.passthrough_columns()}
    _check_auxiliary(source, auxiliary)
    has_type = answer_type in given and answer_type != column
    if has_type:
        _check(answer_type, given[answer_type], "string", is_text(plain(given[answer_type])), config)
    used = (column, *((answer_type,) if has_type else ()), *auxiliary)
    kind = _kind(given[column])
    if kind is None:
        raise request_error(
            f"{config.uri}: column {column!r} is {given[column]}; wanted for right answers is {_WANTED}"
        )
    return TrainingSource(source.with_labels(used), column, kind, answer_type if has_type else None, auxiliary)


def open_caption_source(
    config: InputConfig, auxiliary: tuple[str, ...] = (), earlier: EarlierRun | None = None
) -> TrainingSource:
    """Open an input and find its captions.

    Args:
        config: what to read; its `columns` may also rename `caption`. Kept columns and questions are not used.
        auxiliary: category columns to learn beside the captions.
        earlier: what the output knows of the input.

    Raises:
        RequestError: as `open_source`; or there is no column with captions, or none of a name given, or one holds
            something else.
    """
    renamed = {name: theirs for name, theirs in config.columns.items() if name in CAPTION_COLUMNS}
    others = {name: theirs for name, theirs in config.columns.items() if name not in CAPTION_COLUMNS}
    candidates = tuple(renamed.values()) or CAPTION_COLUMNS
    labels = tuple(dict.fromkeys((*candidates, *auxiliary)))
    config_read = replace(config, columns=others, keep=(), labels=labels, questions=(), needs_question=False)
    source = open_source(config_read, earlier)
    column = next((name for name in candidates if name in source.config.labels), None)
    if column is None:
        raise request_error(
            f"{config.uri}: no column {candidates[0]!r} with captions; the columns are: {join_names(source.columns)}; "
            "name it with --column caption=NAME"
        )
    given = next(plain(part.type) for part in source.passthrough_columns() if part.name == column)
    is_list = _is_list(given) and (is_text(plain(given.value_type)) or types.is_null(given.value_type))
    _check(column, given, "string, or list<string>: several captions of an image", is_text(given) or is_list, config)
    _check_auxiliary(source, auxiliary)
    return TrainingSource(source.with_labels((column, *auxiliary)), column, "captions", None, auxiliary)


def open_conversation_source(
    config: InputConfig, truth: str | None = None, earlier: EarlierRun | None = None
) -> TrainingSource:
    """Open an input of conversations, or of questions and answers.

    Args:
        config: what to read; see `open_conversations`.
        truth: the column with the answers of questions.
        earlier: what the output knows of the input.

    Raises:
        RequestError: see `open_conversations`.
    """
    source = open_conversations(config, truth, earlier)
    return TrainingSource(source, CONVERSATION.name, "conversation", None, ())


def _no_truth(source: Source, candidates: tuple[str, ...], truth: str | None) -> str:
    uri, columns = source.config.uri, join_names(source.columns)
    if truth is not None:
        return f"{uri}: no column {candidates[0]!r}; the columns are: {columns}"
    if source.format == "images":
        return (
            f"{uri}: the image files lie in no folders whose names could be their answers; wanted "
            "DIRECTORY/ANSWER/*.jpg, or a metadata.csv beside them with the columns file_name and answer"
        )
    hint = "; captions are learnt with --task contrastive" if set(CAPTION_COLUMNS) & set(source.columns) else ""
    return (
        f"{uri}: no column with right answers ({join_names(candidates)}); the columns are: {columns}; "
        f"name it with --truth NAME{hint}"
    )


def _check_auxiliary(source: Source, names: tuple[str, ...]) -> None:
    """Raise a RequestError where one is missing, or no category."""
    given = {part.name: part.type for part in source.passthrough_columns()}
    for name in names:
        if name not in given:
            raise request_error(
                f"{source.config.uri}: no column {name!r}; the columns are: {join_names(source.columns)}"
            )
        _check(name, given[name], "a category: string, integer or boolean", _is_category(given[name]), source.config)


def _check_questions(source: Source) -> None:
    if source.column_map.questions:
        name = source.column_map.questions[0]
        raise request_error(
            f"{source.config.uri}: column {name!r} holds several questions a row; training wants one question with its "
            "answers a row: unnest it, or name a column of single questions with --column question=NAME"
        )
    if source.multi_question:
        raise request_error(f"{source.config.uri}: {len(source.config.questions)} questions a row; training wants one")


def _check(name: str, given: pa.DataType, wanted: str, fits: bool, config: InputConfig) -> None:
    if not fits:
        raise request_error(f"{config.uri}: column {name!r} is {given}; wanted is {wanted}")


def _kind(given: pa.DataType) -> Truth | None:
    given = plain(given)
    if _is_text_or_integer(given):
        return "answer"
    if _is_list(given) and (is_text(plain(given.value_type)) or types.is_null(given.value_type)):
        return "annotators"
    if types.is_struct(given):
        parts = {part.name: plain(part.type) for part in given}
        ids, weights = parts.get("ids", pa.null()), parts.get("weights", pa.null())
        if _is_list(ids) and _is_list(weights):
            is_number = types.is_floating(weights.value_type) or types.is_integer(weights.value_type)
            if is_number and _is_text_or_integer(plain(ids.value_type)):
                return "weighted"
    return None


def _is_list(given: pa.DataType) -> bool:
    return bool(types.is_list(given) or types.is_large_list(given) or types.is_fixed_size_list(given))


def _is_text_or_integer(given: pa.DataType) -> bool:
    return is_text(given) or bool(types.is_integer(given))


def _is_category(given: pa.DataType) -> bool:
    return _is_text_or_integer(plain(given)) or bool(types.is_boolean(plain(given)))
