"""What `finetune` is asked, opened and checked before any work: no Ray, no torch."""

from __future__ import annotations

import importlib.metadata
import logging
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.jobs.finetune.spec import SCRATCH, FinetuneSpec
from vqa_ray.jobs.runtime.admission import input_of, now, versions
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.readers import InputConfig, Source
from vqa_ray.readers.changes.recorded_input import INPUT, VALIDATION, earlier_run
from vqa_ray.readers.changes.snapshot import input_place
from vqa_ray.readers.listing import absolute
from vqa_ray.runs.directory import PRIVATE, RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.uri import join
from vqa_ray.training.chat.describe import open_chat
from vqa_ray.training.config import CHAT, CONTRASTIVE, TrainingPaths
from vqa_ray.training.contrastive.shape import ClipShape
from vqa_ray.training.data.prepared import DataConfig
from vqa_ray.training.data.source import (
    TrainingSource,
    open_caption_source,
    open_conversation_source,
    open_training_source,
)
from vqa_ray.training.data.vocabulary import read_vocabulary
from vqa_ray.training.hub import check_push
from vqa_ray.training.initial_model import Beginning, InitialModelConfig
from vqa_ray.training.start import StartInfo, describe_start
from vqa_ray.training.tensorboard import check_tensorboard
from vqa_ray.training.vqa.shape import ViltShape

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """A training that can be begun.

    Attributes:
        spec: as it was given, `push_to_hub` with its namespace.
        record: what the output remembers of it.
        train: what is learnt from.
        validation: what is validated on; None for a part of `train`, or nothing.
        begin: the checkpoint that it starts from, or the shape of a new network.
        vocabulary: the answers to learn where a file names them.
    """

    spec: FinetuneSpec
    record: RunRecord
    train: TrainingSource
    validation: TrainingSource | None
    begin: Beginning
    vocabulary: AnswerVocabulary | None

    @property
    def paths(self) -> TrainingPaths:
        """Where the training reads and writes."""
        spec = self.spec
        root = join(absolute(spec.output), PRIVATE, "training")
        adapter = spec.lora and (spec.task == CHAT or spec.lora_export == "adapter")
        return TrainingPaths.below(root, validates=True, adapter=adapter)

    @property
    def model(self) -> str:
        """The reference of the checkpoint to start from, as other processes find it: absolute, at its commit."""
        spec, begin = self.spec, self.begin
        pinned = begin.pinned if isinstance(begin, StartInfo) else spec.model
        return absolute(spec.model) if Path(spec.model).is_dir() else pinned

    @property
    def data(self) -> DataConfig:
        """What decides how rows become a training."""
        spec = self.spec
        return DataConfig(
            spec.task,
            spec.validation_fraction,
            spec.seed,
            spec.min_answer_count,
            spec.max_answers,
            self.vocabulary,
        )

    @property
    def initial_model(self) -> InitialModelConfig:
        """What decides the model to begin with."""
        return InitialModelConfig(self.begin, self.spec.vocab_size, self.spec.seed)

    def listings(self, layout: RunDirectory) -> dict[str, Source]:
        """Return the inputs by where their files are taken down."""
        found = {layout.listing(INPUT): self.train.source}
        return found | ({layout.listing(VALIDATION): self.validation.source} if self.validation else {})

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the inputs."""
        return (*self.train.source.notes, *(self.validation.source.notes if self.validation else ()))


# The least count of an answer before it followed the number of rows.
_FORMER_LEAST_COUNT = 9


def as_begun(spec: FinetuneSpec) -> FinetuneSpec:
    """Return the spec with the former default of `min_answer_count` where its output was begun with that."""
    try:
        existing = RunRecord.read(RunDirectory(spec.output).record)
    except OSError:
        # Told with the output's name when it is claimed.
        return spec
    if existing is None or spec.min_answer_count is not None:
        return spec
    is_former = existing.command.get("min_answer_count") == _FORMER_LEAST_COUNT
    return spec.model_copy(update={"min_answer_count": _FORMER_LEAST_COUNT}) if is_former else spec


def open_request(spec: FinetuneSpec) -> TrainingRequest:
    """Open and check everything that can be checked without reading rows.

    Raises:
        RequestError: something of it cannot be done.
    """
    _check_extras(spec)
    spec = _with_repository(spec)
    train = _open(spec, spec.input, tuple(spec.auxiliary), INPUT)
    validation = _open(spec, spec.validation, (), VALIDATION) if spec.validation else None
    vocabulary = read_vocabulary(spec.vocabulary, spec.encoding) if spec.vocabulary else None
    begin = _shape(spec) if spec.model == SCRATCH else _start(spec)
    return TrainingRequest(spec, _record(spec, train, validation, begin), train, validation, begin, vocabulary)


def _shape(spec: FinetuneSpec) -> ViltShape | ClipShape:
    """Return the size of a new network."""
    kind: type[ViltShape | ClipShape] = ClipShape if spec.task == CONTRASTIVE else ViltShape
    return kind.from_options(spec.shape)


def _start(spec: FinetuneSpec) -> StartInfo:
    """Look into the checkpoint to start from."""
    if spec.task == CHAT:
        start = open_chat(Checkpoint.open(spec.model).limited(spec.max_pixels))
    else:
        start = describe_start(spec.model, spec.task)
    for note in start.notes:
        logger.info("%s", note)
    return start


def _check_extras(spec: FinetuneSpec) -> None:
    if spec.batch_size < spec.workers()[1]:
        raise RequestError(f"--batch-size {spec.batch_size}: fewer rows per step than --num-workers {spec.num_workers}")
    if spec.tensorboard:
        check_tensorboard()
    if spec.lora and not _installed("peft"):
        raise RequestError(
            f"{'--task chat' if spec.task == CHAT else '--lora'}: the package peft is not installed; "
            "pip install 'vqa-ray[lora]'"
        )


def _with_repository(spec: FinetuneSpec) -> FinetuneSpec:
    """Return the spec with the full name of the repository to upload to, which the hub will take."""
    if spec.push_to_hub is None:
        return spec

    return spec.model_copy(update={"push_to_hub": check_push(spec.push_to_hub)})


def _open(spec: FinetuneSpec, uri: str, auxiliary: tuple[str, ...], name: str) -> TrainingSource:
    questions = () if spec.question is None else (spec.question,)
    config = InputConfig(
        uri=uri,
        format=spec.input_format,
        columns=spec.columns,
        questions=questions,
        image_root=spec.image_root,
        allow_local=tuple(spec.allow_local),
        encoding=spec.encoding,
    )
    if spec.task == CONTRASTIVE:
        return open_caption_source(config, auxiliary, earlier_run(spec.output, name))
    if spec.task == CHAT:
        return open_conversation_source(config, spec.truth, earlier_run(spec.output, name))
    return open_training_source(config, spec.truth, auxiliary, earlier_run(spec.output, name))


def _record(
    spec: FinetuneSpec,
    train: TrainingSource,
    validation: TrainingSource | None,
    begin: Beginning,
) -> RunRecord:
    extra: dict[str, Any] = {"input": input_place(spec.input)}
    if validation:
        extra["validation"] = input_place(validation.source.config.uri)
        extra["validation_fingerprint"] = validation.source.fingerprint
    model: dict[str, Any] = {
        "reference": spec.model,
        "family": begin.family if isinstance(begin, StartInfo) else "clip" if spec.task == CONTRASTIVE else "vilt",
        "fingerprint": begin.fingerprint if isinstance(begin, StartInfo) else SCRATCH,
    }
    return RunRecord(
        run_id=uuid.uuid4().hex[:12],
        job="finetune",
        started=now(),
        command=spec.command() | extra,
        model=model,
        input=input_of(train.source),
        versions=versions(),
    )


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
