"""The CLIP that contrastive training begins with: that of a checkpoint, or a fresh network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vqa_ray.models.checkpoint.files import image_processor_config
from vqa_ray.models.checkpoint.weights import load_weights
from vqa_ray.models.encoders.clip import check_closing
from vqa_ray.models.transforms.clip import ClipTransform
from vqa_ray.training.contrastive.shape import ClipShape
from vqa_ray.training.start import StartInfo, quiet
from vqa_ray.training.tokenizer import load_tokenizer, train_tokenizer
from vqa_ray.training.transformers4_files import add_older_files


@dataclass(frozen=True, slots=True)
class InitialClip:
    """A dual encoder to train.

    Attributes:
        model: `CLIPModel`, float32, on the CPU.
        tokenizer: of transformers.
        images: the settings of its image processor.
        notes: sentences on how it was made.
    """

    model: Any
    tokenizer: Any
    images: Mapping[str, Any]
    notes: tuple[str, ...] = ()

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
            directory: where to write.
            model: in place of its own.
        """
        from transformers import CLIPProcessor
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        (self.model if model is None else model).save_pretrained(directory)
        images = CLIPImageProcessorPil.from_dict(dict(self.images))
        CLIPProcessor(images, self.tokenizer).save_pretrained(directory)
        add_older_files(directory)


def start_pairs_from(info: StartInfo, *, dropout: float = 0.0) -> InitialClip:
    """Load the whole of a checkpoint.

    Args:
        info: the checkpoint.
        dropout: of attention while training; the config keeps what the checkpoint says.

    Raises:
        ModelLoadError: weights that are missing, damaged or of another shape, or a damaged tokenizer.
    """
    from transformers import CLIPModel

    # The fused kernel is slower on a CPU when it is differentiated, and in bfloat16.
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    with quiet(), torch.random.fork_rng(devices=[]):
        model = load_weights(CLIPModel, info.path, torch.float32, attn_implementation=attention)
    text = model.config.text_config
    tokenizer = load_tokenizer(info.path, text.vocab_size, info.label)
    check_closing(tokenizer, text.eos_token_id, info.label)
    _set_dropout(model, dropout)
    return InitialClip(model.train().requires_grad_(True), tokenizer, image_processor_config(info.path))


def start_pairs_from_scratch(
    shape: ClipShape, captions: Iterable[str], *, vocab_size: int = 8_000, seed: int = 0
) -> InitialClip:
    """Make a fresh network, and learn a tokenizer from the captions.

    Args:
        shape: of the network.
        captions: what the tokenizer is learnt from.
        vocab_size: at most so many WordPieces.
        seed: of the initial weights; the global generator is left as it was.

    Raises:
        RequestError: `vocab_size` is too small.
    """
    from transformers import CLIPConfig, CLIPModel

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
    note = f"a new network of {parameters:,} parameters; {len(tokenizer):,} WordPieces learnt from the captions"
    return InitialClip(model, tokenizer, shape.image_processor, (note,))


def _set_dropout(model: Any, probability: float) -> None:
    for tower in (model.text_model, model.vision_model):
        for layer in tower.encoder.layers:
            layer.self_attn.dropout = probability
