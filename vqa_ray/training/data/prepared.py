"""What a training learns of labelled rows: a part to validate on, a vocabulary, targets and their schedule. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vqa_ray.counted import counted
from vqa_ray.errors import RequestError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.training.config import CHAT, CONTRASTIVE, VQA, Task
from vqa_ray.training.data.label_notes import learnt_answers, unlabelled, unmatched, unused
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.schedule import RowSchedule, ScheduleConfig
from vqa_ray.training.data.targets import Targets, auxiliary_classes, auxiliary_targets, caption_targets, soft_targets
from vqa_ray.training.data.vocabulary import build_vocabulary, usual_min_count

_LABEL: Mapping[Task, str] = {VQA: "an answer", CONTRASTIVE: "a caption", CHAT: "a conversation"}
_LABELS: Mapping[Task, str] = {VQA: "answers", CONTRASTIVE: "captions", CHAT: "conversations"}


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What decides how labelled rows become a training.

    Attributes:
        task: what is learnt.
        validation_fraction: of the images, to validate on where no rows are given for it.
        seed: of that choice.
        min_answer_count: answers of fewer rows are not learnt; None chooses by the number of rows.
        max_answers: size of the largest vocabulary; None for any.
        vocabulary: the answers to learn; None to make it of the rows.
    """

    task: Task
    validation_fraction: float
    seed: int
    min_answer_count: int | None = None
    max_answers: int | None = None
    vocabulary: AnswerVocabulary | None = None


@dataclass(frozen=True, slots=True)
class PreparedTraining:
    """What is learnt.

    Attributes:
        rows: to train on, also those without an answer of the vocabulary.
        validation: to validate on; empty for none.
        vocabulary: the answers, in the order of the logits; None where captions are learnt.
        classes: of each auxiliary column.
        targets: of `rows`.
        schedule: which of them is trained on at which step.
    """

    rows: LabelledRows
    validation: LabelledRows
    vocabulary: AnswerVocabulary | None
    classes: Mapping[str, tuple[str, ...]]
    targets: Targets
    schedule: RowSchedule

    @property
    def answers(self) -> int:
        """The number of answers to learn; 0 where captions are learnt."""
        return 0 if self.vocabulary is None else len(self.vocabulary.labels)

    @property
    def images(self) -> int:
        """The number of images among the rows."""
        return len(np.unique(self.rows.image_keys))

    @property
    def texts(self) -> list[str]:
        """What a new tokenizer is learnt from: questions, or captions."""
        texts = self.rows.answers.flatten() if self.vocabulary is None else self.rows.questions
        return list(texts.to_pylist())


@dataclass(frozen=True, slots=True)
class LabelledPart:
    """Rows to train or to validate on, and how notes name them.

    Attributes:
        uri: of their input.
        rows: with their labels.
        name_of: source_key → the name of a row.
        is_own_input: whether `rows` are all that was read of the input.
    """

    uri: str
    rows: LabelledRows
    name_of: Callable[[int], str]
    is_own_input: bool = True


def split_validation(
    rows: LabelledRows, validation: LabelledRows | None, config: DataConfig, label: str
) -> tuple[LabelledRows, LabelledRows]:
    """Take the rows to validate on out of the rows to train on, where none are given.

    Args:
        rows: to train on.
        validation: rows given to validate on; None for a part of `rows`.
        config: how large a part.
        label: the input that messages name.

    Raises:
        RequestError: rows to validate on are wanted, and none has a label.
    """
    if validation is None:
        rows, held_out = rows.split(config.validation_fraction, config.seed)
    else:
        held_out = validation
    is_wanted = validation is not None or config.validation_fraction > 0
    if is_wanted and held_out.unanswered == len(held_out):
        raise RequestError(f"{label}: no rows with {_LABELS[config.task]} to validate on")
    return rows, held_out


def choose_vocabulary(rows: LabelledRows, config: DataConfig, label: str) -> AnswerVocabulary | None:
    """Return the answers to learn from rows; None where captions are learnt.

    Args:
        rows: to train on.
        config: what is learnt, and which answers are too rare.
        label: the input that messages name.

    Raises:
        RequestError: nothing can be learnt from the rows.
    """
    if config.task != VQA:
        if rows.unanswered == len(rows):
            raise RequestError(f"{label}: none of the {len(rows)} rows to train on has {_LABEL[config.task]}")
        return None
    least = config.min_answer_count or usual_min_count(rows)
    return config.vocabulary or build_vocabulary(rows, min_count=least, max_answers=config.max_answers)


def prepare(
    rows: LabelledRows, validation: LabelledRows, vocabulary: AnswerVocabulary | None, config: ScheduleConfig
) -> PreparedTraining:
    """Give each row its targets, and the rows an order.

    Args:
        rows: to train on.
        validation: to validate on.
        vocabulary: the answers to learn; None for captions.
        config: of the order.

    Raises:
        RequestError: no row has targets.
    """
    classes, targets = auxiliary_classes(rows), targets_of(rows, vocabulary)
    schedule = RowSchedule(rows.keys, targets, config, auxiliary_targets(rows, classes))
    return PreparedTraining(rows, validation, vocabulary, classes, targets, schedule)


def targets_of(rows: LabelledRows, vocabulary: AnswerVocabulary | None) -> Targets:
    """Return what is right for each row: answers of the vocabulary; without one, that the row has a caption."""
    return caption_targets(rows) if vocabulary is None else soft_targets(rows, vocabulary)


def vocabulary_note(prepared: PreparedTraining, config: DataConfig) -> str:
    """Describe the vocabulary that was made of the rows; empty where it was given, and for captions."""
    if prepared.vocabulary is None or config.vocabulary is not None:
        return ""
    least = config.min_answer_count or usual_min_count(prepared.rows)
    return learnt_answers(prepared.rows, prepared.vocabulary, least, chosen=config.min_answer_count is None)


def data_notes(
    training: LabelledPart,
    validation: LabelledPart,
    vocabulary: AnswerVocabulary | None,
    given_vocabulary: str | None = None,
) -> tuple[str, ...]:
    """Describe rows that cannot be read or lack a label, and words of the vocabulary that nothing teaches.

    Args:
        training: what is trained on.
        validation: what is validated on.
        vocabulary: the answers to learn; None for captions.
        given_vocabulary: the file that names them; None where they were made of the rows.
    """
    parts, notes = (training, validation), []
    label = "caption" if vocabulary is None else "answer"
    for part in parts:
        if part.rows.failed and part.is_own_input:
            notes.append(
                f"{part.uri}: {counted(part.rows.failed, 'row')} cannot be read, the first: {part.rows.failure}"
            )
        if missing := unlabelled(part.rows, label, part.name_of):
            notes.append(f"{part.uri}: {missing}")
    if vocabulary is None:
        return tuple(notes)
    for part, then in zip(parts, ("are not trained on", "count as wrong"), strict=True):
        if lacking := unmatched(part.rows, vocabulary, then):
            notes.append(f"{part.uri}: {lacking}")
    if given_vocabulary is not None:
        notes += [f"--vocabulary {given_vocabulary}: {note}" for note in unused(training.rows, vocabulary)]
    return tuple(notes)
