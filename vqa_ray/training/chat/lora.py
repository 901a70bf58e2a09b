"""The weights of a chat model that are trained: adapters of its language model's projections (LoRA), or all of it.

Hu et al. 2021, arXiv:2106.09685, through peft. The vision tower stays as it is.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import torch
from torch import nn

from vqa_ray.errors import RequestError
from vqa_ray.training.chat.parts import language_model, named, plain_model, projectors
from vqa_ray.training.config import LoraConfig
from vqa_ray.training.peft_models import older_names, split_reference


def prepare(
    model: Any, *, lora: LoraConfig | None, train_projector: bool = False, train_language: bool = True, seed: int = 0
) -> Any:
    """Choose what is trained; trained weights become float32.

    Args:
        model: of transformers, frozen; its layers are replaced where there are adapters.
        lora: of adapters of the language model; None trains its weights.
        train_projector: whether the layers between image and language model are trained too, whole.
        train_language: whether the language model is trained at all, where there are no adapters.
        seed: of the adapters; the global generator is left as it was.

    Returns:
        `model`, or peft's around it.

    Raises:
        RequestError: nothing would be trained, or there is no projector.
    """
    model.requires_grad_(False)
    parts = projectors(model) if train_projector else {}
    if train_projector and not parts:
        raise RequestError(f"--train-projector: {model.config.model_type} has no layer of that kind that is known here")
    if lora is None and not train_language and not parts:
        raise RequestError(
            "nothing would be trained, every weight is frozen; wanted: adapters, projector or all weights"
        )
    if lora is not None:
        model = _adapted(model, lora, list(parts), seed)
    elif train_language:
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


def is_adapted(model: Any) -> bool:
    """Say whether a model carries adapters."""
    return hasattr(model, "peft_config")


def merged(model: Any) -> Any:
    """Copy a model as a plain one of transformers, its adapters added to the weights."""
    with older_names():
        return copy.deepcopy(model).merge_and_unload()


def _adapted(model: Any, lora: LoraConfig, whole: list[str], seed: int) -> Any:
    import peft

    adapters = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=target_pattern(model),
        modules_to_save=whole or None,
    )
    with torch.random.fork_rng(devices=[]), older_names():
        torch.manual_seed(seed)
        adapted = peft.get_peft_model(model, adapters)
    config = adapted.peft_config["default"]
    config.base_model_name_or_path, revision = split_reference(lora.base)
    config.revision = revision or config.revision
    return adapted
