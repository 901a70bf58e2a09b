"""What a training learns from, gathered once and kept in its output: rows, answers, the network it starts from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from ray.data import DataContext

from vqa_ray.errors import RequestError
from vqa_ray.jobs.finetune.request import TrainingRequest, training_root
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.pipelines.labels import collect_labels
from vqa_ray.pipelines.ray_context import run_context
from vqa_ray.pipelines.training_resources import TrainingResourcePlan
from vqa_ray.stages.read import limits_for, read_tasks
from vqa_ray.storage.filesystem import exists
from vqa_ray.storage.uri import join
from vqa_ray.training.config import CONTRASTIVE, VQA
from vqa_ray.training.data.label_notes import learnt_answers, row_name, unlabelled, unmatched, unused
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.schedule import PlanConfig, RowSchedule, window_rows
from vqa_ray.training.data.source import TrainingSource
from vqa_ray.training.data.targets import Targets, auxiliary_classes, auxiliary_targets, caption_targets, soft_targets
from vqa_ray.training.data.vocabulary import build_vocabulary, usual_min_count
from vqa_ray.training.stages.extract_labels import IndexRows
from vqa_ray.training.start import describe_start

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedTraining:
    """What is learnt.

    Attributes:
        rows: to train on, also those without an answer of the vocabulary.
        validation: to validate on; empty for none.
        vocabulary: the answers, in the order of the logits; None where captions are learnt.
        start: URI of the checkpoint that training starts from, with a head for these answers.
        validation_rows: URI of `validation`.
        classes: of each auxiliary column.
        targets: of `rows`.
        plan: which of them is trained on at which step.
        notes: what a person should know of the way here.
        learnt: a sentence on the vocabulary that was made of the rows; empty where it was given, and for captions.
    """

    rows: LabelledRows
    validation: LabelledRows
    vocabulary: AnswerVocabulary | None
    start: str
    validation_rows: str
    classes: Mapping[str, tuple[str, ...]]
    targets: Targets
    plan: RowSchedule
    notes: tuple[str, ...]
    learnt: str = ""

    @property
    def answers(self) -> int:
        """How many there are to learn; 0 where captions are learnt."""
        return 0 if self.vocabulary is None else len(self.vocabulary.labels)

    @property
    def images(self) -> int:
        """Images among the rows."""
        return len(np.unique(self.rows.image_keys))


def prepare_training_data(request: TrainingRequest, placement: TrainingResourcePlan) -> PreparedTraining:
    """The rows, answers and start of a training; those of an earlier try of the same command where it got so far.

    Raises:
        RequestError: there is nothing to learn, or nothing to validate on.
    """
    root = training_root(request.spec)
    start, rows, validation = join(root, "start"), join(root, "rows.parquet"), join(root, "validation.parquet")
    # Written last of the three.
    if exists(join(start, "config.json")):
        vocabulary = describe_start(start).vocabulary if request.spec.task == VQA else None
        return _lesson(request, LabelledRows.load(rows), LabelledRows.load(validation), vocabulary, root)
    prepared = _lesson(request, *_gathered(request, placement), root)
    prepared.rows.save(rows)
    prepared.validation.save(validation)
    _save_start(request, prepared)
    return prepared


def _lesson(
    request: TrainingRequest,
    rows: LabelledRows,
    validation: LabelledRows,
    vocabulary: AnswerVocabulary | None,
    root: str,
) -> PreparedTraining:
    spec = request.spec
    classes = auxiliary_classes(rows)
    targets = targets_of(rows, vocabulary)
    window = window_rows(request.train.images, len(rows))
    config = PlanConfig(spec.batch_size, spec.seed, window)
    plan = RowSchedule(rows.keys, targets, config, auxiliary_targets(rows, classes))
    if len(plan) < spec.workers()[1]:
        raise RequestError(f"--num-workers {spec.num_workers}: more processes than the {len(plan)} rows to train on")
    start, held_out = join(root, "start"), join(root, "validation.parquet")
    notes = _notes(request, rows, validation, vocabulary)
    return PreparedTraining(
        rows, validation, vocabulary, start, held_out, classes, targets, plan, notes, _learnt(spec, rows, vocabulary)
    )


def _learnt(spec: FinetuneSpec, rows: LabelledRows, vocabulary: AnswerVocabulary | None) -> str:
    if vocabulary is None or spec.vocabulary:
        return ""
    chosen = spec.min_answer_count is None
    return learnt_answers(rows, vocabulary, spec.min_answer_count or usual_min_count(rows), chosen=chosen)


def targets_of(rows: LabelledRows, vocabulary: AnswerVocabulary | None) -> Targets:
    """What is right for each row: answers of the vocabulary, or without one that it has a caption."""
    return caption_targets(rows) if vocabulary is None else soft_targets(rows, vocabulary)


def _notes(
    request: TrainingRequest, rows: LabelledRows, validation: LabelledRows, vocabulary: AnswerVocabulary | None
) -> tuple[str, ...]:
    spec, held_out, notes = request.spec, request.validation or request.train, []
    held_out_uri = spec.validation or f"{spec.input} (validation)"
    what = "answer" if spec.task == VQA else "caption"
    parts = ((spec.input, rows, request.train), (held_out_uri, validation, held_out))
    for uri, labelled, source in parts:
        # The rows to validate on were read with the others where they are a part of them.
        if labelled.failed and (labelled is rows or spec.validation):
            notes.append(f"{uri}: {labelled.failed} rows cannot be read, the first: {labelled.failure}")
        if missing := unlabelled(labelled, what, partial(row_name, source.source)):
            notes.append(f"{uri}: {missing}")
    if vocabulary is None:
        return tuple(notes)
    for (uri, labelled, _), then in zip(parts, ("are not trained on", "count as wrong"), strict=True):
        if lacking := unmatched(labelled, vocabulary, then):
            notes.append(f"{uri}: {lacking}")
    if spec.vocabulary:
        notes += [f"--vocabulary {spec.vocabulary}: {note}" for note in unused(rows, vocabulary)]
    return tuple(notes)


def _gathered(
    request: TrainingRequest, placement: TrainingResourcePlan
) -> tuple[LabelledRows, LabelledRows, AnswerVocabulary | None]:
    spec = request.spec
    rows = _rows(request.train, spec.limit, placement)
    if request.validation is not None:
        validation = _rows(request.validation, None, placement)
    else:
        rows, validation = rows.split(spec.validation_fraction, spec.seed)
    if validation.unanswered == len(validation) and (request.validation is not None or spec.validation_fraction > 0):
        what = "answers" if spec.task == VQA else "captions"
        raise RequestError(f"{spec.validation or spec.input}: no rows with {what} to validate on")
    if spec.task == CONTRASTIVE:
        if rows.unanswered == len(rows):
            raise RequestError(f"{spec.input}: none of the {len(rows)} rows to train on has a caption")
        return rows, validation, None
    least = spec.min_answer_count or usual_min_count(rows)
    vocabulary = request.vocabulary or build_vocabulary(rows, min_count=least, max_answers=spec.max_answers)
    return rows, validation, vocabulary


def _rows(source: TrainingSource, limit: int | None, placement: TrainingResourcePlan) -> LabelledRows:
    limits = None if limit is None else limits_for(source.labels, limit)
    tasks = read_tasks(source.labels, limits=limits)
    context = run_context(placement.rows, None, placement.no_progress_timeout_s)
    with DataContext.current(context):
        return LabelledRows.from_tables(
            collect_labels(tasks, IndexRows(source.for_workers()), placement.rows), source.auxiliary
        )


def _save_start(request: TrainingRequest, prepared: PreparedTraining) -> None:
    if prepared.vocabulary is None:
        _save_pair_start(request, prepared)
        return
    from vqa_ray.training.vqa.export import export
    from vqa_ray.training.vqa.initialise import start_from, start_from_scratch
    from vqa_ray.training.vqa.shape import ViltShape

    spec = request.spec
    if request.shape is None:
        made = start_from(spec.model, prepared.vocabulary, seed=spec.seed)
    else:
        questions = prepared.rows.questions.to_pylist()
        shape = ViltShape(**request.shape)
        made = start_from_scratch(shape, questions, prepared.vocabulary, vocab_size=spec.vocab_size, seed=spec.seed)
    for note in made.notes:
        logger.info("%s", note)
    export(prepared.start, made.model, made.tokenizer, made.transform)


def _save_pair_start(request: TrainingRequest, prepared: PreparedTraining) -> None:
    from vqa_ray.training.contrastive.export import export_pairs
    from vqa_ray.training.contrastive.initialise import start_pairs_from, start_pairs_from_scratch
    from vqa_ray.training.contrastive.shape import ClipShape

    spec = request.spec
    if request.shape is None:
        made = start_pairs_from(spec.model)
    else:
        captions = prepared.rows.answers.flatten().to_pylist()
        made = start_pairs_from_scratch(
            ClipShape(**request.shape), captions, vocab_size=spec.vocab_size, seed=spec.seed
        )
    for note in made.notes:
        logger.info("%s", note)
    export_pairs(prepared.start, made)


def training_recipe(spec: FinetuneSpec) -> Mapping[str, object]:
    """The settings of a training that its report names."""
    names = (
        "task",
        "epochs",
        "batch_size",
        "learning_rate",
        "head_multiplier",
        "weight_decay",
        "warmup_fraction",
        "gradient_clip",
        "dropout",
        "augment",
        "augment_operations",
        "augment_magnitude",
        "seed",
        "dtype",
        "lora",
        "auxiliary",
        "shape",
    )
    told: dict[str, object] = {}
    for name in names:
        value = getattr(spec, name)
        if value is None or value is False or value in ([], {}) or (spec.augment == "none" and "augment_" in name):
            continue
        if name == "head_multiplier" and spec.task == CONTRASTIVE and not spec.auxiliary:
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        told[name] = ", ".join(value) if isinstance(value, list) else value
    return told
