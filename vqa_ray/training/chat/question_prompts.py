"""Prompts of BLIP-2 and InstructBLIP: one image in front of a question, in the words of their inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqa_ray.conversation.conversation import IMAGE_MARKER, Conversation
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.resize import resample_of, resize
from vqa_ray.models.blip.blip2 import Blip2
from vqa_ray.models.blip.instructblip import InstructBlip
from vqa_ray.models.blip.tokenizer import context_limit, load_tokenizer
from vqa_ray.models.chat.processor import Encoded
from vqa_ray.models.checkpoint.completeness import QFORMER_TOKENIZER
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.weights import load_text_tokenizer
from vqa_ray.models.generation.choices import continuation_tokens, opening_tokens
from vqa_ray.models.generation.config import eos_token_ids
from vqa_ray.models.generation.language_model import decoder_opening
from vqa_ray.models.layers.normalizer import Normalizer
from vqa_ray.models.transforms.square import SquareTransform
from vqa_ray.types import Image, ImageTransform

FAMILIES = {"blip-2": Blip2.prompting, "instructblip": InstructBlip.prompting}
"""How inference words the questions of each family."""


class QuestionPrompts:
    """See `TrainingPrompts`."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        from transformers import AutoConfig, GenerationConfig

        path = checkpoint.directory
        config = AutoConfig.from_pretrained(path, local_files_only=True)
        assert isinstance(checkpoint.transform, SquareTransform)
        self.transform: ImageTransform = checkpoint.transform
        self._side = checkpoint.transform.side
        self._image = [config.image_token_index] * int(config.num_query_tokens)
        self._tokenizer = load_tokenizer(path, config.image_token_index)
        self._qformer = load_text_tokenizer(path / QFORMER_TOKENIZER) if config.model_type == "instructblip" else None
        self._qformer_limit = int(config.qformer_config.max_position_embeddings)
        self._prompting: Any = FAMILIES[config.model_type]
        self._normalize = Normalizer(checkpoint.transform, torch.device("cpu"), torch.float32)
        self.context = context_limit(config.text_config, self._tokenizer)
        defaults = GenerationConfig.from_model_config(config.text_config)
        self.opening = decoder_opening(config.text_config, defaults) if config.text_config.is_encoder_decoder else None
        self.end = eos_token_ids(defaults.eos_token_id, self._tokenizer.eos_token_id, checkpoint.label)[0]

    def texts(self, conversation: Conversation) -> list[str]:
        """See `TrainingPrompts.texts`; one image, before all that is said.

        Raises:
            RowError: a system prompt, no image or several, an image elsewhere, or several turns of a model that reads
                each question with the image anew.
        """
        turns = conversation.turns
        asked = [turn.text.removeprefix(IMAGE_MARKER).strip() for turn in turns[::2]]
        answered = [turn.text for turn in turns[1::2]]
        at_front = turns[0].text.startswith(IMAGE_MARKER)
        if conversation.system is not None or conversation.images != 1 or not at_front:
            given = f"{conversation.images} images{', a system prompt' if conversation.system is not None else ''}"
            raise RowError(
                ErrorCode.ROW_MALFORMED,
                f"BLIP-2 and InstructBLIP read one image in front of a question and no system prompt; given: {given}",
            )
        if len(asked) > 1 and (self.opening is not None or self._qformer is not None):
            raise RowError(
                ErrorCode.ROW_MALFORMED,
                f"the model reads its image anew for each question, so that it learns one question a row; given are "
                f"{len(asked)}",
            )
        said = list(zip(asked, answered, strict=True))
        return [self._prompting.text(question, said[:place]) for place, question in enumerate(asked)]

    def about(self, images: Sequence[Image]) -> _AboutImage:
        """See `TrainingPrompts.about`."""
        resample = resample_of(self.transform)
        shown = np.stack([resize(image, self._side, self._side, resample) for image in images])
        return _AboutImage(self._normalize(torch.from_numpy(shown)), self._read, self._question)

    def text_ids(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """See `TrainingPrompts.text_ids`."""
        return [tuple(ids) for ids in self._tokenizer(list(prompts), verbose=False)["input_ids"]]

    def decode(self, tokens: Sequence[int]) -> str:
        """See `TrainingPrompts.decode`."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    def spellings(self, answer: str) -> Iterator[tuple[int, ...]]:
        """See `TrainingPrompts.spellings`; a full stop at its end is left out of an earlier turn."""
        for text in (answer, answer.rstrip(".")):
            yield (continuation_tokens if self.opening is None else opening_tokens)(self._plain, text)

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _read(self, prompt: str) -> Encoded:
        ids = self._tokenizer(prompt, verbose=False)["input_ids"]
        if self._image[0] in ids:
            raise RowError(ErrorCode.ROW_MALFORMED, "the text spells the token that stands for the image")
        return Encoded((*self._image, *ids), {})

    def _question(self, prompt: str) -> dict[str, Tensor]:
        """Return what the Q-Former reads of a prompt."""
        if self._qformer is None:
            return {}
        ids = self._qformer(prompt, truncation=True, max_length=self._qformer_limit, return_tensors="pt")["input_ids"]
        return {"qformer_input_ids": ids, "qformer_attention_mask": torch.ones_like(ids)}


class _AboutImage:
    """See `EncodedPrompts`."""

    def __init__(
        self, pixels: Tensor, read: Callable[[str], Encoded], question: Callable[[str], dict[str, Tensor]]
    ) -> None:
        self.tensors: dict[str, Tensor] = {"pixel_values": pixels}
        self._read, self._question = read, question

    def encode(self, prompt: str) -> Encoded:
        """See `EncodedPrompts.encode`."""
        self.tensors |= self._question(prompt)
        return self._read(prompt)
