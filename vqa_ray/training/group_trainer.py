"""A trainer of networks that see pixels beside short texts: its batches are groups of images of one size."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import torch
from torch import nn

from vqa_ray.training import microbatch
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.data.batch import Group
from vqa_ray.training.step import Trainer


class GroupTrainer(Trainer[Group], abc.ABC):
    """See `Trainer`.

    Args:
        module, config, total_steps, dtype, device, seed, tokens_per_pass: see `Trainer`.
        patch: edge of a patch in pixels.
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
        patch: int,
        tokens_per_pass: int,
    ) -> None:
        super().__init__(module, config, total_steps, dtype, device=device, seed=seed, tokens_per_pass=tokens_per_pass)
        self.patch = patch

    def passes(self, groups: Sequence[Group]) -> list[list[Group]]:
        """See `Trainer`."""
        return microbatch.passes(groups, self.patch, self.tokens_per_pass)

    def tokens(self, part: Sequence[Group]) -> int:
        """See `Trainer`."""
        return sum(microbatch.tokens(group, self.patch) for group in part)

    def rows(self, part: Sequence[Group]) -> int:
        """See `Trainer`."""
        return microbatch.rows(part)

    def to_device(self, group: Group) -> Group:
        """See `Trainer`."""
        return group.to(self.device)
