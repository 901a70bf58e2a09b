"""The parts of a chat model that training tells apart: language model, projector, and the rest, which stays frozen."""

from __future__ import annotations

from typing import Any

from torch import nn

_LANGUAGE_MODELS = ("language_model", "text_model")
_PROJECTORS = (
    *("multi_modal_projector", "connector", "language_projection", "aligner", "modality_projection"),
    # Of Qwen's towers.
    *("merger", "deepstack_merger_list"),
)


def plain_model(model: Any) -> Any:
    """Return the model of transformers inside of peft's."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def language_model(model: Any) -> nn.Module:
    """Return the language model of a chat model of transformers."""
    found: nn.Module = next(
        part for name in _LANGUAGE_MODELS if (part := getattr(model.base_model, name, None)) is not None
    )
    return found


def projectors(model: Any) -> dict[str, nn.Module]:
    """Return the layers between image features and language model, by name."""
    found: dict[str, nn.Module] = {}
    inner = {id(part) for part in language_model(model).modules()}
    for name, part in model.named_modules():
        within = any(name.startswith(f"{outer}.") for outer in found)
        if name.rpartition(".")[2] in _PROJECTORS and not within and id(part) not in inner:
            # peft keeps no list of layers whole.
            parts = dict(part.named_children()) if isinstance(part, nn.ModuleList) else {"": part}
            found |= {f"{name}.{place}".rstrip("."): each for place, each in parts.items()}
    return found


def named(model: nn.Module, wanted: nn.Module) -> str:
    """Return the name of a part of a model."""
    names: dict[int, str] = {id(part): name for name, part in model.named_modules()}
    return names[id(wanted)]
