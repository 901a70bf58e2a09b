"""The training loop in plain torch: a step is forward, backward, update."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vqa_ray.errors import RunError
from vqa_ray.models.vilt_network import ViltNetwork
from vqa_ray.training.batch import Group
from vqa_ray.training.optimizer import OptimizerConfig, build_optimizer, build_schedule


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimiser step. `loss` is the mean per sample, `seconds` the wall time since training began."""

    step: int
    loss: float
    learning_rate: float
    samples: int
    seconds: float


def vqa_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy summed over labels and samples (ViLT: mean over the batch times the number of labels).

    Args:
        logits: (N, A). targets: float32 (N, A) in 0–1.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum")


class Trainer:
    """Network, optimiser and schedule, advanced one batch at a time.

    Args:
        network: with trainable weights, on its device.
        total_steps: the length of the schedule.
        dtype: what matrix products are computed in; float32 turns autocast off.
    """

    def __init__(
        self, network: ViltNetwork, config: OptimizerConfig, total_steps: int, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        self.network = network
        self.config = config
        self.total_steps = total_steps
        self.step = 0
        self.optimizer = build_optimizer(network, config)
        self.schedule = build_schedule(self.optimizer, total_steps, config)
        self._dtype = dtype

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The precision the forward runs in."""
        device = self.network.mean.device.type
        return torch.autocast(device, dtype=self._dtype, enabled=self._dtype != torch.float32)

    def loss(self, group: Group) -> Tensor:
        """The loss of a group on the network's device, summed over its samples."""
        logits = self.network(group.input_ids, group.text_mask, self.network.image_tokens(group.pixels))
        return vqa_loss(logits, group.targets)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on elsewhere: weights, optimiser, schedule, step."""
        return {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step = state["step"]

    def train_step(self, groups: Sequence[Group]) -> tuple[float, int]:
        """One update over all groups together.

        Returns:
            (mean loss per sample, samples).

        Raises:
            RunError: the loss is not finite; the weights are left as they were.
        """
        self.network.train()
        device = self.network.mean.device
        count = sum(len(group.targets) for group in groups)
        total = torch.zeros((), device=device)
        for group in groups:
            moved = group.to(device)
            with self.autocast():
                loss = self.loss(moved) / count
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        if not math.isfinite(float(norm)) or not math.isfinite(float(total)):
            self.optimizer.zero_grad(set_to_none=True)
            raise RunError(
                f"training stopped at step {self.step}: loss {float(total)}, gradient norm {float(norm)}; "
                "lower the learning rate or look for corrupt targets"
            )
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return float(total), count


@torch.no_grad()
def predictions(trainer: Trainer, groups: Iterable[Group]) -> Iterable[tuple[Tensor, Tensor]]:
    """(float32 logits (N, A), targets (N, A)) of each group, on the CPU."""
    trainer.network.eval()
    device = trainer.network.mean.device
    for group in groups:
        moved = group.to(device)
        with trainer.autocast():
            logits = trainer.network(moved.input_ids, moved.text_mask, trainer.network.image_tokens(moved.pixels))
        yield logits.float().cpu(), group.targets


def fit(trainer: Trainer, batches: Iterable[Sequence[Group]], report: Callable[[StepReport], None]) -> None:
    """Train until the schedule ends or the batches do.

    Args:
        batches: one list of groups per step.
        report: called after each step; it may raise to stop.
    """
    started = time.monotonic()
    for groups in batches:
        if trainer.step >= trainer.total_steps:
            return
        rate = float(trainer.schedule.get_last_lr()[0])
        loss, count = trainer.train_step(groups)
        report(StepReport(trainer.step, loss, rate, count, time.monotonic() - started))
