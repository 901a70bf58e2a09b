"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685) through peft: the encoder's weights stay as they are.

peft knows no defaults for ViLT: query and value are adapted, as in the paper, and the answer head is trained whole.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

_TARGETS = ["query", "value"]
_TRAINED_WHOLE = ["classifier"]


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """The adapters: their rank, what their product is multiplied by (`alpha / rank`), and dropout of their input."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0


def adapt(model: Any, options: LoraOptions, *, seed: int = 0, base: str | None = None) -> Any:
    """peft's model around a `ViltForQuestionAnswering`, whose layers are replaced; give it to `ViltNetwork` as such.

    Args:
        seed: of the adapters; the global generator is left as it was.
        base: the checkpoint that an adapter exported alone names as its base.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,  # type: ignore[arg-type]
        lora_dropout=options.dropout,
        target_modules=list(_TARGETS),
        modules_to_save=list(_TRAINED_WHOLE),
    )
    with torch.random.fork_rng(devices=[]), _older_names():
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    name, revision = _split(base)
    adapted.peft_config["default"].base_model_name_or_path = name
    if revision:
        adapted.peft_config["default"].revision = revision
    return adapted


def _split(base: str | None) -> tuple[str | None, str]:
    """The name and the revision of `org/name@revision`; anything else as it is."""
    if base is None or not re.fullmatch(r"[\w.-]+/[\w.-]+@[\w./-]+", base):
        return base, ""
    name, _, revision = base.partition("@")
    return name, revision


def is_adapted(model: Any) -> bool:
    """Whether `adapt` made it."""
    return hasattr(model, "peft_config") and hasattr(model, "merge_and_unload")


def merged(model: Any) -> Any:
    """A copy with the adapters added to the weights: a plain `ViltForQuestionAnswering`. The model stays adapted."""
    with _older_names():
        return copy.deepcopy(model).merge_and_unload()


@contextmanager
def _older_names() -> Iterator[None]:
    """peft asks transformers for a property by the name it had before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield
