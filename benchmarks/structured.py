"""Objects held to a schema against free text of the same length, by the same chat model on the same prompts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, ratios
from tests.helpers.tiny_chat import save_chat, tiny_chat
from tests.helpers.tiny_chat_text import QWEN_TOKENS, randomise
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.structured.parse import parse_schema
from vqa_ray.structured.prompt import object_prompt
from vqa_ray.types import FinishReason, Image

_ROUNDS, _IMAGES, _SIDE = 5, 16, 112
_LAYERS, _WIDTH, _HEADS = 8, 256, 8
_VOCABULARY = 32_000
# Objects of nearly one length, as rows that end early leave the others alone; texts are cut at the limit.
_FIELDS: dict[str, dict[str, Any]] = {
    "attributes": {
        "category": {"enum": ["mug", "t-shirt", "chair", "lamp", "book"]},
        "colour": {"enum": ["black", "blue", "brown", "green", "red", "white"]},
        "is_new": {"type": "boolean"},
        "pieces": {"type": "integer", "minimum": 0, "maximum": 20},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
        "size": {"type": "object", "properties": {"unit": {"enum": ["cm", "in"]}}, "required": ["unit"]},
    },
    "text": {"text": {"type": "string", "minLength": 2_000}},
}
_LIMITS = {"attributes": 200, "text": 64}


def measure(settings: Settings) -> Measured:
    """Tokens per second of both, and their ratio within a round."""
    checkpoint = Checkpoint.open(str(_checkpoint(settings.scratch / "structured")))
    count, rounds = settings.pick(_IMAGES, 2), settings.pick(_ROUNDS, 1)
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (count, _SIDE, _SIDE, 3), dtype=np.uint8))
    figures = []
    for name, fields in _FIELDS.items():
        schema = parse_schema({"type": "object", "properties": fields, "required": list(fields)}, name)
        held = _model(checkpoint, _LIMITS[name])
        length = round(_held(held, images, schema) / count)
        free = _model(checkpoint, length)
        speed = by_turns(
            {
                "held": _timed(partial(_held, held, images, schema)),
                "free": _timed(partial(_free, free, images, schema, length)),
            },
            rounds,
        )
        figures += [figure(f"{kind}, {name}", values, "tokens/s") for kind, values in speed.items()]
        label = f"held to free, {name}: {length} tokens an object"
        figures.append(figure(label, ratios(speed["held"], speed["free"]), "×", at_least=0.85))
    return Measured(
        figures,
        [
            f"A Qwen2-VL of {_LAYERS} layers of {_WIDTH} with {_VOCABULARY} logits, random weights, float32; {count} "
            "images at once. Free text has as many tokens as the objects have in the mean.",
        ],
    )


def _held(model: ChatModel, images: Sequence[Image], schema: ObjectSchema) -> int:
    prompts = [object_prompt(schema)] * len(images)
    return sum(len(each.tokens) for each in model.fill(images, prompts, schema.wire))


def _free(model: ChatModel, images: Sequence[Image], schema: ObjectSchema, length: int) -> int:
    answers = model.answer(images, [[object_prompt(schema)]] * len(images), 1)
    finished: list[FinishReason | None] = [answer.finish_reason for (answer,) in answers]
    assert set(finished) == {"length"}, "the comparison means nothing if texts end"
    return length * len(answers)


def _timed(call: Callable[[], int]) -> Callable[[], float]:
    """Return a turn: tokens per second."""

    def turn() -> float:
        begun = time.perf_counter()
        tokens = call()
        return tokens / (time.perf_counter() - begun)

    return turn


def _model(checkpoint: Checkpoint, limit: int) -> ChatModel:
    generation = GenerationConfig(max_new_tokens=limit)
    return ChatModel.from_checkpoint(checkpoint, device="cpu", dtype="float32", generation=generation)


def _checkpoint(directory: Path) -> Path:
    from transformers import Qwen2VLForConditionalGeneration

    model, processor = tiny_chat("qwen2_vl")
    processor.tokenizer = _tokenizer()
    config, text, vision = model.config, model.config.text_config, model.config.vision_config
    text.vocab_size, text.max_position_embeddings = _VOCABULARY, 2048
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = _WIDTH, 4 * _WIDTH, _LAYERS
    text.num_attention_heads = text.num_key_value_heads = _HEADS
    text.layer_types = ["full_attention"] * _LAYERS
    text.rope_parameters["mrope_section"] = [4, 6, 6]
    vision.depth, vision.embed_dim, vision.hidden_size, vision.mlp_ratio = 4, _WIDTH // 2, _WIDTH, 4
    processor.image_processor.size = {"shortest_edge": 28 * 28, "longest_edge": _SIDE * _SIDE}
    return save_chat(directory, randomise(Qwen2VLForConditionalGeneration(config), 0, scale=0.06), processor)


def _tokenizer() -> Any:
    """Make a byte-level tokenizer of about 30,000 tokens, trained on the words of the project."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    root = Path(__file__).parents[1]
    files = [str(file) for part in ("docs", "vqa_ray", "tests") for file in (root / part).rglob("*.[mp][dy]")]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train(
        files,
        trainers.BpeTrainer(
            vocab_size=_VOCABULARY, special_tokens=list(QWEN_TOKENS), initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(QWEN_TOKENS)})
    return tokenizer
