"""The weights of a chat model that are trained: adapters of its language model's projections (LoRA), or all of it.

Hu et al. 2021, arXiv:2106.09685, through peft. The vision tower stays as it is.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from vqa_ray.errors import RequestError
from vqa_ray.training.chat.parts import language_model, named, plain_model, projectors
from vqa_ray.training.config import LoraConfig
from vqa_ray.training.peft_models import with_adapters


def prepare(model: Any, *, lora: LoraConfig | None, train_projector: bool = False, seed: int = 0) -> Any:
    """Choose what is trained; trained weights become float32.

    Args:
        model: of transformers, frozen; its layers are replaced where there are adapters.
        lora: of adapters of the language model; None trains its weights.
        train_projector: whether the layers between image and language model are trained too, whole.
        seed: of the adapters; the global generator is left as it was.

    Returns:
        `model`, or peft's around it.

    Raises:
        RequestError: there is no projector to train.
    """
    model.requires_grad_(False)
    parts = projectors(model) if train_projector else {}
    if train_projector and not parts:
        raise RequestError(f"--train-projector: {model.config.model_type} has no layer of that kind that is known here")
    if lora is not None:
        model = with_adapters(model, lora, targets=target_pattern(model), whole=list(parts), seed=seed)
    else:
        for part in (language_model(model), model.get_output_embeddings()):
            part.requires_grad_(True)
    for part in projectors(plain_model(model)).values() if parts else ():
        for name, weight in part.named_parameters():
            weight.requires_grad_("original_module" not in name)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return model


def projector_parameters(model: Any) -> list[nn.Parameter]:
    """Return the trained weights of the projector."""
    return [
        weight
        for part in projectors(plain_model(model)).values()
        for weight in part.parameters()
        if weight.requires_grad
    ]


def target_pattern(model: Any) -> str:
    """Return peft's pattern of the linear layers inside of the language model, without its head."""
    inner = language_model(model)
    head = model.get_output_embeddings()
    place = named(model, inner)
    layers = {
        name.rpartition(".")[2]
        for name, part in inner.named_modules()
        if isinstance(part, nn.Linear) and part is not head
    }
    return rf"{re.escape(place)}\..*\.({'|'.join(sorted(layers))})"
