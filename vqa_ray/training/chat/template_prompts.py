"""Prompts of chat models by the chat template of their checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vqa_ray.conversation.conversation import IMAGE_MARKER, Conversation
from vqa_ray.errors import ErrorCode, ModelLoadError, RowError
from vqa_ray.models.chat.base import load_processor
from vqa_ray.models.chat.processor import AboutImages, ChatProcessor
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import eos_token_ids
from vqa_ray.types import Image

# Two turns that no template words by itself.
_PROBE = (("a?", "b."), ("c?", "d."))


class TemplatePrompts:
    """See `TrainingPrompts`: the processor of inference words and encodes all.

    Args:
        checkpoint: of a chat model.

    Raises:
        ModelLoadError: its template cannot be split into prompts and answers, or no token ends an answer.
    """

    opening: tuple[int, ...] | None = None

    def __init__(self, checkpoint: Checkpoint) -> None:
        config, self._processor = load_processor(checkpoint)
        self.transform = checkpoint.transform
        self.context: int = getattr(config.get_text_config(), "max_position_embeddings", None) or 2**31
        behind = _behind_answer(self._processor, checkpoint.label)
        self.end = _end_token(self._processor, behind, _stops(checkpoint, config), checkpoint.label)

    def texts(self, conversation: Conversation) -> list[str]:
        """See `TrainingPrompts.texts`; a system prompt goes first where the template shows one."""
        said: list[dict[str, Any]] = []
        if conversation.system is not None:
            said.append(_message("system", [_text(conversation.system)]))
        texts, images = [], 0
        for turn in conversation.turns:
            if turn.role == "assistant":
                texts.append(self._worded(said, images))
                said.append(_message("assistant", [_text(turn.text)]))
            else:
                said.append(_message("user", _parts(turn.text)))
                images += turn.text.count(IMAGE_MARKER)
        return texts

    def about(self, images: Sequence[Image]) -> AboutImages:
        """See `TrainingPrompts.about`."""
        return self._processor.about(tuple(images))

    def text_ids(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """See `TrainingPrompts.text_ids`."""
        return self._processor.texts_ids(prompts)

    def decode(self, tokens: Sequence[int]) -> str:
        """See `TrainingPrompts.decode`."""
        return self._processor.decode(tokens)

    def spellings(self, answer: str) -> Iterator[tuple[int, ...]]:
        """See `TrainingPrompts.spellings`."""
        yield self._processor.choice_ids(answer)
        yield self._processor.following_ids(answer.strip())

    def _worded(self, messages: Sequence[dict[str, Any]], images: int) -> str:
        from jinja2 import TemplateError

        try:
            text = self._processor.render(messages, images)
        except TemplateError as error:
            raise RowError(ErrorCode.ROW_MALFORMED, f"the chat template refuses the conversation: {error}") from error
        place = 0
        for message in messages:
            for part in message["content"]:
                words = part.get("text", "").strip()
                found = text.find(words, place)
                if found < 0:
                    raise RowError(
                        ErrorCode.ROW_MALFORMED,
                        f"the chat template leaves out or changes a text of the {message['role']}: {words[:80]!r}",
                    )
                place = found + len(words)
        return text


def _behind_answer(processor: ChatProcessor, label: str) -> str:
    """Check that the template can be split; return what it sets behind an answer."""
    (asked, answered), (second, _) = _PROBE
    before = processor.prompt(asked)
    after = processor.prompt(second, [(asked, answered)])
    rest = after.removeprefix(before)
    if rest == after:
        raise ModelLoadError(
            f"{label}: its chat template cannot be split for training: the prompt of a second question does not begin "
            "with that of the first"
        )
    header, found, behind = rest.partition(answered)
    if not found or header.strip():
        raise ModelLoadError(
            f"{label}: its chat template has no generation prompt that fits: it sets {header.strip()[:60]!r} before an "
            "answer, which a prompt has to end with (add_generation_prompt)"
        )
    return behind.partition(second)[0]


def _stops(checkpoint: Checkpoint, config: Any) -> int | list[int] | None:
    """Return the ids that generation stops at, as the model itself reads them."""
    from transformers import GenerationConfig

    if (checkpoint.directory / "generation_config.json").is_file():
        found = GenerationConfig.from_pretrained(checkpoint.directory, local_files_only=True)
    else:
        found = GenerationConfig.from_model_config(config)
    stops: int | list[int] | None = found.eos_token_id
    return stops


def _end_token(processor: ChatProcessor, behind: str, stops: int | list[int] | None, label: str) -> int:
    """Return the token that is to end an answer: the template's where generation stops at it, else the tokenizer's."""
    tokenizers: int | None = processor.tokenizer.eos_token_id
    ends = eos_token_ids(stops, tokenizers, label)
    first = processor.tokenizer(behind.lstrip(), add_special_tokens=False)["input_ids"][:1]
    wanted = [*first, tokenizers]
    return next((token for token in wanted if token in ends), ends[0])


def _parts(text: str) -> list[dict[str, str]]:
    """Split a text at its markers; the line break between a marker and the text belongs to the marker."""
    first, *others = text.split(IMAGE_MARKER)
    parts = [_text(first.removesuffix("\n"))] if first.strip() else []
    for place, each in enumerate(others, start=1):
        words = each.removeprefix("\n")
        words = words.removesuffix("\n") if place < len(others) else words
        parts += [{"type": "image"}, *([_text(words)] if words.strip() else [])]
    return parts


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _message(role: str, content: list[dict[str, str]]) -> dict[str, Any]:
    return {"role": role, "content": content}
