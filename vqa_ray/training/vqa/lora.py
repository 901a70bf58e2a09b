"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685) through peft: the encoder's weights stay as they are.

peft knows no defaults for ViLT: query and value are adapted, as in the paper, and the answer head is trained whole.
"""

from __future__ import annotations

import copy
from typing import Any

from vqa_ray.training.config import LoraConfig
from vqa_ray.training.peft_models import older_names, with_adapters

_TARGETS = ["query", "value"]
_TRAINED_WHOLE = ["classifier"]


def adapt(model: Any, config: LoraConfig, *, seed: int = 0) -> Any:
    """Wrap a `ViltForQuestionAnswering` in peft's model, its layers replaced; `ViltNetwork` takes it as such.

    Args:
        model: the network; its layers are replaced.
        config: of the adapters.
        seed: of the adapters; the global generator is left as it was.
    """
    return with_adapters(model, config, targets=_TARGETS, whole=_TRAINED_WHOLE, seed=seed)


def is_adapted(model: Any) -> bool:
    """Say whether `adapt` made it."""
    return hasattr(model, "peft_config") and hasattr(model, "merge_and_unload")


def merged(model: Any) -> Any:
    """Copy the model as a plain `ViltForQuestionAnswering`, the adapters added to its weights."""
    with older_names():
        return copy.deepcopy(model).merge_and_unload()
