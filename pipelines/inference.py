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
    config, resources = _with_further(config, resources)
    if second is not None:
        assert resources.second is not None
        theirs, others = _with_further(second.config, resources.second)
        second, resources = replace(second, config=theirs), replace(resources, second=others)
    return _rows_of_models(TagStage, tasks, images, config, resources, attempt=attempt, second=second)


def _with_further(config: TagConfig, resources: ResourcePlan) -> tuple[TagConfig, ResourcePlan]:
    """Share the further models of a stage, and let its rows wait for them where one is behind an endpoint."""
    further = {name: shared_model(options, resources) for name, options in (config.further or {}).items()}
    if any(options.endpoint is not None for options in further.values()):
        resources = replace(resources, row_timeout_s=0.0)
    return replace(config, further=further), resources


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
    first = partial(stage, _shared(config, resources), attempt)
    opinions = None if second is None else second.opinions
    rows = _rows_of_first(first, config.model, tasks, images, resources, opinions=opinions)
    if second is None:
        return rows
    assert resources.second is not None
    other = partial(stage, _shared(second.config, resources.second), attempt)
    return _asked_again(rows, partial(SecondOpinion, other, second.opinions), second, resources, config.model.cache)


def _rows_of_first(
    make_stage: Callable[[], ModelStage],
    model: ModelOptions,
    tasks: Sequence[ReadShard],
    images: ImageConfig,
    resources: ResourcePlan,
    *,
    opinions: Opinions | None = None,
    embedded: bool = False,
) -> Dataset:
    """Rows of the only model, or with `opinions` those of `FirstOpinion`, which a second model follows."""
    decoded = read_and_decode(tasks, images, resources, carry=opinions is not None, embedded=embedded)
    first = _of_batch(make_stage, model, images)
    if opinions is not None:
        first = partial(FirstOpinion, first, opinions)
    calls = model.concurrent_calls
    return map_on_actor_pool(decoded, first, resources, calls, is_last=opinions is None, cache=model.cache)


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
    teacher = partial(InstructStage, _shared(config, resources), attempt)
    opinions = None if second is None else second.opinions
    written = _rows_of_first(teacher, model, tasks, images, resources, opinions=opinions, embedded=True)
    if second is None:
        return written
    assert resources.second is not None
    verify = partial(VerifyStage, _shared(second.config, resources.second))
    return _asked_again(written, verify, second, resources, model.cache)


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
    assert isinstance(config.model, ModelOptions), "a loaded model does not travel to actors"
    model = shared_model(config.model, resources)
    stage = partial(RetrieveStage, replace(config, model=model), attempt)
    return _rows_of_first(stage, model, tasks, images, resources)


def embed(
    tasks: Sequence[ReadShard], images: ImageConfig, config: EmbedConfig, resources: ResourcePlan, attempt: int
) -> Dataset:
    """Rows of `schema.embedding_schema`: read → fetch → decode → describe → embed."""
    describe = DescribeImages(images.limits, thumbnails=config.thumbnails)
    decoded = read_and_decode(tasks, images, resources, describe)
    return map_on_actor_pool(decoded, partial(EmbedStage, config, attempt), resources)
