"""Adapters by peft, whatever network carries them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from vqa_ray.training.config import LoraConfig


def with_adapters(
    model: Any, config: LoraConfig, *, targets: Sequence[str] | str, whole: Sequence[str], seed: int
) -> Any:
    """Wrap a model of transformers in peft's, its layers replaced.

    Args:
        model: the network.
        config: of the adapters.
        targets: names of the layers that get adapters, or a pattern of them.
        whole: names of the layers that are trained whole.
        seed: of the adapters; the global generator is left as it was.
    """
    import peft

    adapters = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=list(whole) or None,
    )
    with torch.random.fork_rng(devices=[]), older_names():
        torch.manual_seed(seed)
        adapted = peft.get_peft_model(model, adapters)
    made = adapted.peft_config["default"]
    made.base_model_name_or_path, revision = split_reference(config.base)
    made.revision = revision or made.revision
    return adapted


def split_reference(base: str | None) -> tuple[str | None, str]:
    """Return name and revision of `org/name@revision`; anything else as it is."""
    if base is None or not re.fullmatch(r"[\w.-]+/[\w.-]+@[\w./-]+", base):
        return base, ""
    name, _, revision = base.partition("@")
    return name, revision


@contextmanager
def older_names() -> Iterator[None]:
    """Silence a warning: peft asks transformers for a property by its former name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield
