"""A small chat model with random weights behind the vision tower of `bundled:catalog-clip`, and what it is to learn.

`python -m benchmarks.untrained_chat CATALOGUE DIRECTORY` reads what `vqa-ray catalog --format jsonl` wrote, and writes
`DIRECTORY/conversations.jsonl` (LLaVA's layout, one conversation about each product) and `DIRECTORY/model`. `make
catalog-chat` trains it.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PillowImage
from torch import Tensor

from vqa_ray.models.checkpoint.opened import Checkpoint

_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}</s>{% else %} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


# Photos whose features tell how those of others are distributed.
_MEASURED = 512


def build(directory: Path, texts: Iterable[str], photos: Sequence[Path], seed: int = 0) -> None:
    """Write a LLaVA with random weights but for its vision tower.

    Args:
        directory: where it goes.
        texts: what its tokenizer is learnt from.
        photos: what its features are centred over.
        seed: of the weights.
    """
    from transformers import CLIPModel, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    clip_directory = Checkpoint.open("bundled:catalog-clip").directory
    clip = CLIPModel.from_pretrained(clip_directory, dtype=torch.float32)
    vision = clip.vision_model
    tokenizer = _tokenizer(texts)
    named = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<{part}>") for name, part in _NAMED}
    config = LlavaConfig(
        vision_config=vision.config.to_dict(),
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **_TEXT, **named},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        # Its features of the last layer are what the tower was trained to give.
        vision_feature_layer=-1,
        # Its class token is what contrastive training read.
        vision_feature_select_strategy="full",
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(vision.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    settings = json.loads((clip_directory / "processor_config.json").read_text(encoding="utf-8"))["image_processor"]
    processor = LlavaProcessor(
        CLIPImageProcessorPil.from_dict(settings),
        tokenizer,
        patch_size=vision.config.patch_size,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    )
    processor.save_pretrained(directory)
    images = [PillowImage.open(photo).convert("RGB") for photo in photos[:_MEASURED]]
    _centre(model.model.vision_tower, processor.image_processor(images, return_tensors="pt")["pixel_values"])
    model.save_pretrained(directory)


@torch.no_grad()
def _centre(tower: Any, pixels: Tensor) -> None:
    """Change the weights of a tower so that its features have mean 0 and, over all channels, variance 1.

    An untrained projector learns from such much faster. What the layers compute stays: each reads its input through a
    LayerNorm, so that all that is added up between them can be scaled, and what the last one adds can be moved.

    Args:
        tower: a CLIP vision model.
        pixels: float32 (N, 3, H, W), images to measure.
    """
    features = tower(pixels).last_hidden_state.flatten(0, 1)
    mean, scale = features.mean(0), 1 / (features - features.mean(0)).std()
    layers = tower.encoder.layers
    adding = [tower.pre_layrnorm, *(part for layer in layers for part in (layer.self_attn.out_proj, layer.mlp.fc2))]
    for part in adding:
        part.weight.mul_(scale)
        part.bias.mul_(scale)
    layers[-1].mlp.fc2.bias.sub_(mean * scale)


_NAMED = (("bos", "s"), ("eos", "/s"), ("pad", "pad"))


def _tokenizer(texts: Iterable[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1_024,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([*texts, "USER: ASSISTANT: "], trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", _SPECIAL.index("<s>"))]
    )
    names = {f"{name}_token": f"<{part}>" for name, part in (("unk", "unk"), *_NAMED)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer


def conversations(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a conversation about each product, of all its questions: many answers share the tokens of one image."""
    for image, asked in itertools.groupby(rows, key=lambda row: row["image_uri"]):
        turns = []
        for row in asked:
            turns.append({"from": "human", "value": row["question"] if turns else f"<image>\n{row['question']}"})
            turns.append({"from": "gpt", "value": row["answer"]})
        yield {"id": image, "image": image, "conversations": turns}


def main() -> None:
    """Write the conversations and the model of the command line."""
    catalogue, directory = map(Path, sys.argv[1:])
    files = sorted(catalogue.glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    photos = [catalogue / name for name in dict.fromkeys(row["image_uri"] for row in rows)]
    build(directory / "model", [text for row in rows for text in (row["question"], row["answer"])], photos)
    lines = [json.dumps(each) for each in conversations(rows)]
    (directory / "conversations.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
