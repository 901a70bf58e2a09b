"""Florence-2: tasks and questions by an encoder-decoder behind image features (Xiao et al. 2023, arXiv:2311.06242)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.checkpoint.json_files import read_json
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.spread import load_or_spread
from vqa_ray.models.checkpoint.weights import load_text_tokenizer
from vqa_ray.models.florence2.tasks import CAPTION, TaskPrompts, form_of, is_grounding
from vqa_ray.models.generation.boxes import location_boxes
from vqa_ray.models.generation.decoding import Decoding
from vqa_ray.models.generation.engine import GenerativeEngine
from vqa_ray.models.generation.language_model import LanguageModelBackbone, Seq2SeqAdapter, Shared
from vqa_ray.models.generation.processed import processed
from vqa_ray.models.layers.normalizer import Normalizer
from vqa_ray.models.transforms.square import SquareTransform
from vqa_ray.types import Answer, Box, Image

_LOCATIONS = re.compile(r"(?:<loc_\d+>|</?poly>|<sep>)+")
# Tokens of its vocabulary, one of them misspelt there. Other text in brackets, as of a web page, stays.
_TAGS = re.compile(r"</?(?:od|ocr|n?cap|dcap|grounding|seg|region_cap|region_to_desciption|proposal|and|s|pad)>")


class Florence2(GenerativeEngine):
    """A loaded `Florence2ForConditionalGeneration`. Vision runs once per image, however many questions it brings."""

    backbone: Florence2Backbone
    prompting = TaskPrompts()

    @classmethod
    def load_backbone(cls, checkpoint: Checkpoint, device: str | None, dtype: str | None) -> Any:
        """See `GenerativeEngine.load_backbone`.

        Raises:
            ModelLoadError: see `load_or_spread` and `load_text_tokenizer`.
        """
        from transformers import Florence2ForConditionalGeneration

        model, where, transform = load_or_spread(
            Florence2ForConditionalGeneration, checkpoint, device=device, dtype=dtype
        )
        # It would close a text that is cut.
        model.generation_config.forced_eos_token_id = None
        tokenizer = load_text_tokenizer(checkpoint.directory)
        return Florence2Backbone(model, tokenizer, transform, where, _ungrounded(checkpoint))

    def caption(self, images: Sequence[Image], prompt: str | None = None) -> list[Answer]:
        """See `GenerativeModel.caption`: the answer to the task of that name; `prompt` is not taken."""
        del prompt
        limit = self.generation.caption_max_new_tokens
        return self._generate(images, self._rows(images, [[CAPTION]] * len(images), None, limit), limit, 1)

    def _constrained(self, decoding: Decoding) -> Decoding:
        return processed(decoding, self.backbone.generation_config, [self.backbone.opening] * len(decoding.logits))

    def _text(self, tokens: Sequence[int]) -> str:
        named = _LOCATIONS.sub(", ", self._markup(tokens))
        return _TAGS.sub("", named).strip(" ,")

    def _boxes(self, prompt: str, tokens: Sequence[int]) -> tuple[Box, ...]:
        found = location_boxes(self._markup(tokens), form_of(prompt))
        ignored = self.backbone.ungrounded if is_grounding(prompt) else ()
        return tuple(box for box in found if box.label not in ignored)

    def _markup(self, tokens: Sequence[int]) -> str:
        return str(self.backbone.tokenizer.decode(list(tokens), skip_special_tokens=False))


class Florence2Backbone(LanguageModelBackbone):
    """See `GenerationBackbone`: image features stand in front of the prompt in an encoder's input.

    Args:
        model: in evaluation mode.
        tokenizer: of its language model.
        transform: the size and the normalisation of its images.
        device: of its vision encoder.
        ungrounded: phrases of a caption that name no place ("the image").
    """

    answers = captions = pads = True

    def __init__(
        self, model: Any, tokenizer: Any, transform: SquareTransform, device: torch.device, ungrounded: frozenset[str]
    ) -> None:
        self.device = device
        self.ungrounded = ungrounded
        self.tokenizer = tokenizer
        self.vision: Any = model.model.vision_tower
        self.image_tokens = _image_tokens(model.config.vision_config, transform.side)
        self.image_token: int | None = model.config.image_token_id
        self.prompt_limit: int = model.config.text_config.max_position_embeddings - self.image_tokens
        self.language_model = Seq2SeqAdapter(model, tokenizer)
        self.eos_token_ids = self.language_model.eos_token_ids
        self.opening = self.language_model.opening
        self.generation_config: Any = model.generation_config
        self._projector = model.model.multi_modal_projector
        self._pixels = Normalizer(transform, device, next(self.vision.parameters()).dtype)

    def tokenize(self, text: str) -> Sequence[int]:
        """See `GenerationBackbone.tokenize`."""
        framed = f"{self.tokenizer.bos_token}{text}{self.tokenizer.eos_token}"
        return tuple(self.tokenizer(framed, add_special_tokens=False, verbose=False)["input_ids"])

    def encode(self, pixels: Tensor) -> Shared:
        """See `GenerationBackbone.encode`."""
        return self.language_model.share(self._projector(self.vision(self._pixels(pixels)).last_hidden_state))


def _ungrounded(checkpoint: Checkpoint) -> frozenset[str]:
    """Return the phrases whose boxes the checkpoint's own processor leaves out."""
    settings = read_json(checkpoint.directory, "processor_config.json", required=False)
    tasks = settings.get("post_processor_config") or {}
    return frozenset((tasks.get("phrase_grounding") or {}).get("banned_grounding_tokens") or ())


def _image_tokens(vision: Any, side: int) -> int:
    """Count the tokens of an image: the places that its convolutions leave, and one for their mean."""
    for kernel, stride, padding in zip(vision.patch_size, vision.patch_stride, vision.patch_padding, strict=True):
        side = (side + 2 * padding - kernel) // stride + 1
    return side * side + 1
