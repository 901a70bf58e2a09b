"""BLIP-2 with ten questions per image, against transformers' `generate` on every pair of image and question."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PillowImage

from benchmarks import checkpoints, limit, photos, prepared
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, rates, ratios, seconds
from vqa_ray.models.blip.blip2 import Blip2
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.generation.prompts import Prompting
from vqa_ray.models.transforms.square import SquareTransform

_IMAGES, _ROUNDS = 8, 3
_BATCHES = (10, 40)
# As many tokens as LAVIS lets an answer have.
_TOKENS = 10
_YES_NO = ("yes", "no")
# Spreads at which answers differ between images and between questions.
_SEED, _GAIN, _EMBEDDING = 0, 3.0, 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a BLIP-2; the number of image tokens (257) and query tokens (32) is always the true one."""

    width: int
    inner: int
    layers: int
    heads: int
    qformer_width: int
    qformer_layers: int
    text_width: int
    text_layers: int
    text_heads: int
    vocabulary: int


# A quarter of the widths of blip2-opt-2.7b and its depths; with 36 vision layers instead of 39 vision, Q-Former and
# language model cost what they do there, relative to each other.
_REDUCED = Shape(352, 1536, 36, 4, 192, 12, 640, 32, 8, 12_568)
_TINY = Shape(32, 64, 2, 4, 32, 2, 64, 2, 4, 512)
_TRUE_GFLOPS = {"vision": 520.7, "Q-Former": 12.75, "a text token": 5.3}


