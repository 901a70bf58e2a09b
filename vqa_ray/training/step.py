"""A training step in plain torch, whatever is learnt: forward, backward, update, alone or together with other ranks."""

from __future__ import annotations

import abc
import contextlib
import logging
import math
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vqa_ray.errors import RunError
from vqa_ray.training import distributed
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.optimizer import build_optimizer, is_fresh, schedule_factor

logger = logging.getLogger(__name__)

G = TypeVar("G")


class Step(NamedTuple):
    """What a step did; equal on all ranks.

    Attributes:
        loss: mean per unit of weight (see `Trainer.weight`) of the global batch; 0 when it had no rows.
        rows: of the global batch.
        gradient_norm: before clipping.
        learning_rate: of the encoder, as it was used.
    """

    loss: float
    rows: int
    gradient_norm: float
    learning_rate: float


class DivergedError(RunError):
    """The loss or its gradient is not finite, which all ranks see alike; another try would end in the same way."""


class Trainer(abc.ABC, Generic[G]):
    """A module and its optimiser, advanced one global batch at a time; what derives from it decides what is learnt.

    With an initialised `torch.distributed` process group of several ranks, each gives `train_step` its rows of the
    global batch, as groups of the type `G`, and all of them take the same step: gradients are summed over the ranks and
    divided by the weight of the whole batch, so that it does not matter which rank had which rows. All ranks must call
    `train_step` equally often, without rows too.

    Args:
        module: with trainable weights, on its device.
        total_steps: the length of the schedule.
        dtype: what matrix products are computed in; float32 turns autocast off.
        seed: of dropout.
        tokens_per_pass: larger groups are cut. Halved when memory does not suffice.
    """

    def __init__(
        self,
        module: nn.Module,
        config: OptimizerConfig,
        total_steps: int,
        dtype: torch.dtype,
        *,
        device: torch.device,
        seed: int,
        tokens_per_pass: int,
    ) -> None:
        self.module = module
        self.config = config
        self.total_steps = total_steps
        self.step = 0
        self.seed = seed
        self.device = device
        self.optimizer = build_optimizer(self.module, config, self.is_head)
        self.tokens_per_pass = tokens_per_pass
        self._peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self._dtype = dtype
        self._exchanged = False
        self._rank, self._ranks = distributed.world()
        self._replica = distributed.replicate(self.module, self.device)

    @abc.abstractmethod
    def passes(self, groups: Sequence[G]) -> list[list[G]]:
        """Cut the rows of a step into passes of at most `tokens_per_pass`, each of at least one row."""

    @abc.abstractmethod
    def tokens(self, part: Sequence[G]) -> int:
        """Count the tokens of a pass, as `passes` counts them."""

    @abc.abstractmethod
    def rows(self, part: Sequence[G]) -> int:
        """Count the rows of a pass."""

    def is_head(self, name: str) -> bool:
        """Tell by its name whether a parameter of the module learns `head_multiplier` times faster."""
        return is_fresh(name)

    def weight(self, part: Sequence[G]) -> int:
        """Return what the summed loss of a pass is divided by: its rows, unless a task counts otherwise."""
        return self.rows(part)

    @abc.abstractmethod
    def to_device(self, group: G) -> G:
        """Return a group on the device."""

    @abc.abstractmethod
    def begin(self, parts: Sequence[Sequence[G]]) -> Any:
        """Compute what a pass must know of the whole batch; every worker calls it once a try.

        Args:
            parts: the passes of this rank, on the host; none where it has no rows.
        """

    @abc.abstractmethod
    def pass_loss(self, groups: Sequence[G], state: Any, index: int) -> Tensor:
        """Return the loss of a pass, summed over its rows.

        Args:
            groups: on the device.
            state: what `begin` gave.
            index: which of its parts it is.
        """

    @abc.abstractmethod
    def placeholder(self) -> G:
        """One row that teaches nothing, for a rank that has no rows but must take part."""

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the precision the forward runs in."""
        return torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype != torch.float32)

    def learning_rate(self) -> float:
        """Of the encoder, at the coming step."""
        return self.config.learning_rate * self._factor()

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on elsewhere: the weights that are trained, the optimiser, the step."""
        trained = {name: weight.detach() for name, weight in self.module.named_parameters() if weight.requires_grad}
        return {"model": trained, "optimizer": self.optimizer.state_dict(), "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave.

        Raises:
            RunError: it is of a network of other weights.
        """
        trained = {name: weight for name, weight in self.module.named_parameters() if weight.requires_grad}
        saved = state["model"]
        unlike = [
            name
            for name in sorted(trained.keys() | saved.keys())
            if name not in trained or name not in saved or trained[name].shape != saved[name].shape
        ]
        if unlike:
            raise RunError(f"the saved state is of another network: {len(unlike)} weights differ, first {unlike[0]}")
        with torch.no_grad():
            for name, weight in trained.items():
                weight.copy_(saved[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def train_step(self, groups: Sequence[G]) -> Step:
        """One update over the rows of all groups and ranks together; without any row, only the schedule moves on.

        Raises:
            Diverged: the loss or its gradient is not finite, on all ranks alike; the weights are left as they were.
            RunError: memory ran out where the step cannot be repeated.
        """
        self.module.train()
        rate = self.learning_rate()
        sums = distributed.sum_over_ranks(self._backward(groups))
        gradients = [weight.grad for weight in self.module.parameters() if weight.grad is not None]
        # Backward has averaged over the ranks; wanted is the mean over the weight.
        scale = self._ranks / sums[1].clamp(min=1)
        norm = torch.nn.utils.get_total_norm(gradients) * scale
        loss, rows, length = torch.stack([sums[0] * scale / self._ranks, sums[2], norm]).tolist()
        if not math.isfinite(length) or not math.isfinite(loss):
            self.optimizer.zero_grad(set_to_none=True)
            raise DivergedError(
                f"training stopped at step {self.step}: loss {loss}, gradient norm {length}; "
                "lower the learning rate or look for corrupt targets"
            )
        if rows:
            factor = scale * (self.config.gradient_clip / (norm + 1e-6)).clamp(max=1)
            torch._foreach_mul_(gradients, factor.float())
            for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
                group["lr"] = peak * self._factor()
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return Step(loss, int(rows), length, rate)

    def _factor(self) -> float:
        return schedule_factor(self.step, self.total_steps, self.config.warmup_fraction, self.config.schedule)

    def _backward(self, groups: Sequence[G]) -> Tensor:
        """Gradients of the loss summed over rows; (loss, weight, rows) of this rank, float64 on the device.

        Nothing waits for the device.
        """
        while True:
            parts = self.passes(groups)
            state = np.random.SeedSequence([self.seed, self.step, self._rank]).generate_state(1, np.uint64)
            torch.manual_seed(int(state[0]))
            self._exchanged = False
            try:
                return self._run(parts)
            except torch.OutOfMemoryError as error:
                most = max(self.rows(part) for part in parts)
                if self._exchanged or most == 1:
                    raise RunError(
                        f"out of device memory at step {self.step} with {most} rows in a pass; "
                        "lower the batch size, train in bfloat16, or take a larger device"
                    ) from error
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self.tokens_per_pass = max(map(self.tokens, parts)) // 2
            logger.warning("out of memory; going on with %d tokens per pass", self.tokens_per_pass)

    def _run(self, parts: Sequence[Sequence[G]]) -> Tensor:
        rows, weight = sum(map(self.rows, parts)), sum(map(self.weight, parts))
        state = self.begin(parts)
        # Without rows, a pass is made for the others' gradients alone.
        parts = parts or [[self.placeholder()]]
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            moved = [self.to_device(group) for group in part]
            with distributed.exchanging(self._replica, last):
                with self.autocast():
                    loss = self.pass_loss(moved, state, index)
                # What is on its way to other ranks cannot be taken back.
                self._exchanged = self._exchanged or (last and self._ranks > 1)
                (loss if rows else loss * 0.0).backward()  # type: ignore[no-untyped-call]
            total += loss.detach() if rows else 0.0
        return torch.stack([total, torch.full_like(total, weight), torch.full_like(total, rows)])
