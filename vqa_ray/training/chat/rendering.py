"""Conversations as tokens: what inference sends, the answers behind it, and which tokens are learnt."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Self

from vqa_ray.conversation.conversation import IMAGE_MARKER, Conversation
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.resize import resample_of, resize
from vqa_ray.models.chat.batching import followed_by
from vqa_ray.models.chat.processor import Encoded
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.transforms.chat import WholePatches
from vqa_ray.training.chat.prompts import EncodedPrompts, TrainingPrompts
from vqa_ray.training.chat.question_prompts import FAMILIES, QuestionPrompts
from vqa_ray.training.chat.row import IGNORED, ChatRow
from vqa_ray.training.chat.template_prompts import TemplatePrompts
from vqa_ray.types import Image


class ChatRenderer:
    """Renders conversations for one checkpoint.

    Args:
        prompts: of its inference.
        max_tokens: a row has at most so many; None for all that the model reads.
    """

    def __init__(self, prompts: TrainingPrompts, max_tokens: int | None = None) -> None:
        self._prompts = prompts
        self.max_tokens = min(prompts.context, max_tokens or prompts.context)

    @classmethod
    def from_directory(
        cls, path: str | os.PathLike[str], *, max_tokens: int | None = None, max_pixels: int | None = None
    ) -> Self:
        """Open the processor of a checkpoint.

        Args:
            path: its directory.
            max_tokens: see `ChatRenderer`.
            max_pixels: the largest area of an image, see `within_pixels`.

        Raises:
            RequestError: see `within_pixels`; a chat template that cannot be split, or a part that is missing.
        """
        return cls.from_checkpoint(Checkpoint.open(str(path)).limited(max_pixels), max_tokens=max_tokens)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, max_tokens: int | None = None) -> Self:
        """See `from_directory`."""
        asks = checkpoint.family_name in FAMILIES
        return cls(QuestionPrompts(checkpoint) if asks else TemplatePrompts(checkpoint), max_tokens)

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        return self._prompts.end

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of generated tokens."""
        return self._prompts.decode(tokens)

    def render(self, conversation: Conversation, images: Sequence[Image]) -> ChatRow:
        """Render a conversation about images, uint8 (H, W, 3) each.

        A row that is too long is never cut: its images are made smaller where the family sees them in their own size.

        Raises:
            RowError: it is too long, cannot be worded, or its answers cannot be found in the tokens.
        """
        texts = self._prompts.texts(conversation)
        row = self._row(texts, conversation, images)
        if row.tokens <= self.max_tokens:
            return row
        smaller = self._smaller(images, row)
        fitted = row if smaller is None else self._row(texts, conversation, smaller)
        if fitted.tokens > self.max_tokens:
            lowered = "" if smaller is None else f", {fitted.tokens} with the smallest images"
            raise RowError(
                ErrorCode.ROW_TOO_LONG,
                f"the conversation has {row.tokens} tokens{lowered}; a row may have {self.max_tokens} and is never cut",
            )
        sizes = ", ".join(f"{image.shape[1]}x{image.shape[0]}" for image in smaller or ())
        return replace(fitted, warning=f"images made smaller, to {sizes} pixels: {row.tokens} tokens were too many")

    def _row(self, texts: Sequence[str], conversation: Conversation, images: Sequence[Image]) -> ChatRow:
        answers = [turn.text for turn in conversation.turns if turn.role == "assistant"]
        shown, counts = 0, []
        for turn in conversation.turns[::2]:
            shown += turn.text.count(IMAGE_MARKER)
            counts.append(shown)
        about = {count: self._prompts.about(images[:count]) for count in dict.fromkeys(counts)}
        prompt = about[shown].encode(texts[-1])
        spelt = next(self._prompts.spellings(answers[-1]))
        opening = self._prompts.opening
        if opening is not None:
            targets = [IGNORED] * (len(opening) - 1) + [*spelt, self._prompts.end]
            return ChatRow(prompt.ids, targets, prompt.kinds, about[shown].tensors, (*opening, *spelt))
        last = followed_by(prompt, spelt)
        targets = [IGNORED] * len(last.ids)
        tensors = about[shown].tensors
        for start, answer in zip(self._starts(texts, counts, about, prompt), answers[:-1], strict=True):
            tokens = self._found(start, answer, last.ids)
            targets[start - 1 : start + len(tokens)] = [*tokens, self._prompts.end]
        targets[len(prompt.ids) - 1 :] = [*spelt, self._prompts.end]
        return ChatRow(last.ids, targets, last.kinds, tensors)

    def _starts(
        self, texts: Sequence[str], counts: Sequence[int], about: Mapping[int, EncodedPrompts], last: Encoded
    ) -> Iterator[int]:
        """Yield how many tokens each prompt but the last has; 0 where the last does not begin with them."""
        if len(texts) == 1:
            return
        # The image processor costs most of a prompt. Tokens of the text alone tell as much where the same images are
        # shown: what stands behind an earlier prompt is then cut in the same way, with images and without.
        *earlier, whole = self._prompts.text_ids(texts)
        for text, count, ids in zip(texts, counts, earlier, strict=False):
            behind = whole[len(ids) :]
            if (
                count == counts[-1]
                and texts[-1].startswith(text)
                and whole[: len(ids)] == ids
                and last.ids[-len(behind) :] == behind
            ):
                yield len(last.ids) - len(behind)
            else:
                prompt = about[count].encode(text)
                yield len(prompt.ids) if last.ids[: len(prompt.ids)] == prompt.ids else 0

    def _found(self, start: int, answer: str, whole: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens of an earlier answer, which follow its prompt in the whole conversation."""
        for tokens in self._prompts.spellings(answer) if start else ():
            if tokens and tuple(whole[start : start + len(tokens)]) == tokens:
                return tokens
        raise RowError(
            ErrorCode.ROW_MALFORMED,
            f"the tokens of an answer cannot be told from what stands around it: {answer[:80]!r}",
        )

    def _smaller(self, images: Sequence[Image], row: ChatRow) -> list[Image] | None:
        """Return images that leave room for the text, as far as the model's own lower bound allows."""
        transform = self._prompts.transform
        if not images or not isinstance(transform, WholePatches):
            return None
        sizes = [transform.target_size(*image.shape[:2]) for image in images]
        area = transform.factor**2
        text = row.tokens - sum(height * width for height, width in sizes) // area
        pixels = max(self.max_tokens - text, 1) * area // len(images)
        bound = max(pixels * transform.frames, transform.min_pixels)
        limited = replace(transform, max_pixels=min(bound, transform.max_pixels))
        resample = resample_of(transform)
        return [resize(image, *limited.target_size(*image.shape[:2]), resample) for image in images]
