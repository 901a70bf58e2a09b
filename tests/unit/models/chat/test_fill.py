"""Chat models write objects held to a schema, whether or not their family shares what stands before a question."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.helpers.simulated_cuda import SimulatedCuda
from tests.helpers.tiny_chat import QUESTIONS, random_images, save_tiny_chat
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.protocols import StructuredModel
from vqa_ray.structured.filled import read_object
from vqa_ray.structured.parse import parse_schema

_FIELDS = {
    "colour": {"enum": ["red", "blue", "green"]},
    "pieces": {"type": "integer", "minimum": 0, "maximum": 99},
    "code": {"type": "string", "pattern": "^[a-f]{2}-[0-9]$"},
    "labels": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
}
SCHEMA = parse_schema({"type": "object", "properties": _FIELDS, "required": ["colour", "labels"]}, "s.json")


def load(directory: Path, family: str, device: str = "cpu") -> ChatModel:
    checkpoint = Checkpoint.open(str(save_tiny_chat(directory, family)))
    generation = GenerationConfig(max_new_tokens=150)
    return ChatModel.from_checkpoint(checkpoint, device=device, dtype="float32", generation=generation)


@pytest.mark.parametrize("family", ["qwen2_vl", "smolvlm", "idefics2", "internvl"])
def test_objects_are_those_that_a_model_writes_alone(tmp_path: Path, family: str) -> None:
    model = load(tmp_path, family)
    assert isinstance(model, StructuredModel)
    images = random_images(6)
    prompts = list(itertools.islice(itertools.cycle(QUESTIONS), len(images)))
    together = model.fill(images, prompts, SCHEMA.wire)
    alone = [model.fill([image], [prompt], SCHEMA.wire)[0] for image, prompt in zip(images, prompts, strict=True)]
    assert [each.tokens for each in together] == [each.tokens for each in alone]
    for left, right in zip(together, alone, strict=True):
        assert left.log_probabilities == pytest.approx(right.log_probabilities, abs=1e-4)
        found = read_object(SCHEMA, left)
        assert 0 < found.scores["colour"] <= 1
    assert len({each.text for each in together}) > 1, "the images make no difference"


@pytest.mark.parametrize("family", ["qwen2_vl", "idefics2"])
def test_objects_on_a_device_are_those_of_the_cpu(tmp_path: Path, family: str) -> None:
    images, prompts = random_images(4), list(QUESTIONS[:4])
    host = load(tmp_path, family)
    wanted = host.fill(images, prompts, SCHEMA.wire)
    with SimulatedCuda() as device:
        model = load(tmp_path, family, device="cuda")
        with device.counting() as waits:
            found = model.fill(images, prompts, SCHEMA.wire)
    assert [each.tokens for each in found] == [each.tokens for each in wanted]
    # Once a token that is chosen, whatever the rows; none for the others.
    assert sum(waits.values()) <= max(len(each.tokens) for each in found)
