"""Conversations to train tiny chat checkpoints on, and what inference makes of the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.helpers import tiny_blip
from tests.helpers.tiny_chat import FAMILIES, save_tiny_chat
from tests.helpers.tiny_chat_text import WORDS
from vqa_ray.conversation.conversation import IMAGE_MARKER, Conversation, Turn, markers
from vqa_ray.models.blip.blip2 import Blip2
from vqa_ray.models.blip.instructblip import InstructBlip
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.decoding import mean_log_probabilities
from vqa_ray.types import Image

QUESTION_FAMILIES = ("blip2_opt", "blip2_t5", "instructblip_llama", "instructblip_t5")
# These read the image anew for each question.
ONE_TURN = QUESTION_FAMILIES[1:]
TRAINED_FAMILIES = (*FAMILIES, *QUESTION_FAMILIES)


def save_trained(directory: Path, family: str, seed: int = 0) -> Path:
    """A tiny checkpoint of any family that is trained."""
    if family in FAMILIES:
        return save_tiny_chat(directory, family, seed)
    kind, text = family.split("_")
    return tiny_blip.save(directory, (tiny_blip.blip2 if kind == "blip2" else tiny_blip.instructblip)(text, seed))


def talk(*texts: str, system: str | None = None) -> Conversation:
    """A conversation of texts, the user's first."""
    roles = ("user", "assistant")
    return Conversation(system, tuple(Turn(roles[place % 2], text) for place, text in enumerate(texts)), markers(texts))


def pictures(count: int, rng: np.random.Generator) -> list[Image]:
    """uint8 images of random sizes and colours."""
    sizes = rng.integers(20, 90, (count, 2))
    return [np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (*size, 3)).copy() for size in sizes]


def mixed_talks(family: str, count: int, seed: int = 0) -> Iterator[tuple[Conversation, list[Image]]]:
    """Conversations of several turns and images, all in front, as inference shows them."""
    rng = np.random.default_rng(seed)
    asks = family in QUESTION_FAMILIES
    for _ in range(count):
        turns = 1 if family in ONE_TURN else int(rng.integers(1, 3 if asks else 4))
        images = 1 if asks else int(rng.choice([1, 1, 1, 2, 3]))
        texts = [few_words(rng) if asks else said(rng) for _ in range(2 * turns)]
        texts[0] = f"{IMAGE_MARKER * images}\n{texts[0]}"
        yield talk(*texts), pictures(images, rng)


def said(rng: np.random.Generator) -> str:
    """Words, with what people and models write between them."""
    ends = ("?", ".", "!", "", " äöü", " 3.5%", ' "yes"', "\nand\n\n- this")
    return " ".join(rng.choice(WORDS, rng.integers(1, 12))) + str(rng.choice(ends))


def few_words(rng: np.random.Generator) -> str:
    """Words that the small vocabularies of the tiny BLIPs know."""
    return " ".join(rng.choice(tiny_blip.WORDS, rng.integers(1, 3)))


class Inference:
    """The model of a checkpoint as `answer` and `tag` use it."""

    def __init__(self, family: str, directory: Path) -> None:
        kinds: dict[str, Any] = {"blip2": Blip2, "instructblip": InstructBlip}
        self.chats = family in FAMILIES
        kind = ChatModel if self.chats else kinds[family.split("_", maxsplit=1)[0]]
        self.model: Any = kind.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32")

    def prompts(self, conversation: Conversation, images: Sequence[Image]) -> list[Any]:
        """The prompt of each answer."""
        texts = [turn.text.replace(IMAGE_MARKER, "").strip() for turn in conversation.turns]
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
        asked, earlier = [question for question, _ in pairs], [pairs[:place] for place in range(len(pairs))]
        if self.chats:
            return list(self.model._prompts([tuple(images)], [asked], [earlier], 1))
        return [self.model._prompts(1).fit(question, said) for question, said in zip(asked, earlier, strict=True)]

    def ids(self, prompt: Any) -> tuple[int, ...]:
        """The tokens of a prompt, those of its image among them."""
        if self.chats:
            return tuple(prompt.encoded.ids)
        backbone = self.model.backbone
        return (*[backbone.image_token] * backbone.image_tokens, *prompt.ids)

    @torch.inference_mode()
    def mean(self, prompt: Any, images: Sequence[Image], tokens: Sequence[int]) -> float:
        """The mean log-probability of tokens behind a prompt."""
        if self.chats:
            return float(self.model._choice_means([prompt], {prompt.index: [tokens]}, len(tokens))[prompt.index][0])
        backbone = self.model.backbone
        encoded = backbone.encode(torch.from_numpy(np.stack(images)))
        decoding = backbone.prefill(encoded, torch.tensor([0]), [prompt], len(tokens))
        return float(mean_log_probabilities(decoding, [[tuple(tokens)]], 1)[0][0])

    def choice(self, answer: str) -> tuple[int, ...]:
        """The tokens of an answer as closed questions score it."""
        known = self.model._processor.choice_ids if self.chats else self.model.backbone.choice_tokens
        return tuple(known(answer))
