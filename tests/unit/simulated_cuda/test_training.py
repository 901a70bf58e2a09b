"""Training steps on a simulated CUDA device: those of the CPU, in few waits, with less memory than a batch wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from tests.helpers.simulated_cuda import SimulatedCuda
from tests.helpers.tiny import ANSWERS, tiny_model
from tests.helpers.tiny_pairs import pairs, tiny_network
from tests.unit.training.ranks import samples
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training.config import LoraConfig, OptimizerConfig
from vqa_ray.training.contrastive.trainer import PairTrainer
from vqa_ray.training.data.batch import Group, collate
from vqa_ray.training.step import Trainer
from vqa_ray.training.vqa.lora import adapt
from vqa_ray.training.vqa.trainer import VqaTrainer, predictions

STEPS = 3
# One number tells a step's loss, rows and norm.
WAITS_PER_STEP = 1


def vqa(device: str, dtype: torch.dtype, **options: Any) -> Trainer:
    network = ViltNetwork(tiny_model()[0]).to(device)
    return VqaTrainer(network, OptimizerConfig(learning_rate=3e-3), 10, dtype, auxiliary=[3], **options)


def lora(device: str, dtype: torch.dtype, **options: Any) -> Trainer:
    network = ViltNetwork(adapt(tiny_model()[0], LoraConfig(rank=4), seed=1)).to(device)
    return VqaTrainer(network, OptimizerConfig(learning_rate=1e-2), 10, dtype, auxiliary=[3], **options)


def contrastive(device: str, dtype: torch.dtype, **options: Any) -> Trainer:
    network = tiny_network().to(device)
    return PairTrainer(network, OptimizerConfig(learning_rate=3e-3), 10, dtype, **options)


def answers() -> list[Group]:
    return collate(samples(12, heads=(3,)), len(ANSWERS))


def captions() -> list[Group]:
    return [pairs(12)]


def pinned(groups: Sequence[Group]) -> list[Group]:
    """As a prefetcher hands them over for CUDA."""
    found = []
    for group in groups:
        tensors = {field.name: getattr(group, field.name) for field in fields(group)}
        found.append(replace(group, **{name: each.pin_memory() for name, each in tensors.items() if each is not None}))
    return found


TASKS: dict[str, tuple[Callable[..., Trainer], Callable[[], list[Group]]]] = {
    "vqa": (vqa, answers),
    "lora": (lora, answers),
    "contrastive": (contrastive, captions),
}


def losses(task: str, device: str, dtype: torch.dtype, **options: Any) -> list[float]:
    make, batch = TASKS[task]
    trainer, groups = make(device, dtype, **options), batch()
    groups = pinned(groups) if device == "cuda" else groups
    return [trainer.train_step(groups).loss for _ in range(STEPS)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("task", TASKS)
def test_steps_are_those_of_the_cpu(task: str, dtype: torch.dtype) -> None:
    with SimulatedCuda():
        found = losses(task, "cuda", dtype)
    assert found == pytest.approx(losses(task, "cpu", dtype), rel=1e-4 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("task", TASKS)
def test_a_step_waits_once(task: str) -> None:
    make, batch = TASKS[task]
    with SimulatedCuda() as device:
        trainer, groups = make("cuda", torch.bfloat16), pinned(batch())
        trainer.train_step(groups)
        with device.counting() as waits:
            trainer.train_step(groups)
    assert sum(waits.values()) <= WAITS_PER_STEP, waits


@pytest.mark.parametrize("task", TASKS)
def test_a_step_that_ran_out_of_memory_is_taken_in_smaller_passes(task: str) -> None:
    make, batch = TASKS[task]
    wanted = losses(task, "cpu", torch.float32)
    with SimulatedCuda(capacity=1 << 30) as device:
        trainer = make("cuda", torch.float32, tokens_per_pass=100_000)
        trainer.train_step(pinned(batch()))
        peak = device.peak
    with SimulatedCuda(capacity=int(0.8 * peak)):
        trainer = make("cuda", torch.float32, tokens_per_pass=100_000)
        found = [trainer.train_step(pinned(batch())).loss for _ in range(STEPS)]
        assert trainer.tokens_per_pass < 100_000
    assert found == pytest.approx(wanted, rel=1e-3)


def test_predictions_are_those_of_the_cpu() -> None:
    def found(device: str) -> Any:
        trainer = vqa(device, torch.float32)
        assert isinstance(trainer, VqaTrainer)
        groups = pinned(answers()) if device == "cuda" else answers()
        return torch.cat([logits for logits, _ in predictions(trainer, groups)])

    with SimulatedCuda():
        ours = found("cuda")
    torch.testing.assert_close(ours, found("cpu"), rtol=1e-4, atol=1e-5)
