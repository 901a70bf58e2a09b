"""A checkpoint's weights into a model class of transformers, all of them or none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from vqa_ray.errors import ModelLoadError, one_line
from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.merge_adapter import merge_adapter, replaced_weights
from vqa_ray.models.checkpoint.weight_files import find_weights
from vqa_ray.models.layers.attention_masks import leave_padding_unread

# Constants that old checkpoints saved and today's networks make themselves.
_CONSTANTS = ("position_ids", "token_type_ids")


def load_weights(kind: Any, path: Path, dtype: torch.dtype, **loading_kwargs: Any) -> Any:
    """Load a model in evaluation mode, its weights frozen; a LoRA adapter that lies with it is merged.

    Args:
        kind: the class.
        path: the checkpoint's directory.
        dtype: the dtype of its weights.
        loading_kwargs: further arguments of `from_pretrained`.

    Raises:
        ModelLoadError: weights are missing, cut short, of another shape than the config says, not finite, or a pickle
            of more than tensors.
    """
    model = read_weights(kind, path, dtype, **loading_kwargs)
    leave_padding_unread(model)
    return model.eval().requires_grad_(False)


def read_weights(
    kind: Any,
    path: Path,
    dtype: torch.dtype,
    *,
    wanted: Callable[[str], bool] | None = None,
    label: str | None = None,
    **loading_kwargs: Any,
) -> Any:
    """Load weights as `load_weights` does, without freezing them.

    Args:
        kind: see `load_weights`.
        path: see `load_weights`.
        dtype: see `load_weights`.
        loading_kwargs: see `load_weights`.
        wanted: of a weight's name, whether the checkpoint must hold it; all must, without.
        label: what messages begin with; `model DIRECTORY` without.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    label = label or f"model {path}"
    found = find_weights(path, label)
    options = {"local_files_only": True, "output_loading_info": True, "use_safetensors": not found.pickled}
    try:
        # transformers' own message names no weight that does not fit; the errors below do.
        model, report = kind.from_pretrained(
            path, dtype=dtype, ignore_mismatched_sizes=True, **options, **loading_kwargs
        )
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError, SafetensorError) as error:
        raise ModelLoadError(f"{label}: {_reason(error)}") from error
    except StrictDataclassError as error:
        raise ModelLoadError(f"{label}: config.json: {one_line(error, 240)}") from error
    adapter = adapter_of(path)
    replaced = replaced_weights(adapter) if adapter else frozenset()

    def counts(name: str) -> bool:
        return name not in replaced and (wanted is None or wanted(name)) and not name.endswith(_CONSTANTS)

    unfit = sorted(entry for entry in report["mismatched_keys"] if counts(entry[0]))
    if unfit:
        name, shape, expected = unfit[0]
        raise ModelLoadError(
            f"{label}: {len(unfit)} weights do not fit config.json, first {name}: its shape is {tuple(shape)}, "
            f"wanted {tuple(expected)}"
        )
    absent = [name for name in report["missing_keys"] if counts(name)]
    if absent:
        raise ModelLoadError(f"{label}: weights are incomplete, {len(absent)} missing, first {min(absent)}")
    model = merge_adapter(model, adapter, label) if adapter else model
    check_finite(model, label)
    return model


def check_image_side(side: int, model: Any, label: str) -> None:
    """Check that a processor makes images of the size that the vision encoder takes.

    Args:
        side: of the processor's images, in pixels.
        model: of transformers.
        label: what messages begin with.

    Raises:
        ModelLoadError: the sizes differ.
    """
    # Florence-2's convolutions take any.
    wanted = getattr(model.config.vision_config, "image_size", side)
    if side != wanted:
        raise ModelLoadError(f"{label}: its processor makes images of {side} pixels, its encoder takes {wanted}")


def check_finite(model: Any, label: str) -> None:
    """Refuse weights of NaN or infinity: every answer would be nonsense or an error."""
    for name, weight in model.named_parameters():
        if not weight.is_floating_point() or weight.is_meta:
            continue
        # A sum is one pass and no copy; only where it overflows is each dtype looked at.
        if not torch.isfinite(weight.detach().sum(dtype=torch.float32)) and not torch.isfinite(weight).all():
            raise ModelLoadError(
                f"{label}: {name} holds numbers that are not finite (NaN or infinity): the checkpoint is damaged, "
                "perhaps by a training that diverged"
            )


def _reason(error: Exception) -> str:
    """Return the first line of an error; for a pickle that torch refuses, the refused type."""
    text = str(error)
    if isinstance(error, UnpicklingError):
        refused = re.search(r"Unsupported (?:global|class|operand)[^\n.]*|GLOBAL [\w.]+", text)
        return f"its pickle holds more than tensors and is not loaded: {refused[0] if refused else one_line(text, 160)}"
    return (text.splitlines() or [type(error).__name__])[0]


def load_text_tokenizer(path: Path, extra: str | None = None, *, label: str | None = None) -> Any:
    """Load the checkpoint's tokenizer.

    Args:
        path: its directory.
        extra: the optional dependencies of ours that bring what it needs; None where it needs nothing more.
        label: what messages begin with; `model DIRECTORY` without.

    Raises:
        ModelLoadError: there is none, a package that it needs is missing, it is empty, or it cannot pad.
    """
    from transformers import AutoTokenizer

    label = label or f"model {path}"
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except ImportError as error:
        hint = f"pip install 'vqa-ray[{extra}]'" if extra else " ".join(str(error).split())
        raise ModelLoadError(f"{label}: its tokenizer needs a package that is missing: {hint}") from error
    except Exception as error:
        # The Rust part of tokenizers raises `Exception` itself, whatever is wrong with a file.
        reason = one_line(error) or type(error).__name__
        raise ModelLoadError(f"{label}: its tokenizer cannot be loaded: {reason}") from error
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        # transformers builds one of special tokens alone where files are missing.
        raise ModelLoadError(f"{label}: its tokenizer is empty, so every word would be unknown to it")
    if tokenizer.pad_token_id is None:
        raise ModelLoadError(f"{label}: its tokenizer has no pad token; set pad_token in tokenizer_config.json")
    return tokenizer
