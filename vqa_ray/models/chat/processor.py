"""A chat checkpoint's own processor: questions → prompts by its chat template, images → its tensors, once per image."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image as PillowImage
from torch import Tensor

from vqa_ray.errors import ErrorCode, ModelLoadError, RowError
from vqa_ray.models.chat.processor_loading import load_processor
from vqa_ray.models.chat.prompt_adapters import ADAPTERS, PromptAdapter
from vqa_ray.models.chat.remembered_images import RememberedImages
from vqa_ray.models.chat.template_limit import time_limit
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.types import Image, ImageOrImages, Turn

# For two prompts, which take a millisecond.
_TEMPLATE_S = 10
# Values per token whose names do not say so.
_PER_TOKEN = ("cross_attention_mask", "image_embeds_position_mask")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt as tokens, image placeholders expanded.

    Attributes:
        ids: token ids.
        kinds: tensors (L, …) with values per token that the model wants with them (`mm_token_type_ids`), by name.
    """

    ids: tuple[int, ...]
    kinds: Mapping[str, Tensor]


class ChatProcessor:
    """The chat template, tokenizer and image processor of a chat model.

    Args:
        processor: of transformers, with a chat template.
        image_token_id: the placeholder that the model replaces by image features; None where the model does without.
        label: who is named in an error, `model DIRECTORY`.
        adapter: words the prompts of a family that has no chat template.

    Raises:
        ModelLoadError: the chat template is missing or shows no image, or the image token is not the model's.
    """

    def __init__(
        self, processor: Any, image_token_id: int | None, label: str, adapter: PromptAdapter | None = None
    ) -> None:
        self.tokenizer: Any = processor.tokenizer
        self._adapter = adapter
        self._reserved: tuple[str, ...] = () if adapter is None else adapter.reserved
        self.image_token_id = image_token_id
        known = inspect.signature(type(processor).__call__).parameters
        given = {} if adapter is None else adapter.options
        self._options = {name: value for name, value in given.items() if name in known}
        self._processor = processor
        processor.image_processor = RememberedImages(processor.image_processor)
        if processor.chat_template is None:
            processor.chat_template = getattr(self.tokenizer, "chat_template", None)
        if adapter is not None:
            processor.chat_template = adapter.template
        if processor.chat_template is None:
            raise ModelLoadError(
                f"{label}: no chat template; wanted chat_template.jinja, chat_template.json or `chat_template` in "
                "tokenizer_config.json"
            )
        self._check(label)
        self.choice_ids = functools.lru_cache(maxsize=65_536)(self._choice_ids)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, config: Any) -> ChatProcessor:
        """Load tokenizer, image processor and chat template of a checkpoint.

        Raises:
            ModelLoadError: one of them is missing or does not fit the model.
        """
        label = checkpoint.label
        try:
            processor = load_processor(checkpoint.directory, config)
        except ModelLoadError:
            raise
        except (OSError, ImportError, RuntimeError, TypeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ModelLoadError(f"{label}: its processor cannot be loaded: {reason[:200]}") from error
        for part in ("tokenizer", "image_processor"):
            if getattr(processor, part, None) is None:
                raise ModelLoadError(f"{label}: {type(processor).__name__} has no {part.replace('_', ' ')}")
        if checkpoint.kept_size is not None:
            processor.image_processor.size = checkpoint.kept_size
        image_token_id = getattr(config, "image_token_id", None) or getattr(config, "image_token_index", None)
        adapter = ADAPTERS.get(config.model_type)
        if adapter is not None and adapter.image_end is not None:
            image_token_id = processor.tokenizer.convert_tokens_to_ids(adapter.image_end)
        return cls(processor, image_token_id, label, adapter)

    def prompt(self, question: str, turns: Sequence[Turn] = (), opening: str = "", images: int = 1) -> str:
        """Return the text that asks `question` of images after earlier `turns`, oldest first.

        Args:
            question: the question.
            turns: (question, answer), oldest first.
            opening: how the answer is to begin; it is set behind the template's own opening of an answer.
            images: how many; they stand in front of all that is said.

        Raises:
            RowError: the question or a turn holds the placeholder of an image, or the template shows fewer images.
        """
        messages: list[dict[str, Any]] = []
        for asked, answered in turns:
            messages += [_message("user", asked), _message("assistant", answered)]
        worded = question if self._adapter is None else self._adapter.word(question)
        messages.append(_message("user", worded))
        messages[0]["content"][:0] = [{"type": "image"}] * images
        return continued(self.render(messages, images), opening)

    def render(self, messages: Sequence[Mapping[str, Any]], images: int) -> str:
        """Return the text that asks for an answer to the last of the messages of transformers, which show `images`.

        Raises:
            RowError: see `prompt`.
        """
        text: str = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        reserved = next((token for token in self._reserved if token in text), None)
        if reserved is not None:
            raise RowError(ErrorCode.ROW_MALFORMED, f"the question holds {reserved}, a token of the model's own")
        names = ("image_placeholder_token", "image_token")
        placeholder = next((getattr(self._processor, name) for name in names if hasattr(self._processor, name)), None)
        if placeholder and not self._reserved and text.count(placeholder) != images:
            raise RowError(
                ErrorCode.ROW_MALFORMED,
                f"the prompt holds {text.count(placeholder)} images ({placeholder}) and the row brings {images}; a "
                "question cannot name that token, nor a row show more images than the model's chat template does",
            )
        return text

    @property
    def caption_request(self) -> tuple[str, str] | None:
        """The text that asks for a caption, and how the caption begins, where the family has its own."""
        return None if self._adapter is None else (self._adapter.caption, self._adapter.opening)

    def about(self, shown: ImageOrImages) -> AboutImages:
        """Prompts about one image, uint8 (H, W, 3), or about several; with an empty tuple about none."""
        return AboutImages(self._processor, shown if isinstance(shown, tuple) else (shown,), self._options)

    def text_ids(self, prompt: str) -> tuple[int, ...]:
        """Return the tokens of a prompt, one for each image as the template shows it."""
        return tuple(self.tokenizer(prompt)["input_ids"])

    def texts_ids(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return `text_ids` of several prompts."""
        return [tuple(ids) for ids in self.tokenizer(list(prompts), verbose=False)["input_ids"]]

    def image_end(self, ids: Sequence[int]) -> int:
        """Count the tokens up to the last of the image; all but one at most.

        Raises:
            RowError: there is no image in the tokens, so that the answer would ignore it.
        """
        last = next((last for last in reversed(range(len(ids))) if ids[last] == self.image_token_id), None)
        if last is None:
            raise RowError(ErrorCode.MODEL_ERROR, f"the prompt has no image tokens (id {self.image_token_id})")
        return min(last + 1, len(ids) - 1)

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Decode generated tokens, outer space removed; with `special`, markup tokens (boxes) stay."""
        text = str(self.tokenizer.decode(list(ids), skip_special_tokens=not special))
        markup = None if special or self._adapter is None else self._adapter.markup
        return (re.sub(markup, "", text) if markup else text).strip()

    def _choice_ids(self, choice: str) -> tuple[int, ...]:
        """Return the tokens of an answer that follow any prompt."""
        text = choice.strip()
        if not text:
            return ()
        return self.following_ids(continued(self._ending, text).removeprefix(self._ending))

    def following_ids(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text that stands right behind any prompt."""
        # Only the end of a prompt bears on how the answer after it is cut into tokens.
        before = self.tokenizer(self._ending, add_special_tokens=False)["input_ids"]
        after = self.tokenizer(self._ending + text, add_special_tokens=False)["input_ids"]
        if after[: len(before)] == before:
            return tuple(after[len(before) :])
        return tuple(self.tokenizer(text.strip(), add_special_tokens=False)["input_ids"])

    def _check(self, label: str) -> None:
        try:
            with time_limit(_TEMPLATE_S):
                prompts = [self.prompt(question) for question in ("a?", "b?")]
        except RowError as error:
            raise ModelLoadError(f"{label}: its chat template does not show the image: {error.message}") from error
        except TimeoutError as error:
            raise ModelLoadError(f"{label}: its chat template takes more than {_TEMPLATE_S} s") from error
        except Exception as error:
            # A template is a program of the checkpoint's: whatever it raises, it cannot be used.
            raise ModelLoadError(f"{label}: its chat template fails: {' '.join(str(error).split())[:200]}") from error
        if "a?" not in prompts[0]:
            raise ModelLoadError(f"{label}: its chat template leaves out the question")
        self._ending = prompts[0][prompts[0].rindex("a?") + 1 :]
        if self._adapter is not None and self._adapter.ending is not None:
            self._ending = self._adapter.ending
        # Gemma 3's processor names the token that opens an image, its tokenizer the one that stands for a part of it.
        named = [getattr(part, "image_token_id", None) for part in (self._processor, self.tokenizer)]
        known = [token for token in named if token is not None]
        if known and self.image_token_id is not None and self.image_token_id not in known:
            raise ModelLoadError(
                f"{label}: the processor's image token is {known[0]}, config.json says {self.image_token_id}"
            )


class AboutImages:
    """Prompts about the same images, whose tensors are made once.

    Args:
        processor: of transformers; see `ChatProcessor`.
        images: uint8 (H, W, 3) each.
        options: further arguments of the processor.
    """

    def __init__(self, processor: Any, images: Sequence[Image], options: Mapping[str, Any]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.count = len(images)
        self._processor = processor
        self._options = options
        self._images = [PillowImage.fromarray(image) for image in images]
        self._shape: tuple[int, int] = images[0].shape[:2] if images else (0, 0)
        self._made: list[dict[str, Any]] = []
        self._encoded: dict[str, Encoded] = {}

    def encode(self, prompt: str) -> Encoded:
        """Return a prompt as tokens; `tensors` are there from the first one on."""
        if prompt not in self._encoded:
            images = [self._images] if self._images else None
            with self._processor.image_processor.remembering(self._made) as made:
                features = dict(self._processor(images=images, text=[prompt], return_tensors="pt", **self._options))
            self._made = list(made)
            ids = features.pop("input_ids")
            # PaliGemma's processor gives labels too, as for training.
            for name in ("attention_mask", "labels"):
                features.pop(name, None)
            names = [name for name in features if name.endswith("token_type_ids") or name in _PER_TOKEN]
            kinds = {name: features.pop(name)[0] for name in names}
            self._encoded[prompt] = Encoded(tuple(ids[0].tolist()), kinds)
            self.tensors = {name: value for name, value in features.items() if isinstance(value, Tensor)}
        return self._encoded[prompt]

    def tokens(self, prompt: str) -> tuple[int, ...]:
        """Return the token ids of a prompt."""
        return self.encode(prompt).ids

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels as the model sees the first image: Qwen-VL's own where its processor tells it."""
        grid = self.tensors.get("image_grid_thw")
        if grid is None:
            return self._shape
        _, rows, columns = grid[0].tolist()
        side = int(self._processor.image_processor.patch_size)
        return rows * side, columns * side


def continued(prompt: str, opening: str) -> str:
    """`prompt` followed by the beginning of an answer, with a space between them unless the prompt ends in one."""
    if not opening:
        return prompt
    return f"{prompt}{opening}" if not prompt or prompt[-1].isspace() else f"{prompt} {opening}"


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}
