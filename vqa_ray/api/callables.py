"""Callables for anybody's engine: batches of images in, the same batches with answers out.

They run in `ray.data.Dataset.map_batches`, `datasets.Dataset.map(batched=True)`, Spark's `mapInArrow` and
`mapInPandas`, Daft's UDFs, or a plain loop. What they share is described at
`vqa_ray.api.batch_callable.BatchCallable`, their settings at `vqa_ray.api.batch_callable.Settings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.api.batch_callable import BatchCallable, Settings
from vqa_ray.api.checked import (
    TaxonomyLike,
    calibrated_predicate,
    calibrated_taxonomy,
    check_context,
    check_prompt,
    checked_questions,
    checked_top_k,
    taxonomy_of,
)
from vqa_ray.api.endpoint import endpoint_options
from vqa_ray.api.engine import LoadedOptions, Stage
from vqa_ray.api.rows import RowReader
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.predicates.parser import parse
from vqa_ray.predicates.predicate import Algebra
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.stages.embed import EmbedConfig, EmbedStage
from vqa_ray.stages.image_metadata import DescribeImages
from vqa_ray.stages.questions import one_row_per_question
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.stages.usage import with_usage

_OF_DEVICE = ("device", "dtype", "compile")


class Answer(BatchCallable):
    """Answers the questions of a batch, or the same questions about every image.

    The batch gets the columns `answer, answer_score, answers, finish_reason, status, error_code, error_message,
    warning`, and `question` where it has none. With several questions an image, each question gets a row of its own
    (`question_index` counts them) with copies of the batch's columns; `nested=True` keeps one row an image, with the
    list `results`.

    Args:
        model: a hub name, a directory or URI, `bundled:NAME` or `fake:`.
        questions: the questions to ask of every image; None takes the column `question`, or `questions` with a list in
            each row.
        top_k: answers to keep per question, 1 to 100.
        nested: see above.
        prompt_template: see `vqa_ray.load`.
        max_new_tokens: see `vqa_ray.load`.
        num_beams: see `vqa_ray.load`.
        settings: see `vqa_ray.api.batch_callable.Settings`.

    Raises:
        RequestError: an argument is wrong.
    """

    def __init__(
        self,
        model: str,
        questions: str | Sequence[str] | None = None,
        *,
        top_k: int = 5,
        nested: bool = False,
        prompt_template: str | None = None,
        max_new_tokens: int | None = None,
        num_beams: int | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        options = ModelOptions(
            model,
            **_loading(model, settings),
            prompt_template=prompt_template,
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
        )
        super().__init__("answer", options, checked_questions(questions), needs_question=True, **_others(settings))
        self._top_k = checked_top_k(top_k)
        self._nested = nested

    def _open(self, checkpoint: Checkpoint, loaded: LoadedOptions) -> Stage:
        check_context(self._columns, checkpoint)
        boxes = checkpoint.family.has_boxes
        stage = AnswerStage(AnswerConfig(loaded, self._top_k, True, self._nested, boxes))
        form = schema.answer_schema(False, boxes)
        form = with_usage(form) if loaded.reports_usage else form
        return stage if self._nested else UnpackedStage(stage, form)

    def _added(self, columns: pa.Schema, reader: RowReader) -> list[str]:
        needless = set()
        if not reader.has_several_questions:
            needless.add("question_index")
        if not self._questions and not reader.layout.questions:
            needless.add("question")
        return [name for name in columns.names if name not in needless]


class Tag(BatchCallable):
    """Tags the images of a batch: `tags, tag_scores`, for each attribute its choice and score, and the status.

    Args:
        model: see `Answer`.
        taxonomy: path or URI of a `tags.yaml`, its content as a mapping, or a `Taxonomy`; None for the built-in one.
        calibration: path or URI of a calibration file whose thresholds are used.
        prompt_template: see `vqa_ray.load`.
        settings: see `vqa_ray.api.batch_callable.Settings`.

    Raises:
        RequestError: an argument is wrong.
    """

    def __init__(
        self,
        model: str,
        taxonomy: TaxonomyLike = None,
        *,
        calibration: str | None = None,
        prompt_template: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        options = ModelOptions(model, **_loading(model, settings), prompt_template=prompt_template)
        super().__init__("score", options, **_others(settings))
        self._taxonomy = taxonomy_of(taxonomy)
        self._calibration = calibration

    def _open(self, checkpoint: Checkpoint, loaded: LoadedOptions) -> Stage:
        return TagStage(TagConfig(loaded, calibrated_taxonomy(self._taxonomy, self._calibration, checkpoint)))


class Caption(BatchCallable):
    """Describes the images of a batch: `caption, caption_score, finish_reason` and the status.

    Args:
        model: a generative model, see `Answer`.
        prompt: the beginning of each caption; None for the model's own.
        max_new_tokens: see `vqa_ray.load`.
        num_beams: see `vqa_ray.load`.
        settings: see `vqa_ray.api.batch_callable.Settings`.
    """

    def __init__(
        self,
        model: str,
        prompt: str | None = None,
        *,
        max_new_tokens: int | None = None,
        num_beams: int | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        options = ModelOptions(model, **_loading(model, settings), max_new_tokens=max_new_tokens, num_beams=num_beams)
        super().__init__("caption", options, **_others(settings))
        self._prompt = prompt

    def _open(self, checkpoint: Checkpoint, loaded: LoadedOptions) -> Stage:
        check_prompt(self._prompt, checkpoint)
        return CaptionStage(CaptionConfig(loaded, self._prompt, checkpoint.family.has_boxes))


class Embed(BatchCallable):
    """Embeds the images of a batch: `embedding` (unit length), `height, width, sha256` and the status.

    Args:
        model: a dual encoder, see `Answer`.
        thumbnails: add a column `thumbnail` of small JPEGs.
        settings: see `vqa_ray.api.batch_callable.Settings`.
    """

    def __init__(self, model: str, *, thumbnails: bool = False, **settings: Unpack[Settings]) -> None:
        super().__init__("embed", ModelOptions(model, **_loading(model, settings)), **_others(settings))
        self._thumbnails = thumbnails

    def _open(self, checkpoint: Checkpoint, loaded: LoadedOptions) -> Stage:
        return EmbedStage(EmbedConfig(loaded, self._thumbnails))

    def _describe(self) -> DescribeImages:
        return DescribeImages(self._images.limits, thumbnails=self._thumbnails)

    def _added(self, columns: pa.Schema, reader: RowReader) -> list[str]:
        return [name for name in columns.names if self._thumbnails or name != "thumbnail"]


class Retrieve(BatchCallable):
    """Finds the images of a batch that fit an expression of questions: `match, score, scores` and the status.

    Args:
        model: see `Answer`.
        where: questions joined by `and`, `or` and `not`, such as `'"is there a dog?" and not "is it red?"'`.
        threshold: the least score of a match.
        combine: how scores are joined, see `vqa_ray.predicates.predicate.Predicate`.
        calibration: path or URI of a calibration file; scores then are probabilities.
        ask_all: ask every question of every image, also those that cannot change the outcome.
        prompt_template: see `vqa_ray.load`.
        settings: see `vqa_ray.api.batch_callable.Settings`.

    Raises:
        RequestError: an argument is wrong; an expression that does not parse is shown with the place.
    """

    def __init__(
        self,
        model: str,
        where: str,
        *,
        threshold: float = 0.5,
        combine: Algebra = "min-max",
        calibration: str | None = None,
        ask_all: bool = False,
        prompt_template: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        options = ModelOptions(model, **_loading(model, settings), prompt_template=prompt_template)
        super().__init__("score", options, **_others(settings))
        parse(where, threshold, combine)
        self._where, self._threshold, self._combine = where, threshold, combine
        self._calibration, self._ask_all = calibration, ask_all

    def _open(self, checkpoint: Checkpoint, loaded: LoadedOptions) -> Stage:
        predicate = calibrated_predicate(self._where, self._threshold, self._combine, self._calibration, checkpoint)
        return RetrieveStage(RetrieveConfig(loaded, predicate, self._ask_all, checkpoint.family.is_generative))


class UnpackedStage:
    """A stage whose rows hold all questions of an image, with a row for each of them."""

    def __init__(self, stage: Stage, form: pa.Schema) -> None:
        self._stage = stage
        self._form = form

    def __call__(self, table: pa.Table) -> pa.Table:
        return one_row_per_question(self._stage(table), self._form)


def _loading(model: str, settings: Settings) -> dict[str, Any]:
    """Return the settings that say how the model is loaded."""
    allow_http = settings.get("allow_http", False)
    served = endpoint_options(model, settings.get("base_url"), settings.get("endpoint"), allow_http=allow_http)
    return {"endpoint": served} | {name: value for name, value in settings.items() if name in _OF_DEVICE}


def _others(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in (*_OF_DEVICE, "base_url", "endpoint")}
