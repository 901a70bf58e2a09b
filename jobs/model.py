"""The model of a job, checked for what it is asked to do."""

from __future__ import annotations

from jobs.spec import AnswerSpec, CaptionSpec, RetrieveSpec, RunSpec, TagSpec
from vqa_ray.errors import RequestError
from vqa_ray.models.families import Task
from vqa_ray.models.load import ModelInfo, ModelOptions, describe


def model_of(spec: RunSpec, task: Task) -> ModelInfo:
    """What is known of the model of a spec.

    Raises:
        RequestError: the family cannot do what the job needs, or knows nothing of an option that was given.
    """
    info = describe(spec.model)
    info.kind.require(task, spec.model)
    options_of(spec).check(info.kind)
    if spec.num_gpus is not None and spec.num_gpus > 1 and not info.kind.is_generative:
        raise RequestError(
            f"--num-gpus {spec.num_gpus:g}: model {spec.model}: {info.kind.told} is never spread over several GPUs; "
            "wanted at most 1"
        )
    return info


def options_of(spec: RunSpec) -> ModelOptions:
    """How the model of a spec is loaded and asked."""
    return ModelOptions(
        spec.model,
        spec.device,
        spec.dtype,
        spec.compile,
        prompt_template=spec.prompt_template if isinstance(spec, AnswerSpec | TagSpec | RetrieveSpec) else None,
        max_new_tokens=spec.max_new_tokens if isinstance(spec, AnswerSpec | CaptionSpec) else None,
        num_beams=spec.num_beams if isinstance(spec, AnswerSpec | CaptionSpec) else None,
    )
