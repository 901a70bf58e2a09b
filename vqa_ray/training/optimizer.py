"""AdamW with ViLT's parameter groups, and the learning-rate schedule (dandelin/ViLT `task_finetune_vqa_randaug`)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from vqa_ray.training.config import OptimizerConfig, Schedule

# Names of modules that start fresh.
_HEADS = frozenset({"classifier", "auxiliary"})


def is_fresh(name: str) -> bool:
    """Tell by its name whether a parameter belongs to a head that starts fresh."""
    return not _HEADS.isdisjoint(name.split("."))


def parameter_groups(
    model: nn.Module, config: OptimizerConfig, is_head: Callable[[str], bool] = is_fresh
) -> list[dict[str, object]]:
    """Group encoder and head, each with and without decay; every trainable parameter in exactly one group.

    The module that owns a parameter (norms, biases) and its shape (a scale) decide whether it decays, not its name.

    Args:
        model: with trainable weights.
        config: rates.
        is_head: whether the parameter of a name learns `head_multiplier` times faster.
    """
    undecayed = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, nn.LayerNorm) or name == "bias" or parameter.ndim < 2
    }
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (is_head(name), id(parameter) not in undecayed)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.learning_rate * (config.head_multiplier if head else 1.0),
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (head, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def build_optimizer(
    model: nn.Module, config: OptimizerConfig, is_head: Callable[[str], bool] = is_fresh
) -> torch.optim.AdamW:
    """AdamW over `parameter_groups`, one kernel per group."""
    groups = parameter_groups(model, config, is_head)
    return torch.optim.AdamW(groups, betas=config.betas, eps=config.epsilon, fused=True)


def schedule_factor(step: int, total_steps: int, warmup_fraction: float, schedule: Schedule = "linear") -> float:
    """Return what the learning rate is multiplied by at `step` (0-based): linear warm-up, then down to 0."""
    warmup = max(1, round(total_steps * warmup_fraction))
    if step < warmup:
        return (step + 1) / warmup
    left = max(0.0, (total_steps - step) / max(1, total_steps - warmup))
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2
