"""Adapters act in the fast network, alone they learn, and the merged model answers as they do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers.tiny import ANSWERS, tiny_model
from tests.unit.training.ranks import recorded_gradients, samples
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training.config import LoraConfig, OptimizerConfig
from vqa_ray.training.data.batch import collate
from vqa_ray.training.vqa import lora
from vqa_ray.training.vqa.trainer import VqaTrainer, predictions

GROUPS = collate(samples(8), len(ANSWERS))


def trained(steps: int = 5) -> tuple[Any, VqaTrainer]:
    model, _ = tiny_model()
    adapted = lora.adapt(model, LoraConfig(rank=4), seed=1)
    trainer = VqaTrainer(ViltNetwork(adapted), OptimizerConfig(learning_rate=1e-2), steps + 1, torch.float32)
    for _ in range(steps):
        trainer.train_step(GROUPS)
    return adapted, trainer


def logits(trainer: VqaTrainer) -> torch.Tensor:
    return torch.cat([each for each, _ in predictions(trainer, GROUPS)])


def test_fresh_adapters_change_nothing() -> None:
    plain = VqaTrainer(ViltNetwork(tiny_model()[0]), OptimizerConfig(), 10, torch.float32)
    _, adapted = trained(steps=0)
    assert torch.allclose(logits(plain), logits(adapted), atol=1e-5)


def test_only_adapters_and_the_head_learn() -> None:
    adapted, trainer = trained()
    gradients = recorded_gradients(trainer)
    trainer.train_step(GROUPS)
    names = {name.replace("base_model.model.", "") for name in gradients}
    assert all(".lora_" in name or ".modules_to_save." in name for name in names)
    for part in ("query", "value"):
        for matrix in ("lora_A", "lora_B"):
            for layer in range(3):
                name = f"vilt.encoder.layer.{layer}.attention.attention.{part}.{matrix}.default.weight"
                assert gradients[f"network.model.base_model.model.{name}"].any(), name
    before, _ = tiny_model()
    now = {name.replace(".base_layer", ""): weight for name, weight in adapted.get_base_model().named_parameters()}
    for name, weight in before.vilt.named_parameters():
        assert torch.equal(weight, now[f"vilt.{name}"]), name
    for group in trainer.optimizer.param_groups:
        head = {id(weight) for name, weight in adapted.named_parameters() if "modules_to_save" in name}
        assert len({id(weight) in head for weight in group["params"]}) == 1


def test_the_adapters_act_in_the_network() -> None:
    adapted, trainer = trained()
    with_adapters = logits(trainer)
    with adapted.disable_adapter():
        assert not torch.allclose(logits(trainer), with_adapters, atol=1e-2)


def test_the_merged_model_answers_as_the_adapted_one() -> None:
    adapted, trainer = trained()
    wanted = logits(trainer)
    plain = lora.merged(adapted)
    assert lora.is_adapted(adapted)
    assert not lora.is_adapted(plain)
    assert type(plain).__name__ == "ViltForQuestionAnswering"
    assert plain.state_dict().keys() == tiny_model()[0].state_dict().keys()
    merged = VqaTrainer(ViltNetwork(plain), OptimizerConfig(), 10, torch.float32)
    assert torch.allclose(logits(merged), wanted, atol=1e-4)
    assert torch.equal(logits(trainer), wanted)


def test_the_seed_decides_the_adapters_and_nothing_else_does() -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, second, other = (lora.adapt(tiny_model()[0], LoraConfig(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_only_adapted_projections_leave_the_joined_product(training: bool) -> None:
    """Three products per layer cost more than one: what is not adapted must stay joined."""
    from torch.utils.flop_counter import FlopCounterMode

    counts = {}
    for name, model in (("plain", tiny_model()[0]), ("adapted", trained(0)[0])):
        network = ViltNetwork(model).train(training)
        group = GROUPS[0]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(network.pairs([group]))
        counts[name] = sum(counter.get_flop_counts()["Global"].values())
    assert counts["plain"] < counts["adapted"]
