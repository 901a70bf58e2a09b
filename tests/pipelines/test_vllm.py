"""The way through Ray Data's LLM processor: its composition, and rows in = rows out around an engine that is not there.

vLLM needs a GPU; here a stage of the processor's own kind stands in its place.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.llm._internal.batch.processor.base import Processor

from tests.helpers.coloured import parquet_input
from tests.helpers.tiny_chat import save_tiny_chat
from tests.pipelines.fake_llm_engine import FakeStage
from vqa_ray import schema
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.models.chat.vllm import VllmOptions
from vqa_ray.models.transforms.chat import Bounded
from vqa_ray.pipelines import vllm as chat_vllm
from vqa_ray.pipelines.read_images import ImageConfig
from vqa_ray.pipelines.resources import DECODE_CPUS, ResourceRequest, plan_resources
from vqa_ray.readers import InputConfig, open_source
from vqa_ray.stages.read import read_tasks

pytestmark = pytest.mark.usefixtures("local_ray")

IMAGES = ImageConfig(Bounded(), ImageLimits(), fast_decode=False, allow_http=False, run_id="test")
OPTIONS = VllmOptions(max_new_tokens=7, gpus=2)


@pytest.mark.soak  # a minute of imports; tests/unit/stages/test_vllm.py has the rows
@pytest.mark.timeout(600)
def test_every_row_passes_the_engine_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, made = parquet_input(tmp_path / "in", 12), []

    def fake(model: str, options: VllmOptions, placement: Any) -> Processor:
        processor = processor_of(model, options, placement)
        processor.stages.clear()
        processor._append_stage(FakeStage())
        made.append(model)
        return processor

    processor_of = chat_vllm.engine
    monkeypatch.setattr(chat_vllm, "engine", fake)
    directory = save_tiny_chat(tmp_path / "model", "llava")
    tasks = read_tasks(open_source(InputConfig(str(source))))
    rows = chat_vllm.answer_with_vllm(
        tasks,
        IMAGES,
        str(directory),
        OPTIONS,
        resources=plan_resources(4, 0, ResourceRequest(batch_size=4), cores=2),
        boxes=True,
        version=schema.COLUMNS_VERSION,
        attempt=3,
    )
    found = rows.to_pandas()
    assert made == [str(directory)]
    assert list(found.columns) == schema.answer_schema(False, boxes=True).names
    assert len(found) == 12
    assert found["source_key"].is_unique
    assert set(found["attempt"]) == {3}
    ok = found[found["status"] == "ok"]
    assert len(ok)
    assert np.allclose(ok["answer_score"], math.sqrt(0.125))
    for _, row in ok.iterrows():
        assert row["answer"].endswith(f"{row['question']} 7")
        assert row["answer"][0].isdigit()
    errors = found[found["status"] == "error"]
    assert set(errors["error_code"]) <= {"model_error", "image_undecodable"}
    assert all("no dogs" in message for message in errors[errors["error_code"] == "model_error"]["error_message"])


def test_the_processor_is_composed_as_asked(tmp_path: Path) -> None:
    directory = save_tiny_chat(tmp_path / "model", "llava")
    placement = plan_resources(4, 0, ResourceRequest(batch_size=4), cores=2)
    processor = chat_vllm.engine(str(directory), OPTIONS, placement)
    assert processor.list_stage_names() == [
        "PrepareMultimodalStage",
        "ChatTemplateStage",
        "TokenizeStage",
        "vLLMEngineStage",
        "DetokenizeStage",
    ]
    assert processor.get_stage_by_name("PrepareMultimodalStage").map_batches_kwargs["num_cpus"] < DECODE_CPUS
    stage = processor.get_stage_by_name("vLLMEngineStage").fn_constructor_kwargs
    assert stage["model"] == str(directory)
    assert stage["should_continue_on_error"] is True
    assert stage["engine_kwargs"]["tensor_parallel_size"] == 2
    assert stage["engine_kwargs"]["limit_mm_per_prompt"] == {"image": 1}
    assert not stage["engine_kwargs"]["trust_remote_code"]
