"""Questions about images → answers of a chat model that vLLM serves, through Ray Data's own LLM processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ray.data import Dataset

from vqa_ray.models.chat.vllm import VllmOptions, model_source
from vqa_ray.pipelines.read_images import ImageConfig, read_and_decode
from vqa_ray.pipelines.resources import DECODE_CPUS, ResourcePlan
from vqa_ray.stages.read import ReadShard
from vqa_ray.stages.vllm import VllmAnswers, VllmRequests


def answer_with_vllm(
    tasks: Sequence[ReadShard],
    images: ImageConfig,
    model: str,
    options: VllmOptions,
    *,
    placement: ResourcePlan,
    boxes: bool,
    version: int,
    attempt: int,
) -> Dataset:
    """ANSWER rows, lazily: read → fetch → decode → ask → vLLM → answer. Rows bring one question each.

    Args:
        tasks, images, placement, attempt: see `vqa_ray.pipelines.inference.answer`.
        model: a directory that every node sees, or a hub name.
        options: how vLLM runs it; `require_vllm` says whether it can.
        boxes: whether `boxes` are written.
        version: of the columns.
    """
    decoded = read_and_decode(tasks, images, placement)
    asked = decoded.map_batches(
        VllmRequests(options.max_new_tokens),
        batch_size=placement.rows_per_block,
        batch_format="pyarrow",
        num_cpus=DECODE_CPUS,
        udf_modifying_row_count=False,
    )
    generated = engine(model, options, placement)(asked)
    answers = generated.map_batches(
        VllmAnswers(options, boxes=boxes, version=version, attempt=attempt),
        batch_size=placement.batch_size,
        batch_format="numpy",
        num_cpus=DECODE_CPUS,
        udf_modifying_row_count=False,
    )
    return cast("Dataset", answers)


def engine(model: str, options: VllmOptions, placement: ResourcePlan) -> Any:
    """Ray Data's processor: Dataset with `messages` and `sampling_params` → Dataset with what vLLM generated.

    A row on which the engine fails comes back with the reason and stops nothing.
    """
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    source, more = model_source(model)
    config = vLLMEngineProcessorConfig(
        model_source=source,
        engine_kwargs=options.engine_kwargs() | more,
        batch_size=placement.batch_size,
        concurrency=(placement.min_actors, placement.max_actors),
        should_continue_on_error=True,
        prepare_multimodal_stage={
            "enabled": True,
            # The template sees images as parts of a message, as it does in transformers.
            "chat_template_content_format": "openai",
            # Other than decoding's, or Ray Data would fuse decoding into this small pool of actors.
            "num_cpus": DECODE_CPUS / 2,
        },
        chat_template_stage=True,
        tokenize_stage=True,
        detokenize_stage=True,
    )
    return build_processor(config)
