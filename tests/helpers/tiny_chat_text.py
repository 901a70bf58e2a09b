"""What the tiny chat checkpoints share: templates, tokenizers made on the spot, random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_TEXT = (
    "what is this it the a colour of dog cat cats there how many on left are in picture red blue green or and yes no "
    "USER ASSISTANT user assistant system User Assistant You helpful an one two three big small right above below"
)
WORDS = tuple(_TEXT.split())

# One chat template per manner of writing turns; the texts of a turn follow its images.
_PARTS = (
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
)
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    + _PARTS.replace("IMAGE", "<image>\n")
    + " {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
CHATML_TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    + _PARTS.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    + "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    + _PARTS.replace("IMAGE", "<image>")
    + "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)

LLAVA_TOKENS = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
QWEN_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
IDEFICS_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>"),
    *("<global-img>", "<pad>", *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5))),
)


def build_tokenizer(special: Sequence[str], *, spaces: bool, **named: str) -> Any:
    """A small byte-level (or, with `spaces`, Llama-like) BPE tokenizer that can say anything."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core = Tokenizer(models.BPE())
    if spaces:
        bytes_ = [f"<0x{value:02X}>" for value in range(256)]
        core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        core.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=[*special, *bytes_], show_progress=False)
        core.train_from_iterator([*_TEXT.split(), _TEXT], trainer)
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", special.index("<s>"))]
        )
    else:
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=420, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
        )
        core.train_from_iterator([_TEXT, " " + _TEXT], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **named)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def randomise(model: Any, seed: int, scale: float = 0.25) -> Any:
    """Weights large enough that answers differ between images and between questions."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()


def text_config(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **more,
    }
