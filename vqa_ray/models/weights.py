"""A checkpoint's weights into a model class of transformers, all of them or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint import weight_files


def load_weights(kind: Any, path: Path, number: torch.dtype, **placed: Any) -> Any:
    """A model in evaluation mode, its weights frozen.

    Args:
        kind: the class.
        path: the checkpoint's directory.
        number: the dtype of its weights.
        placed: further arguments of `from_pretrained`.

    Raises:
        ModelLoadError: weights are pickled, missing, cut short, or of another shape than the config says.
    """
    from safetensors import SafetensorError

    origin = f"model {path}"
    weight_files(path)
    options = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    try:
        # Of what does not fit transformers' own message names nothing; what it leaves out is told below.
        model, report = kind.from_pretrained(path, dtype=number, ignore_mismatched_sizes=True, **options, **placed)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ModelLoadError(f"{origin}: {(str(error).splitlines() or [type(error).__name__])[0]}") from error
    unfit = sorted(report["mismatched_keys"])
    if unfit:
        name, found, wanted = unfit[0]
        raise ModelLoadError(
            f"{origin}: {len(unfit)} weights do not fit config.json, first {name}: its shape is {tuple(found)}, "
            f"wanted {tuple(wanted)}"
        )
    absent = [name for name in report["missing_keys"] if "position_ids" not in name]
    if absent:
        raise ModelLoadError(f"{origin}: weights are incomplete, {len(absent)} missing, first {min(absent)}")
    return model.eval().requires_grad_(False)


def load_text_tokenizer(path: Path, extra: str | None = None) -> Any:
    """The checkpoint's tokenizer.

    Args:
        path: its directory.
        extra: the optional dependencies of ours that bring what it needs; None where it needs nothing more.

    Raises:
        ModelLoadError: there is none, a package that it needs is missing, or it cannot pad.
    """
    from transformers import AutoTokenizer

    origin = f"model {path}"
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except ImportError as error:
        hint = f"pip install 'vqa-ray[{extra}]'" if extra else " ".join(str(error).split())
        raise ModelLoadError(f"{origin}: its tokenizer needs a package that is missing: {hint}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise ModelLoadError(f"{origin}: tokenizer: {told}") from error
    if tokenizer.pad_token_id is None:
        raise ModelLoadError(f"{origin}: its tokenizer has no pad token; set pad_token in tokenizer_config.json")
    return tokenizer
