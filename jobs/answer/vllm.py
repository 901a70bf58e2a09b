"""`vqa-ray answer --engine vllm`: its requirements and its pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from ray.data import Dataset

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.job import Attempt, image_config
from vqa_ray.jobs.runtime.model import recorded_options
from vqa_ray.jobs.spec.images import AnswerSpec
from vqa_ray.models.chat.vllm import VllmOptions, closing_tokens, require_vllm
from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.pipelines.resources import ResourcePlan
from vqa_ray.pipelines.vllm import answer_with_vllm
from vqa_ray.readers import Source

_OPTION = "--engine vllm"
# Images that a row may show where rows bring lists of them; vLLM sets memory aside for so many.
_MOST_IMAGES = 8


def check(spec: AnswerSpec, source: Source, model: Checkpoint) -> None:
    """Refuse what vLLM cannot do.

    Raises:
        RequestError: it cannot, or is not installed.
    """
    gpus = spec.num_gpus or 1
    label = f"{_OPTION}: {model.label}: {model.family.display_name}"
    if not model.family.is_chat:
        raise RequestError(f"{label} is not a chat model, which vLLM is for")
    if not model.family.has_turns:
        raise RequestError(f"{label} has no chat template, which vLLM needs")
    if source.multi_question:
        raise RequestError(f"{_OPTION}: rows bring several questions; wanted one question per row")
    if spec.num_beams is not None:
        raise RequestError(f"{_OPTION}: --num-beams {spec.num_beams}: vLLM takes the likeliest token each time")
    if gpus != int(gpus):
        raise RequestError(f"{_OPTION}: --num-gpus {gpus:g}: an engine of vLLM needs whole GPUs")
    if "://" in spec.model:
        raise RequestError(f"{_OPTION}: model {spec.model}: wanted a directory that every node sees, or a hub name")
    if model.path is not None and adapter_of(model.path) is not None:
        raise RequestError(f"{_OPTION}: model {spec.model} is a LoRA adapter; wanted a whole model, the adapter merged")
    require_vllm()


@dataclass(frozen=True, slots=True)
class VllmPipeline:
    """The pipeline of a spec with vLLM's engine; see `vqa_ray.jobs.runtime.job.Pipeline`."""

    spec: AnswerSpec
    source: Source
    model: Checkpoint

    def build(self, work: Attempt, placement: ResourcePlan) -> Dataset:
        """Build it, lazily."""
        spec, model = self.spec, self.model
        options = VllmOptions(
            max_new_tokens=recorded_options(spec, model, work.record).generation().max_new_tokens,
            gpus=int(spec.num_gpus or 1),
            dtype=spec.dtype,
            images=_MOST_IMAGES if self.source.column_map.images else 1,
            relative_json=model.family_name.startswith("qwen3"),
            closing=closing_tokens(model.path),
        )
        return answer_with_vllm(
            work.tasks,
            image_config(spec, work, model),
            model.pinned,
            options,
            resources=placement,
            boxes=model.family.has_boxes,
            version=work.record.columns_version,
            attempt=work.directory.attempt,
        )
