"""Answers that a chat model writes while it is trained: greedily, to the prompts that it is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vqa_ray.models.chat import independent
from vqa_ray.models.chat.batching import ImageTensors, Prompt, batches
from vqa_ray.models.chat.processor import Encoded
from vqa_ray.models.generation.config import eos_token_ids
from vqa_ray.training.chat.parts import plain_model
from vqa_ray.training.chat.question_prompts import FAMILIES
from vqa_ray.training.chat.rendering import ChatRenderer
from vqa_ray.training.chat.row import IGNORED, ChatRow
from vqa_ray.training.chat.trainer import ChatTrainer


class AnswerWriter:
    """Writes the last answer of conversations.

    Args:
        model: the network as `lora.prepare` returned it.
        renderer: what rendered the rows.
        trainer: says on which device and in which precision the network runs.
        limit: most new tokens of an answer.
    """

    def __init__(self, model: Any, renderer: ChatRenderer, trainer: ChatTrainer, limit: int) -> None:
        self._model = plain_model(model)
        self._decode, self._trainer, self._limit = renderer.decode, trainer, limit
        self._ends = eos_token_ids(self._model.generation_config.eos_token_id, renderer.end, "the model to train")

    @torch.inference_mode()
    def write(self, rows: Mapping[int, ChatRow]) -> dict[int, str]:
        """Return the answers of rows by their keys."""
        self._model.eval()
        prompts = [_prompt(key, row) for key, row in rows.items()]
        # Those take an image with every prompt.
        if self._model.config.model_type in FAMILIES:
            return {prompt.index: self._decode(self._alone(prompt)) for prompt in prompts}
        found = dict[int, str]()
        limit = self._trainer.tokens_per_pass
        for part in batches(prompts, lambda prompt, _: len(prompt.encoded.ids) + self._limit, limit):
            with self._trainer.autocast():
                written = independent.generate(self._model, part, self._ends, max_new_tokens=self._limit)
            found |= {
                prompt.index: self._decode(generated.tokens) for prompt, generated in zip(part, written, strict=True)
            }
        return found

    def _alone(self, prompt: Prompt) -> list[int]:
        """Return the tokens of one answer by the `generate` of a family that has its own."""
        ids = torch.tensor([prompt.encoded.ids], device=self._trainer.device)
        images = {name: tensor.to(self._trainer.device) for name, tensor in prompt.image.tensors.items()}
        ends = {"eos_token_id": list(self._ends), "pad_token_id": self._ends[0]}
        options = {"do_sample": False, "num_beams": 1, "max_new_tokens": self._limit}
        with self._trainer.autocast():
            written = self._model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), **images, **ends, **options
            )
        tokens: list[int] = written[0].tolist()
        return tokens


def _prompt(key: int, row: ChatRow) -> Prompt:
    """Return a conversation up to its last answer."""
    end = len(row.ids) if row.decoder_ids is not None else last_answer(row.targets)
    kinds = {name: values[:end] for name, values in row.kinds.items()}
    return Prompt(key, ImageTensors(row.images, 0, (0, 0)), Encoded(tuple(row.ids[:end]), kinds), 0)


def last_answer(targets: Sequence[int]) -> int:
    """Return the place of the first token of the last answer: behind the token that is to predict it."""
    last = next(place for place in reversed(range(len(targets))) if targets[place] != IGNORED)
    first = last
    while first and targets[first - 1] != IGNORED:
        first -= 1
    return first + 1
