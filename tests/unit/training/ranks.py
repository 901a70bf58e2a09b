"""What each of two processes does when they train together; results come back as plain arrays."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from tests.helpers.tiny import ANSWERS, random_images, tiny_model
from vqa_ray.errors import RunError
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.data.batch import Group, Sample, collate
from vqa_ray.training.vqa.trainer import VqaTrainer

QUESTIONS = ("what is this?", "is there a dog in the picture?", "what colour is it?")
STEPS = 20
RANKS = 2
AUXILIARY = (3, 2)


@dataclass(frozen=True)
class Outcome:
    """`losses` of each step, `weights` at the end, `gradients` of the first batch, `stopped`: the last error."""

    losses: list[float]
    rows: list[int]
    weights: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    stopped: str


def samples(count: int, seed: int = 0, heads: Sequence[int] = ()) -> list[Sample]:
    """Questions about images of mixed sizes; one attribute in four is unknown."""
    _, tokenizer = tiny_model()
    rng = np.random.default_rng(seed)
    return [
        Sample(
            image,
            tuple(tokenizer(QUESTIONS[i % 3])["input_ids"]),
            {int(rng.integers(len(ANSWERS))): 1.0, int(rng.integers(len(ANSWERS))): 0.3},
            tuple(int(rng.integers(classes)) if rng.random() < 0.75 else -1 for classes in heads),
        )
        for i, image in enumerate(random_images(count, seed))
    ]


def recorded_gradients(trainer: VqaTrainer) -> dict[str, np.ndarray]:
    """Filled by each step with the gradients that the optimiser is given."""
    found: dict[str, np.ndarray] = {}

    def record(*_: object) -> None:
        for name, weight in trainer.module.named_parameters():
            if weight.grad is not None:
                found[name] = weight.grad.numpy().copy()

    trainer.optimizer.register_step_pre_hook(record)
    return found


def rank_rows(step: int, rank: int, ranks: int) -> list[Group]:
    """A rank's rows of the global batch of a step: uneven shares, and at every fifth step none for rank 1."""
    batch = samples(9 + step % 3, seed=step, heads=AUXILIARY)
    first = len(batch) if step % 5 == 1 else 2 + step % 4
    mine = batch if ranks == 1 else (batch[:first], batch[first:])[rank]
    return collate(mine, len(ANSWERS))


def train(rank: int, ranks: int) -> Outcome:
    """A first step for its gradients, then `STEPS` steps, then one whose targets are spoilt on the last rank."""
    config = OptimizerConfig(learning_rate=1e-3, gradient_clip=float("inf"))
    model, _ = tiny_model()
    trainer = VqaTrainer(ViltNetwork(model), config, STEPS, torch.float32, tokens_per_pass=64)
    gradients = recorded_gradients(trainer)
    batch = samples(40)
    mine = batch if ranks == 1 else (batch[:13], batch[13:])[rank]
    trainer.train_step(collate(mine, len(ANSWERS)))
    # What rank 1 begins with must not matter.
    model, _ = tiny_model(seed=rank)
    trainer = VqaTrainer(
        ViltNetwork(model), OptimizerConfig(learning_rate=1e-3), STEPS, torch.float32, auxiliary=AUXILIARY
    )
    done = [trainer.train_step(rank_rows(step, rank, ranks)) for step in range(STEPS)]
    weights = {name: weight.detach().numpy().copy() for name, weight in trainer.module.named_parameters()}
    groups = rank_rows(STEPS + 2, rank, ranks)
    if rank == ranks - 1:
        groups[0].targets[0, 0] = float("nan")
    stopped = ""
    try:
        trainer.train_step(groups)
    except RunError as error:
        stopped = str(error)
    assert all(
        np.array_equal(weights[name], weight.detach().numpy()) for name, weight in trainer.module.named_parameters()
    )
    return Outcome([step.loss for step in done], [step.rows for step in done], weights, gradients, stopped)


def train_together(rank: int, store: Path) -> Outcome:
    """`train` as one of two gloo ranks."""
    torch.set_num_threads(1)
    timeout = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS, timeout=timeout)
    try:
        return train(rank, RANKS)
    finally:
        dist.destroy_process_group()
