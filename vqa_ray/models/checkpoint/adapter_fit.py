"""A check of a LoRA adapter against the model that it is put on, by the shapes of their tensors. No torch."""

from __future__ import annotations

from pathlib import Path

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.file_selection import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from vqa_ray.models.checkpoint.json_files import read_json
from vqa_ray.models.checkpoint.weight_files import find_weights, safetensors_shapes

# Of the names in an adapter, before those in its base model.
PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"


def lora_shapes(adapter: Path, label: str) -> dict[str, tuple[int, int, int]]:
    """Map each layer that an adapter changes to (outputs, rank, inputs); empty for a pickle.

    Args:
        adapter: its directory.
        label: what messages begin with.

    Raises:
        ModelLoadError: the two parts of a layer do not fit each other.
    """
    file = adapter / ADAPTER_WEIGHTS[0]
    shapes = safetensors_shapes(file) if file.is_file() else {}
    found = {}
    for name, shape in shapes.items():
        if name.endswith(_A) and len(shape) == 2:
            other = shapes.get(name.removesuffix(_A) + _B, (0, 0))
            layer = name.removeprefix(PREFIX).removesuffix(_A)
            if len(other) != 2 or other[1] != shape[0]:
                raise ModelLoadError(
                    f"{label}: the parts of its adapter for {layer} have the ranks {shape[0]} and {other[-1]}"
                )
            found[layer] = (other[0], shape[0], shape[1])
    return found


def check_fit(adapter: Path, base: Path, label: str) -> None:
    """Refuse an adapter whose weights have another rank than its config states, or that fits another model.

    Args:
        adapter: its directory.
        base: the directory of the model.
        label: what messages begin with.

    Raises:
        ModelLoadError: the first layer that does not fit, with both shapes.
    """
    layers = lora_shapes(adapter, label)
    config = read_json(adapter, ADAPTER_CONFIG)
    ranks = {config.get("r"), *(config.get("rank_pattern") or {}).values()}
    weights = [file for file in find_weights(base, label).files if file.suffix == ".safetensors"]
    tensors = {name: shape for file in weights for name, shape in safetensors_shapes(file).items()}
    for layer, (outputs, rank, inputs) in layers.items():
        if rank not in ranks:
            raise ModelLoadError(
                f"{label}: {ADAPTER_CONFIG} states rank {config.get('r')}, the weights of {layer} have rank {rank}"
            )
        # The same layer may have another path in another version of transformers; its own name stays.
        known = {shape for name, shape in tensors.items() if name.endswith(f".{layer.rpartition('.')[2]}.weight")}
        if known and (outputs, inputs) not in known:
            raise ModelLoadError(
                f"{label}: was trained on another model: {layer} is {outputs} x {inputs} there, and "
                f"{' or '.join(f'{shape[0]} x {shape[-1]}' for shape in sorted(known)[:3])} in this one"
            )
