"""Images → rows of a model's output: one lazy pipeline per command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from ray.data import Dataset

from vqa_ray.cache.answer_cache import AnswerCache
from vqa_ray.models.load import ModelOptions
from vqa_ray.pipelines.actor_pool import map_on_actor_pool
from vqa_ray.pipelines.meter import shared_model
from vqa_ray.pipelines.read_images import ImageConfig, decode, in_full_blocks, read_and_decode
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.stages.embed import EmbedConfig, EmbedStage
from vqa_ray.stages.fill import FillConfig, FillStage
from vqa_ray.stages.first_opinion import FirstOpinion
from vqa_ray.stages.image_metadata import DescribeImages
from vqa_ray.stages.instruct import InstructConfig, InstructStage
from vqa_ray.stages.model_actor import ModelStage
from vqa_ray.stages.opinions import Opinions
from vqa_ray.stages.read import ReadShard
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.stages.row_of_batch import RowsOfBatch
from vqa_ray.stages.second_opinion import SecondModelActor, SecondOpinion
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.stages.verify import VerifyConfig, VerifyStage

C = TypeVar("C", AnswerConfig, FillConfig, TagConfig, CaptionConfig, InstructConfig, VerifyConfig)


@dataclass(frozen=True, slots=True)
class SecondModel(Generic[C]):
    """The second model of a pipeline.

    Attributes:
        config: of its stage, which is of the same kind as the first one's.
        images: how images are decoded for it.
        opinions: when it is asked, and how two outcomes become one.
    """

    config: C
    images: ImageConfig
    opinions: Opinions


def answer(
    tasks: Sequence[ReadShard],
    images: ImageConfig,
    config: AnswerConfig,
    resources: ResourcePlan,
    attempt: int,
    *,
    second: SecondModel[AnswerConfig] | None = None,
) -> Dataset:
    """ANSWER or ANSWERS rows, or packed ones that `write` unpacks: read → fetch → decode → answer."""
    return _rows_of_models(AnswerStage, tasks, images, config, resources, attempt=attempt, second=second)


def fill(
    tasks: Sequence[ReadShard], images: ImageConfig, config: FillConfig, resources: ResourcePlan, attempt: int
) -> Dataset:
    """Rows of `ObjectSchema.form`: read → fetch → decode → fill."""
    return _rows_of_models(FillStage, tasks, images, config, resources, attempt=attempt, second=None)


def tag(
    tasks: Sequence[ReadShard],
    images: ImageConfig,
    config: TagConfig,
    resources: ResourcePlan,
    attempt: int,
    *,
    second: SecondModel[TagConfig] | None = None,
) -> Dataset:
    """TAG rows: read → fetch → decode → tag."""
    further = {name: shared_model(options, resources) for name, options in (config.further or {}).items()}
    config = replace(config, further=further)
    if any(options.endpoint is not None for options in further.values()):
        resources = replace(resources, row_timeout_s=0.0)
    return _rows_of_models(TagStage, tasks, images, config, resources, attempt=attempt, second=second)


def caption(
    tasks: Sequence[ReadShard],
    images: ImageConfig,
    config: CaptionConfig,
    resources: ResourcePlan,
    attempt: int,
    *,
    second: SecondModel[CaptionConfig] | None = None,
) -> Dataset:
    """CAPTION rows: read → fetch → decode → caption."""
    return _rows_of_models(CaptionStage, tasks, images, config, resources, attempt=attempt, second=second)


def _rows_of_models(
    stage: Callable[[C, int], ModelStage],
    tasks: Sequence[ReadShard],
    images: ImageConfig,
    config: C,
    resources: ResourcePlan,
    *,
    attempt: int,
    second: SecondModel[C] | None,
) -> Dataset:
    """Rows of one model; or of two: … → first model → decode again what it is unsure of → second model."""
    if second is not None and (config.model.reports_usage or second.config.model.reports_usage):
        config = replace(config, model=replace(config.model, is_beside_endpoint=True))
        beside = replace(second.config, model=replace(second.config.model, is_beside_endpoint=True))
        second = replace(second, config=beside)
    decoded = read_and_decode(tasks, images, resources, carry=second is not None)
    first = _of_batch(partial(stage, _shared(config, resources), attempt), config.model, images)
    calls, cache = config.model.concurrent_calls, config.model.cache
    if second is None:
        return map_on_actor_pool(decoded, first, resources, calls, cache=cache)
    assert resources.second is not None
    doubting = partial(FirstOpinion, first, second.opinions)
    unsure = map_on_actor_pool(decoded, doubting, resources, calls, is_last=False, cache=cache)
    other = partial(stage, _shared(second.config, resources.second), attempt)
    return _asked_again(unsure, partial(SecondOpinion, other, second.opinions), second, resources, cache)


def _asked_again(
    unsure: Dataset,
    make_stage: Callable[[], ModelStage],
    second: SecondModel[C],
    resources: ResourcePlan,
    cache: AnswerCache | None,
) -> Dataset:
    """Rows of `FirstOpinion`, decoded again for the second model → its stage."""
    assert resources.second is not None
    again = in_full_blocks(decode(unsure, second.images, resources.second), resources.second)
    calls = second.config.model.concurrent_calls
    return map_on_actor_pool(again, make_stage, resources.second, calls, SecondModelActor, cache=cache)


def instruct(
    tasks: Sequence[ReadShard],
    images: ImageConfig,
    config: InstructConfig,
    resources: ResourcePlan,
    attempt: int,
    *,
    second: SecondModel[VerifyConfig] | None = None,
) -> Dataset:
    """Packed rows of `instruct_schema`: read → fetch → decode → teacher → with a second model, decode → verify."""
    model = config.model
    if second is not None:
        beside = model.reports_usage or second.config.model.reports_usage
        model = replace(model, is_beside_endpoint=beside)
    config = replace(config, model=model)
    calls, cache = model.concurrent_calls, model.cache
    decoded = read_and_decode(tasks, images, resources, carry=second is not None, embedded=True)
    first = _of_batch(partial(InstructStage, _shared(config, resources), attempt), model, images)
    if second is None:
        return map_on_actor_pool(decoded, first, resources, calls, cache=cache)
    assert resources.second is not None
    doubting = partial(FirstOpinion, first, second.opinions)
    written = map_on_actor_pool(decoded, doubting, resources, calls, is_last=False, cache=cache)
    verify = partial(VerifyStage, _shared(second.config, resources.second))
    return _asked_again(written, verify, second, resources, cache)


def _of_batch(
    make_stage: Callable[[], ModelStage], model: ModelOptions, images: ImageConfig
) -> Callable[[], ModelStage]:
    """Let a stage ask row by row where its endpoint is asked by batch."""
    if model.endpoint is None or model.endpoint.results is None:
        return make_stage
    run = images.run_id.rpartition("-")[0]
    return partial(RowsOfBatch, make_stage, run, writes=not model.endpoint.results)


def _shared(config: C, resources: ResourcePlan) -> C:
    return replace(config, model=shared_model(config.model, resources))


def retrieve(
    tasks: Sequence[ReadShard], images: ImageConfig, config: RetrieveConfig, resources: ResourcePlan, attempt: int
) -> Dataset:
    """RETRIEVE rows: read → fetch → decode → retrieve."""
    decoded = read_and_decode(tasks, images, resources)
    assert isinstance(config.model, ModelOptions), "a loaded model does not travel to actors"
    model = shared_model(config.model, resources)
    make_stage = _of_batch(partial(RetrieveStage, replace(config, model=model), attempt), model, images)
    return map_on_actor_pool(decoded, make_stage, resources, model.concurrent_calls, cache=model.cache)


def embed(
    tasks: Sequence[ReadShard], images: ImageConfig, config: EmbedConfig, resources: ResourcePlan, attempt: int
) -> Dataset:
    """Rows of `schema.embedding_schema`: read → fetch → decode → describe → embed."""
    describe = DescribeImages(images.limits, thumbnails=config.thumbnails)
    decoded = read_and_decode(tasks, images, resources, describe)
    return map_on_actor_pool(decoded, partial(EmbedStage, config, attempt), resources)
