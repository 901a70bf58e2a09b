"""What a training learns from, prepared once and kept in its output: rows, answers, the model it begins with."""

from __future__ import annotations

import json
import logging
from functools import partial

from ray.data import DataContext

from vqa_ray.errors import RequestError, RowError
from vqa_ray.jobs.finetune.request import TrainingRequest
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.pipelines.labels import collect_labels
from vqa_ray.pipelines.ray_context import run_context
from vqa_ray.pipelines.training_resources import TrainingResourcePlan
from vqa_ray.stages.read import limits_for, read_tasks
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.filesystem import exists
from vqa_ray.storage.uri import join
from vqa_ray.training.chat.rendering import ChatRenderer
from vqa_ray.training.config import CHAT, VQA
from vqa_ray.training.data.label_notes import row_name
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.prepared import (
    LabelledPart,
    PreparedTraining,
    choose_vocabulary,
    data_notes,
    prepare,
    split_validation,
)
from vqa_ray.training.data.schedule import ScheduleConfig, window_rows
from vqa_ray.training.data.source import TrainingSource
from vqa_ray.training.initial_model import write_initial_model
from vqa_ray.training.stages.extract_labels import ExtractLabels
from vqa_ray.training.start import StartInfo, describe_start

logger = logging.getLogger(__name__)


def check_rendering(request: TrainingRequest) -> None:
    """Check that conversations can be worded for the model, where such are learnt.

    Raises:
        RequestError: its chat template cannot be split into prompts and answers, or no token ends an answer.
    """
    spec, begin = request.spec, request.begin
    if spec.task == CHAT and isinstance(begin, StartInfo):
        checkpoint = Checkpoint.open(request.model, begin.revisions).limited(spec.max_pixels)
        try:
            ChatRenderer.from_checkpoint(checkpoint, max_tokens=spec.max_tokens)
        except RowError as error:
            raise RequestError(f"{checkpoint.label}: its chat template words no conversation: {error}") from error


def prepare_training_data(request: TrainingRequest, plan: TrainingResourcePlan) -> PreparedTraining:
    """Read rows and answers, and write the model to begin with; or load those of an earlier try of the same command.

    Raises:
        RequestError: there is nothing to learn, or nothing to validate on.
    """
    spec, paths, config = request.spec, request.paths, request.data
    assert paths.validation_rows is not None
    # Written last of the three.
    if exists(join(paths.start, "config.json")):
        vocabulary = describe_start(paths.start).vocabulary if spec.task == VQA else None
        rows, validation = LabelledRows.load(paths.rows), LabelledRows.load(paths.validation_rows)
        return _prepared(request, rows, validation, vocabulary)
    rows = _read(request.train, spec.limit, plan)
    given = None if request.validation is None else _read(request.validation, None, plan)
    rows, validation = split_validation(rows, given, config, spec.validation or spec.input)
    prepared = _prepared(request, rows, validation, choose_vocabulary(rows, config, spec.input))
    rows.save(paths.rows)
    validation.save(paths.validation_rows)
    if spec.task == CHAT:
        # Its weights, which may be many, stay where they are; the file says that the rows are complete.
        write_bytes_atomic(join(paths.start, "config.json"), json.dumps({"model": request.model}).encode())
        return prepared
    for note in write_initial_model(paths.start, request.initial_model, prepared.vocabulary, prepared.texts):
        logger.info("%s", note)
    return prepared


def preparation_notes(request: TrainingRequest, prepared: PreparedTraining) -> tuple[str, ...]:
    """Describe rows and words that nothing is learnt from."""
    spec, held_out = request.spec, request.validation or request.train
    training = LabelledPart(spec.input, prepared.rows, partial(row_name, request.train.source))
    validation = LabelledPart(
        spec.validation or f"{spec.input} (validation)",
        prepared.validation,
        partial(row_name, held_out.source),
        is_own_input=spec.validation is not None,
    )
    return data_notes(training, validation, prepared.vocabulary, spec.vocabulary)


def _prepared(
    request: TrainingRequest, rows: LabelledRows, validation: LabelledRows, vocabulary: AnswerVocabulary | None
) -> PreparedTraining:
    spec = request.spec
    window = window_rows(request.train.images, len(rows))
    prepared = prepare(rows, validation, vocabulary, ScheduleConfig(spec.batch_size, spec.seed, window))
    count = len(prepared.schedule)
    if count < spec.workers()[1]:
        raise RequestError(f"--num-workers {spec.num_workers}: more processes than the {count} rows to train on")
    return prepared


def _read(source: TrainingSource, limit: int | None, plan: TrainingResourcePlan) -> LabelledRows:
    limits = None if limit is None else limits_for(source.labels, limit)
    tasks = read_tasks(source.labels, limits=limits)
    with DataContext.current(run_context(plan.rows, None, plan.no_progress_timeout_s)):
        tables = collect_labels(tasks, ExtractLabels(source.for_workers()), plan.rows)
        return LabelledRows.from_tables(tables, source.auxiliary)
