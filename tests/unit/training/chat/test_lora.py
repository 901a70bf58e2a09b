"""Which weights of a chat model are trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.chat_conversations import pictures, talk
from vqa_ray.training.chat.collate import ChatCollator
from vqa_ray.training.chat.export import merged_weights
from vqa_ray.training.chat.initialise import load_chat
from vqa_ray.training.chat.lora import prepare, projector_parameters, target_pattern
from vqa_ray.training.chat.network import ChatNetwork
from vqa_ray.training.chat.parts import language_model, plain_model
from vqa_ray.training.chat.rendering import ChatRenderer
from vqa_ray.training.config import LoraConfig


def trained(model: Any) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_adapters_lie_on_every_projection_of_the_language_model(
    family: str, directories: Callable[[str], Path]
) -> None:
    model = load_chat(directories(family))
    inner, head = language_model(model), model.get_output_embeddings()
    inside = {id(part) for part in inner.modules()}
    linear = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    wanted = {name for name, part in linear.items() if id(part) in inside and part is not head}
    pattern = re.compile(target_pattern(model))
    assert wanted
    assert {name for name in linear if pattern.fullmatch(name)} == wanted
    adapted = prepare(model, lora=LoraConfig(rank=4))
    assert {name.removeprefix("base_model.model.") for name in trained(adapted)} == {
        f"{name}.lora_{half}.default.weight" for name in wanted for half in "AB"
    }


def test_a_projector_is_trained_whole_and_the_tower_never(family: str, directories: Callable[[str], Path]) -> None:
    model = prepare(load_chat(directories(family)), lora=LoraConfig(rank=4), train_projector=True)
    names = {name for name in trained(model) if "lora_" not in name}
    assert names
    assert all("modules_to_save" in name for name in names)
    assert {id(weight) for weight in projector_parameters(model)} == {
        id(weight) for name, weight in model.named_parameters() if name in names
    }
    plain = prepare(load_chat(directories(family)), lora=None, train_projector=True)
    spoken = {
        id(weight) for part in (language_model(plain), plain.get_output_embeddings()) for weight in part.parameters()
    }
    seen = {id(weight) for weight in projector_parameters(plain)}
    assert {id(weight) for weight in plain.parameters() if weight.requires_grad} == spoken | seen
    assert not any("vision_tower" in name or "vision_model" in name or "qformer" in name for name in trained(plain))


def test_adapters_of_a_frozen_bfloat16_model_are_float32(directories: Callable[[str], Path]) -> None:
    model = prepare(load_chat(directories("qwen2_vl"), torch.bfloat16), lora=LoraConfig(rank=4), train_projector=True)
    kinds = {(weight.requires_grad, weight.dtype) for weight in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    renderer = ChatRenderer.from_directory(directories("qwen2_vl"))
    row = renderer.render(talk("<image>\nwhat is this?", "a red dog"), pictures(1, np.random.default_rng(0)))
    network = ChatNetwork(model).train()
    with torch.autocast("cpu", torch.bfloat16):
        network(ChatCollator(model)([row])).backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


def test_a_seed_decides_the_adapters(directories: Callable[[str], Path]) -> None:
    def first(seed: int) -> torch.Tensor:
        model = prepare(load_chat(directories("llava")), lora=LoraConfig(rank=4), seed=seed)
        return next(weight for name, weight in model.named_parameters() if "lora_A" in name)

    before = torch.random.get_rng_state()
    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_merged_weights_say_what_base_and_adapter_say(family: str, directories: Callable[[str], Path]) -> None:
    base = load_chat(directories(family))
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    model = prepare(base, lora=LoraConfig(rank=4, dropout=0.0), train_projector=True)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                weight.add_(torch.full_like(weight, 0.05 if "lora_B" in name else 0.01))
    collate = ChatCollator(model)
    batch = collate([collate.placeholder()])
    weights = merged_weights(plain_model(model), torch.float32)
    assert weights.keys() == before.keys()
    assert any(not torch.equal(weight, before[name]) for name, weight in weights.items())
    plain = load_chat(directories(family))
    plain.load_state_dict(weights)
    with torch.no_grad():
        wanted = ChatNetwork(model).eval()(batch)
        assert ChatNetwork(plain).eval()(batch).item() == pytest.approx(wanted.item(), abs=1e-4)
