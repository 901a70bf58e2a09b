"""Where contrastive training starts: from a CLIP checkpoint, or from nothing.

`describe_pair_start` is light; torch and transformers are imported when a network is built.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint import files as checkpoint
from vqa_ray.models.checkpoint.completeness import check_parts
from vqa_ray.models.transforms.clip import ClipTransform
from vqa_ray.training.contrastive.shape import PairShape
from vqa_ray.training.transformers4_files import add_older_files
from vqa_ray.training.vqa.initialise import StartInfo, quiet

ARCHITECTURE = "CLIPModel"
# Of images that are trained on from scratch: to -1…1, as ViLT has them.
_HALF = (0.5, 0.5, 0.5)
_BICUBIC = 3


@dataclass(frozen=True, slots=True)
class PairStart:
    """A dual encoder to train.

    Attributes:
        model: `CLIPModel`, float32, on the CPU.
        tokenizer: of transformers.
        images: the settings of its image processor.
        told: what a person should know of how it was made, one line each.
    """

    model: Any
    tokenizer: Any
    images: Mapping[str, Any]
    told: tuple[str, ...] = ()

    @property
    def max_text_tokens(self) -> int:
        """Captions are cut to so many tokens."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def transform(self) -> ClipTransform:
        """The size and normalisation of its images."""
        return ClipTransform.from_config(self.images, "the network to train")

    def save(self, directory: Path, model: Any | None = None) -> None:
        """Write what `CLIPModel`, `CLIPProcessor` and `AutoTokenizer.from_pretrained` load.

        Args:
            model: in place of its own.
        """
        from transformers import CLIPProcessor
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        (self.model if model is None else model).save_pretrained(directory)
        images = CLIPImageProcessorPil.from_dict(dict(self.images))
        CLIPProcessor(images, self.tokenizer).save_pretrained(directory)
        add_older_files(directory)


def describe_pair_start(reference: str) -> StartInfo:
    """Find a checkpoint and check that contrastive training can start from it, without torch.

    Args:
        reference: see `checkpoint.local_directory`.

    Raises:
        ModelLoadError: no such checkpoint, not a whole CLIP, or a part of it is missing or damaged.
    """
    found_at = checkpoint.locate(reference)
    path = found_at.path
    config = checkpoint.read_json(path, "config.json")
    found = [str(name) for name in config.get("architectures") or []]
    if config.get("model_type") != "clip" or ARCHITECTURE not in found:
        other = "; a ViLT is trained with --task vqa" if config.get("model_type") == "vilt" else ""
        raise ModelLoadError(
            f"model {reference}: cannot be trained with --task contrastive: config.json says "
            f"{config.get('model_type')!r}, {', '.join(found) or 'no architecture'}; wanted a {ARCHITECTURE}{other}"
        )
    crop, side = transform_of(path, reference).crop, (config.get("vision_config") or {}).get("image_size", 224)
    if crop != side:
        raise ModelLoadError(
            f"model {reference}: its image processor gives images of {crop} pixels, the network takes {side}"
        )
    text = config.get("text_config") or {}
    limit = int(text.get("max_position_embeddings", 77))
    weights = check_parts(path, config, f"model {reference}", None)
    return StartInfo(
        path, ARCHITECTURE, None, limit, checkpoint.fingerprint(path), (*found_at.notes, *weights.notes(reference))
    )


def transform_of(path: Path, reference: str) -> ClipTransform:
    """The image transform of a checkpoint.

    Raises:
        ModelLoadError: it asks for something that is not supported.
    """
    return ClipTransform.from_config(checkpoint.image_processor_config(path), f"model {reference}")


def transform_of_shape(shape: PairShape) -> ClipTransform:
    """The image transform of a new network."""
    return ClipTransform.from_config(image_settings(shape), "the network to train")


def start_pairs_from(reference: str, *, dropout: float = 0.0) -> PairStart:
    """The whole of a checkpoint.

    Args:
        dropout: of attention while training; the config keeps what the checkpoint says.

    Raises:
        ModelLoadError: see `describe_pair_start`; also weights that are missing, damaged or of another shape.
    """
    import torch
    from transformers import CLIPModel

    from vqa_ray.models.checkpoint.weights import load_text_tokenizer, load_weights
    from vqa_ray.models.encoders.clip import check_closing

    path = describe_pair_start(reference).path
    # The fused kernel is slower on a CPU when it is differentiated, and in bfloat16.
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    with quiet(), torch.random.fork_rng(devices=[]):
        model = load_weights(CLIPModel, path, torch.float32, attn_implementation=attention)
    tokenizer = load_text_tokenizer(path)
    text = model.config.text_config
    check_closing(tokenizer, text.eos_token_id, f"model {reference}")
    if len(tokenizer) > text.vocab_size:
        raise ModelLoadError(
            f"model {reference}: the tokenizer has {len(tokenizer)} tokens, the network knows {text.vocab_size}"
        )
    _set_dropout(model, dropout)
    return PairStart(model.train().requires_grad_(True), tokenizer, checkpoint.image_processor_config(path))


def start_pairs_from_scratch(
    shape: PairShape, captions: Iterable[str], *, vocab_size: int = 8_000, seed: int = 0
) -> PairStart:
    """A fresh network, and a tokenizer learnt from the captions.

    Args:
        vocab_size: at most so many WordPieces.
        seed: of the initial weights; the global generator is left as it was.

    Raises:
        RequestError: `vocab_size` is too small.
    """
    import torch
    from transformers import CLIPConfig, CLIPModel

    from vqa_ray.training.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(captions, vocab_size, shape.max_text_tokens)
    # What else a BERT tokenizer gives, a CLIP does not take.
    tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = ["input_ids", "attention_mask"]
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.text_hidden_size,
        "intermediate_size": 4 * shape.text_hidden_size,
        "num_hidden_layers": shape.text_layers,
        "num_attention_heads": shape.text_heads,
        "max_position_embeddings": shape.max_text_tokens,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    vision = {
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "image_size": shape.image_size,
        "patch_size": shape.patch_size,
    }
    both = {"hidden_act": "gelu", "projection_dim": shape.projection_size}
    config = CLIPConfig(text_config=text | both, vision_config=vision | both, projection_dim=shape.projection_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    parameters = sum(weight.numel() for weight in model.parameters())
    told = f"a new network of {parameters:,} parameters; {len(tokenizer):,} WordPieces learnt from the captions"
    return PairStart(model, tokenizer, image_settings(shape), (told,))


def image_settings(shape: PairShape) -> dict[str, Any]:
    """The settings of the image processor of a new network: both sides to one size, nothing cut off."""
    size = {"height": shape.image_size, "width": shape.image_size}
    return {
        "size": size,
        "crop_size": size,
        "do_center_crop": False,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": _BICUBIC,
        "rescale_factor": 1 / 255,
        "image_mean": list(_HALF),
        "image_std": list(_HALF),
    }


def export_pairs(destination: str, start: PairStart, dtype: str = "float32") -> None:
    """Write the model to a local directory or URI, whole or not at all; the training model stays as it is.

    Args:
        start: whose model was trained.
        dtype: of the written weights, `float32` or `bfloat16`.

    Raises:
        RequestError: an unknown dtype.
        RunError: the destination cannot be written.
    """
    from vqa_ray.training.export import in_dtype, write_model

    model = in_dtype(copy.deepcopy(start.model), dtype)
    write_model(destination, lambda staged: start.save(staged, model))


def _set_dropout(model: Any, probability: float) -> None:
    for tower in (model.text_model, model.vision_model):
        for layer in tower.encoder.layers:
            layer.self_attn.dropout = probability
