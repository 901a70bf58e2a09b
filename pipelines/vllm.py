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
    resources: ResourcePlan,
    boxes: bool,
    version: int,
    attempt: int,
) -> Dataset:
    """ANSWER rows: read → fetch → decode → request → vLLM → answer. Each row brings one question.

    Args:
        tasks: the shards.
        images: how to fetch and decode.
        model: a directory that every node sees, or a hub name.
        options: how vLLM runs it; `require_vllm` checks that it can.
        resources: of the operators.
        boxes: write `boxes`.
        version: of the columns.
        attempt: the number of times these rows have been tried, this one included.
    """
    decoded = read_and_decode(tasks, images, resources)
    asked = decoded.map_batches(
        VllmRequests(options.max_new_tokens),
        batch_size=resources.rows_per_block,
        batch_format="pyarrow",
        num_cpus=DECODE_CPUS,
        udf_modifying_row_count=False,
    )
    generated = engine(model, options, resources)(asked)
    answers = generated.map_batches(
        VllmAnswers(options, boxes=boxes, version=version, attempt=attempt),
        batch_size=resources.batch_size,
        batch_format="numpy",
        num_cpus=DECODE_CPUS,
        udf_modifying_row_count=False,
    )
    return cast("Dataset", answers)


def engine(model: str, options: VllmOptions, resources: ResourcePlan) -> Any:
    """Build Ray Data's processor: Dataset with `messages` and `sampling_params` → Dataset with vLLM's output.

    A row on which the engine fails comes back with the reason; the run goes on.
    """
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    source, more = model_source(model)
    config = vLLMEngineProcessorConfig(
        model_source=source,
        engine_kwargs=options.engine_kwargs() | more,
        batch_size=resources.batch_size,
        concurrency=(resources.min_actors, resources.max_actors),
        should_continue_on_error=True,
        prepare_multimodal_stage={
            "enabled": True,
            # The template sees images as parts of a message, as in transformers.
            "chat_template_content_format": "openai",
            # Different from decoding's, or Ray Data would fuse decoding into this small pool of actors.
            "num_cpus": DECODE_CPUS / 2,
        },
        chat_template_stage=True,
        tokenize_stage=True,
        detokenize_stage=True,
    )
    return build_processor(config)
