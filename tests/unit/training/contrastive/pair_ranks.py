"""What each of two processes does when they train pairs together; results come back as plain arrays."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from tests.helpers.tiny_pairs import AUXILIARY, pairs, rows_of, tiny_network
from tests.unit.training.ranks import RANKS, recorded_gradients
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.contrastive.network import PairNetwork
from vqa_ray.training.contrastive.trainer import PairTrainer
from vqa_ray.training.data.batch import Group

STEPS = 8
CONFIG = OptimizerConfig(learning_rate=1e-3, gradient_clip=float("inf"))


@dataclass(frozen=True)
class Outcome:
    """`losses` and `rows` of each step, `weights` at the end, `gradients` of the first batch in one pass, `cut` in
    several."""

    losses: list[float]
    rows: list[int]
    weights: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    cut: dict[str, np.ndarray]


def share(group: Group, step: int, rank: int, ranks: int) -> list[Group]:
    """A rank's rows of a global batch: uneven shares, and at every fourth step none for rank 1."""
    count = len(group.targets)
    first = count if step % 4 == 1 else 2 + step % 3
    mine = range(count) if ranks == 1 else (range(first), range(first, count))[rank]
    return [rows_of(group, mine)] if len(mine) else []


def network(seed: int) -> PairNetwork:
    """A tiny one with auxiliary heads."""
    return tiny_network(seed, auxiliary=AUXILIARY)


def train(rank: int, ranks: int) -> Outcome:
    """A first step for its gradients, the same in small passes, then `STEPS` steps."""
    found = []
    for tokens in (100_000, 90):
        trainer = PairTrainer(network(0), CONFIG, STEPS, torch.float32, tokens_per_pass=tokens)
        found.append(recorded_gradients(trainer))
        trainer.train_step(share(pairs(14, with_classes=True), 0, rank, ranks))
    # What rank 1 begins with must not matter; some steps are in one pass on one rank and in several on the other.
    trainer = PairTrainer(network(rank), CONFIG, STEPS, torch.float32, tokens_per_pass=150)
    batches = (pairs(9 + step % 3, step, with_classes=True) for step in range(STEPS))
    done = [trainer.train_step(share(batch, step, rank, ranks)) for step, batch in enumerate(batches)]
    weights = {name: weight.detach().numpy().copy() for name, weight in trainer.module.named_parameters()}
    return Outcome([step.loss for step in done], [step.rows for step in done], weights, *found)


def train_together(rank: int, store: Path) -> Outcome:
    """`train` as one of two gloo ranks."""
    torch.set_num_threads(1)
    timeout = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS, timeout=timeout)
    try:
        return train(rank, RANKS)
    finally:
        dist.destroy_process_group()
