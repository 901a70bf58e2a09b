"""The model of a job, checked against the job's options."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, TypeAlias

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.answer_cache import cache_of
from vqa_ray.jobs.runtime.cluster.connect import given_address
from vqa_ray.jobs.runtime.endpoint import endpoint_of
from vqa_ray.jobs.runtime.progress import announce_when_slow
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.field import Spec
from vqa_ray.jobs.spec.groups import EngineGroup, GenerationGroup
from vqa_ray.jobs.spec.images import AnswerSpec, CaptionSpec, RetrieveSpec, TagSpec
from vqa_ray.jobs.spec.instruct import InstructSpec
from vqa_ray.models.chat.vllm_options import gpus_per_engine, parse_engine_options
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import UNRECORDED_ANSWER_TOKENS, UNRECORDED_CAPTION_TOKENS
from vqa_ray.models.generation.prompts import prompting
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.named_device import named_device
from vqa_ray.models.registry import Task
from vqa_ray.runs.record import RunRecord

logger = logging.getLogger(__name__)

_MAX_NEW_TOKENS = "max_new_tokens"
Generating: TypeAlias = AnswerSpec | CaptionSpec | InstructSpec


def open_model(spec: RunSpec, task: Task) -> Checkpoint:
    """Open the model of a spec.

    Raises:
        RequestError: the family cannot do what the job needs, or does not take an option that was given.
    """
    # Of the nodes of a cluster this process knows nothing; loading torch to learn that there is a CPU takes seconds.
    if spec.device not in (None, "cpu") and given_address(spec.address) is None:
        named_device(spec.device)
    with announce_when_slow(f"looking at the model {spec.model}"):
        model = open_checkpoint(spec, spec.model)
    model.family.require(task, spec.model)
    model_options(spec, model).check()
    for note in model.notes:
        logger.info("%s", note)
    if spec.num_gpus is not None and spec.num_gpus > 1 and not model.family.is_generative:
        raise RequestError(
            f"--num-gpus {spec.num_gpus:g}: {model.label}: {model.family.display_name} is never spread over several "
            "GPUs; wanted at most 1"
        )
    return model


def open_checkpoint(spec: Spec, reference: str) -> Checkpoint:
    """Open a model with the adapter and the bound of images of a spec."""
    if not isinstance(spec, EngineGroup):
        return Checkpoint.open(reference)
    return Checkpoint.open(reference, lora=spec.lora).limited(spec.max_pixels)


def model_options(spec: RunSpec, model: Checkpoint) -> ModelOptions:
    """Take the options of loading and prompting a model out of a spec."""
    return ModelOptions.of(
        model,
        device=spec.device,
        dtype=spec.dtype,
        compile=spec.compile,
        prompt_template=spec.prompt_template if isinstance(spec, AnswerSpec | TagSpec | RetrieveSpec) else None,
        max_new_tokens=spec.max_new_tokens if isinstance(spec, GenerationGroup) else None,
        num_beams=spec.num_beams if isinstance(spec, GenerationGroup) else None,
        endpoint=endpoint_of(spec),
        cache=cache_of(spec),
        **engine_of(spec),
    )


def engine_of(spec: Spec) -> dict[str, Any]:
    """Take the engine, its options and the bound of images out of a spec, as fields of `ModelOptions`.

    Raises:
        RequestError: an option that the engine does not have, or that only the other engine takes.
    """
    if not isinstance(spec, EngineGroup):
        return {}
    if spec.engine == "transformers":
        if spec.engine_option:
            raise RequestError(f"--engine-option {spec.engine_option[0]}: only with --engine vllm")
        return {"max_pixels": spec.max_pixels}
    options = parse_engine_options(spec.engine_option)
    gpus = gpus_per_engine(options, getattr(spec, "num_gpus", None))
    if gpus and gpus > 1:
        options.setdefault("tensor_parallel_size", int(gpus) // int(options.get("pipeline_parallel_size", 1)))
    return {"engine": spec.engine, "engine_options": options, "max_pixels": spec.max_pixels}


def gpus_per_actor(spec: RunSpec) -> float | None:
    """Return the GPUs of an actor: the user's number, or what an engine of vLLM takes; None for the default."""
    if not isinstance(spec, EngineGroup) or spec.engine == "transformers":
        return spec.num_gpus
    return gpus_per_engine(parse_engine_options(spec.engine_option), spec.num_gpus)


def record_length(record: RunRecord, spec: Generating, model: Checkpoint) -> RunRecord:
    """Add the limit of new tokens to a record, so that a run keeps it when a later default differs."""
    if not model.family.is_generative:
        return record
    generation = model_options(spec, model).generation()
    limit = generation.caption_max_new_tokens if isinstance(spec, CaptionSpec) else generation.max_new_tokens
    return replace(record, model={**record.model, _MAX_NEW_TOKENS: limit})


def recorded_options(spec: Generating, model: Checkpoint, record: RunRecord) -> ModelOptions:
    """Take the options of a spec, with the limit of new tokens that its run began with."""
    options = model_options(spec, model)
    if not model.family.is_generative or spec.max_new_tokens is not None:
        return options
    limit = record.model.get(_MAX_NEW_TOKENS)
    if limit is None:
        style = prompting(options.prompt_template or model.family.template)
        answer = style.max_new_tokens or UNRECORDED_ANSWER_TOKENS
        limit = UNRECORDED_CAPTION_TOKENS if isinstance(spec, CaptionSpec) else answer
    return replace(options, max_new_tokens=limit)
