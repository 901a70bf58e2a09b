"""What one training was and what came of it: the facts that its page and its model card tell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vqa_ray.training.config import CHAT, CONTRASTIVE, VQA, Task
from vqa_ray.training.log import TrainingLog, ValidationRecord

_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/@\s]*@")
_WEB_QUERY = re.compile(r"(https?://[^?\s]*)\?\S*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TaskVocabulary:
    """How what a validation measured is called.

    Attributes:
        measure: the number that is looked at first.
        about: what it and its parts are, the beginning of a sentence.
        parts: heading of the parts.
        part, share, count: headings of their table: which one, its value, of how many.
        whole: the line of the number itself.
    """

    measure: str
    about: str
    parts: str
    part: str
    share: str
    count: str
    whole: str


WORDS: Mapping[Task, TaskVocabulary] = {
    VQA: TaskVocabulary(
        "accuracy", "Official VQA accuracy", "Accuracy by answer type", "answer type", "accuracy", "rows", "all"
    ),
    CONTRASTIVE: TaskVocabulary(
        "mean recall",
        "Recall at 1, 5 and 10, of captions among all images and of images among all captions",
        "Recall by direction",
        "direction@k",
        "recall",
        "queries",
        "mean",
    ),
    CHAT: TaskVocabulary(
        "accuracy", "Accuracy of generated answers", "Accuracy by answer type", "answer type", "accuracy", "rows", "all"
    ),
}


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often which answer was given for which.

    Attributes:
        labels: K answers, the most frequent first.
        counts: int64 (K, K), rows true, columns given; or (K, K + 1), the last column for any other answer given.
    """

    labels: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        size = len(self.labels)
        if self.counts.shape not in ((size, size), (size, size + 1)):
            raise ValueError(f"a confusion of {size} answers has counts of shape {self.counts.shape}")


@dataclass(frozen=True, slots=True)
class Skipped:
    """Rows that were not used.

    Attributes:
        where: in words: "reading", "training, all epochs", "validation".
        reason: an error code, or in words why.
        rows: how many.
    """

    where: str
    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What was learned from.

    Attributes:
        uri: as it was asked for; it is shown without credentials.
        rows, images: trained on; images None when not counted.
        validation: in words, what was validated on; None for nothing.
        validation_rows: how many.
        answers: size of the vocabulary; 0 where captions were learnt.
        skipped: what was not used, by place and reason.
        limit: only so many rows at the beginning of the input were read; None for all.
    """

    uri: str
    rows: int
    answers: int
    images: int | None = None
    validation: str | None = None
    validation_rows: int = 0
    skipped: tuple[Skipped, ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """One finished training.

    Attributes:
        name: of the model: a repository, or the name of its directory; shown in the lines that load it.
        start: what it started from, in words: a checkpoint's reference, or "scratch, 4 layers of 128".
        finished: UTC, ISO 8601.
        command: the words of the exact command.
        recipe: setting → value.
        versions: package → version.
        data: what was learned from.
        log: steps and validations.
        exported_step: the step whose weights were exported; None for the last.
        duration_s: wall time of the training, all its parts added up when it was resumed.
        hardware: in words.
        parameters: of the exported model.
        confusion: of the most frequent answers, in the validation of the exported weights.
        notes: sentences about the way: rows of the head that were kept, an early stop.
        base_model: the hub name of the checkpoint that it started from, where it has one.
        license: as the hub names it, or in words; None when it is not known.
        tags: for the hub.
        adapter: whether adapters alone were exported, which need their base.
        task: what was learnt.
        judgement: sentences on the accuracy, also among `notes`: its interval, the baseline.
        metric: what measured the answers of a chat model.
        architecture: class of transformers of the checkpoint that it started from; None where the task says it.
    """

    name: str
    start: str
    finished: str
    command: Sequence[str]
    recipe: Mapping[str, object]
    versions: Mapping[str, str]
    data: TrainingData
    log: TrainingLog
    exported_step: int | None = None
    duration_s: float = 0.0
    hardware: str | None = None
    parameters: int | None = None
    confusion: Confusion | None = None
    notes: tuple[str, ...] = ()
    base_model: str | None = None
    license: str | None = None
    tags: tuple[str, ...] = field(default=())
    adapter: bool = False
    task: Task = VQA
    judgement: tuple[str, ...] = ()
    metric: str | None = None
    architecture: str | None = None

    @property
    def words(self) -> TaskVocabulary:
        """How its measures are called."""
        words = WORDS[self.task]
        if self.metric is None:
            return words
        is_loss = self.metric == "loss"
        about = "Mean probability of an answer token" if is_loss else f"{self.metric} of generated answers"
        return replace(words, measure="token probability" if is_loss else self.metric, about=about)

    @property
    def loss_unit(self) -> str:
        """What the loss is a mean over."""
        return "answer token" if self.task == CHAT else "row"

    @property
    def step(self) -> int:
        """The step whose weights were exported."""
        return self.log.steps if self.exported_step is None else self.exported_step

    @property
    def exported_validation(self) -> ValidationRecord | None:
        """The validation of the exported weights; None when they were not validated."""
        return next((record for record in self.log.validations if record.step == self.step), None)

    @property
    def command_line(self) -> str:
        """The command as a shell takes it, without user names, passwords and signed queries in its URIs."""
        return " ".join(self.command_words)

    @property
    def command_words(self) -> list[str]:
        """The words of `command_line`."""
        return [shlex.quote(without_credentials(word)) for word in self.command]


def without_credentials(text: object) -> str:
    """`text` without user names and passwords of URIs in it, nor queries of web addresses, which may be signed."""
    return _WEB_QUERY.sub(r"\1", _USER.sub(r"\1", str(text)))