def measure(settings: Settings) -> Measured:
    """Answers per second and ratios, generated and scored; the same dtype for all."""
    directory = checkpoint(settings)
    count, rounds = settings.pick(_IMAGES, 2), settings.pick(_ROUNDS, 1)
    images = photos.decoded(count, [(640, 480)])
    arrays, texts = prepared.arrays(images), [list(checkpoints.QUESTIONS)] * count
    stock = Stock(directory)
    engine = Blip2.from_checkpoint(
        Checkpoint.open(str(directory)), dtype="float32", generation=GenerationConfig(max_new_tokens=_TOKENS)
    )
    transform = SquareTransform(224)

    def generated() -> list[str]:
        answers = engine.answer(prepared.sized(arrays, transform), texts, 1)
        return [answer.answers[0][0] for row in answers for answer in row]

    def scored() -> list[bool]:
        rows = engine.score(prepared.sized(arrays, transform), texts, [[_YES_NO] * len(row) for row in texts])
        return [one.scores[0] > one.scores[1] for row in rows for one in row]

    contestants: dict[str, Callable[[], float]] = {
        "engine generated": seconds(generated),
        "engine yes/no": seconds(scored),
    }
    for size in _BATCHES:
        contestants[f"stock generated {size}"] = seconds(partial(stock.generate, images, size, _TOKENS))
        contestants[f"stock yes/no {size}"] = seconds(partial(stock.yes_no, images, size))
    pairs = sum(map(len, texts))
    speed = {name: rates(pairs, values) for name, values in by_turns(contestants, rounds).items()}
    figures = []
    for what, required in (("generated", 3.5), ("yes/no", 5.0)):
        size = max(_BATCHES, key=lambda size: sorted(speed[f"stock {what} {size}"])[rounds // 2])
        told = what if what == "yes/no" else f"{_TOKENS} tokens generated"
        figures += [
            figure(
                f"BLIP-2, 10 questions per image, {told}: transformers, its best batch size ({size})",
                speed[f"stock {what} {size}"],
                "answers/s",
            ),
            figure(f"the engine, {told}", speed[f"engine {what}"], "answers/s"),
            figure(
                f"the engine to transformers, {told}",
                ratios(speed[f"engine {what}"], speed[f"stock {what} {size}"]),
                "×",
                at_least=required,
            ),
        ]
    # From the same pixels: the two resize alike to one or two levels of 255, which random weights amplify.
    sized = [PillowImage.fromarray(image) for image in prepared.sized(arrays, transform)]
    same = [a == b for a, b in zip(generated(), stock.generate(sized, 1, _TOKENS), strict=True)]
    agree = [a == b for a, b in zip(scored(), stock.yes_no(sized, 1), strict=True)]
    figures += [
        figure(f"same text as transformers one by one, from the same pixels, share of {pairs}", [sum(same) / pairs]),
        figure(f"same of yes and no, from the same pixels, share of {pairs}", [sum(agree) / pairs]),
    ]
    return Measured(figures, _notes(count, rounds, engine))


def checkpoint(settings: Settings) -> Path:
    """Return a BLIP-2 of reduced shape, for this benchmark's time only."""
    return save(settings.scratch / "blip2", _TINY if settings.quick else _REDUCED)


def _notes(count: int, rounds: int, engine: Blip2) -> list[str]:
    costs = flops(engine)
    parts = ", ".join(f"{name} {value / costs['vision']:.4f}" for name, value in costs.items())
    true = ", ".join(f"{name} {value / _TRUE_GFLOPS['vision']:.4f}" for name, value in _TRUE_GFLOPS.items())
    return [
        photos.source(),
        f"{count} images of 640×480, 10 questions each, {rounds} rounds; random weights in float32, the same files for "
        "both, which therefore never end a text early.",
        f"The model is narrower than blip2-opt-2.7b. FLOPs relative to vision: {parts}; in blip2-opt-2.7b: {true}.",
        "transformers is timed from decoded PIL images to text: its processor with left padding, the image repeated "
        "for each question, and generate; yes/no is its next-token logits after one step. The engine is timed from the "
        "same images to the same answers, resizing included.",
    ]


@torch.inference_mode()
def flops(engine: Blip2) -> dict[str, float]:
    """Floating-point operations of one image in vision and Q-Former, and of one token in the language model."""
    network: Any = engine.backbone
    model = network._model
    pixels = torch.zeros(1, 3, 224, 224)
    vision = limit.count_flops(lambda: network.vision(pixel_values=pixels))
    whole = limit.count_flops(lambda: network.features(torch.zeros(1, 224, 224, 3, dtype=torch.uint8)))
    token = limit.count_flops(lambda: model.language_model(torch.zeros(1, 12, dtype=torch.long))) / 12
    return {"vision": vision, "Q-Former": whole - vision, "a text token": token}


class Stock:
    """`Blip2ForConditionalGeneration` and its processor, used as the documentation says.

    Args:
        path: a checkpoint directory.
    """

    def __init__(self, path: Path) -> None:
        from transformers import Blip2ForConditionalGeneration, Blip2Processor

        self.processor: Any = Blip2Processor.from_pretrained(path, local_files_only=True)
        self.processor.tokenizer.padding_side = "left"
        self.model: Any = Blip2ForConditionalGeneration.from_pretrained(path, local_files_only=True).eval()

    def generate(self, images: Sequence[PillowImage.Image], batch_size: int, new_tokens: int) -> list[str]:
        """Answers to all questions of all images."""
        texts: list[str] = []
        for inputs in self._batches(images, batch_size):
            found = self.model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
            new = found[:, inputs["input_ids"].shape[1] :]
            texts += [text.strip() for text in self.processor.batch_decode(new, skip_special_tokens=True)]
        return texts

    def yes_no(self, images: Sequence[PillowImage.Image], batch_size: int) -> list[bool]:
        """Whether yes is likelier than no, for all questions of all images."""
        ids = [self.processor.tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in _YES_NO]
        likelier: list[bool] = []
        for inputs in self._batches(images, batch_size):
            found = self.model.generate(
                **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
            likelier += (found.logits[0][:, ids[0]] > found.logits[0][:, ids[1]]).tolist()
        return likelier

    def _batches(self, images: Sequence[PillowImage.Image], batch_size: int) -> list[Any]:
        """Prepare batches when they are wanted: the preparation is part of the work."""
        wording = Prompting()
        pairs = [(image, wording.text(question)) for image in images for question in checkpoints.QUESTIONS]
        parts = (list(itertools.islice(pairs, start, start + batch_size)) for start in range(0, len(pairs), batch_size))
        return [
            self.processor(
                images=[image for image, _ in part],
                text=[text for _, text in part],
                padding=True,
                return_tensors="pt",
            )
            for part in parts
        ]


def save(directory: Path, shape: Shape) -> Path:
    """Write a BLIP-2 of a shape with random weights, and a tokenizer that takes a word for a token."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, OPTConfig
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    tokenizer = _tokenizer()
    images = BlipImageProcessorPil(size={"height": 224, "width": 224})
    processor = Blip2Processor(images, tokenizer, num_query_tokens=32)
    text = OPTConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.text_width,
        word_embed_proj_dim=shape.text_width,
        ffn_dim=4 * shape.text_width,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        pad_token_id=0,
        bos_token_id=1,
        # An id that is never the likeliest: every answer runs to the limit.
        eos_token_id=0,
    )
    config = Blip2Config(
        vision_config={
            "hidden_size": shape.width,
            "intermediate_size": shape.inner,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
        },
        qformer_config={
            "hidden_size": shape.qformer_width,
            "intermediate_size": 4 * shape.qformer_width,
            "num_hidden_layers": shape.qformer_layers,
            "num_attention_heads": 4,
            "encoder_hidden_size": shape.width,
        },
        text_config=text,
        num_query_tokens=32,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                spread = (
                    _EMBEDDING if "embed" in name or "query_tokens" in name else _GAIN * parameter[0].numel() ** -0.5
                )
                parameter.normal_(0, spread, generator=generator)
        # Neither the closing token nor those that no text has are ever said.
        model.language_model.get_input_embeddings().weight[0] = 0
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<pad>", "</s>", "<unk>"], initial_alphabet=alphabet, show_progress=False
    )
    texts = [Prompting().text(f"{question} yes no") for question in checkpoints.QUESTIONS]
    built.train_from_iterator(texts * 2, trainer)
    built.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
