"""Questions, captions and closed choices, for every family that encodes an image once and then generates text."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from vqa_ray.errors import RequestError
from vqa_ray.models import score_meanings
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.backbone import GenerationBackbone
from vqa_ray.models.generation.choices import choice_scores, flatten_choices
from vqa_ray.models.generation.config import GenerationConfig, finish_warning, join_warnings
from vqa_ray.models.generation.decoding import Decoding, Generated, ended, greedy, mean_log_probabilities, up_to_eos
from vqa_ray.models.generation.passes import Passes, Row
from vqa_ray.models.generation.prompt_budget import Prompt, PromptTruncator, Wording
from vqa_ray.models.generation.prompts import Prompting
from vqa_ray.models.layers.microbatch import group_by_image
from vqa_ray.models.transforms.unknown_words import unknown_warning
from vqa_ray.types import Answer, Box, ChoiceScores, Image, Turn


class GenerativeEngine:
    """A loaded generative model.

    An image is encoded once however many questions it brings; prompts of similar length run together.

    Args:
        backbone: on its device and in its dtype, in evaluation mode.
        prompting: words the questions.
        generation: limits and search.
    """

    score_meaning = score_meanings.GENERATIVE
    # How a family is asked where the user does not say.
    prompting: Wording = Prompting()

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        dtype: str | None = None,
        compile: bool = False,
        prompting: Wording | None = None,
        generation: GenerationConfig | None = None,
    ) -> Self:
        """Load the weights of a checkpoint.

        Args:
            checkpoint: of the family.
            device: see `ModelOptions`; a family's `load_backbone` says where `float16` is possible.
            dtype: see `ModelOptions`; a family's `load_backbone` says where `float16` is possible.
            compile: run the vision encoder through `torch.compile` (CUDA only).
            prompting: of the user's own.
            generation: greedy, 20 tokens, without.

        Raises:
            ModelLoadError: see the family's `load_backbone`.
        """
        backbone = cls.load_backbone(checkpoint, device, dtype)
        if compile and backbone.device.type == "cuda":
            backbone.vision = torch.compile(backbone.vision, dynamic=True)
        return cls(backbone, prompting or cls.prompting, generation or GenerationConfig())

    @classmethod
    def load_backbone(cls, checkpoint: Checkpoint, device: str | None, dtype: str | None) -> Any:
        """Load the `GenerationBackbone` of a checkpoint onto its device."""
        raise NotImplementedError

    def __init__(self, backbone: GenerationBackbone, prompting: Wording, generation: GenerationConfig) -> None:
        self.backbone = backbone
        self.device = backbone.device
        self.generation = generation
        self.passes = Passes(backbone)
        self._prompting = prompting
        self._fitted = functools.lru_cache(maxsize=65_536)(self._fit)
        self._choice = functools.lru_cache(maxsize=65_536)(backbone.choice_tokens)

    def answer(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        top_k: int,
        contexts: Sequence[Sequence[Sequence[Turn]]] | None = None,
    ) -> list[list[Answer]]:
        """See `GenerativeModel.answer`; one answer each, or with beams at most as many as those.

        Raises:
            RequestError: the checkpoint only describes images.
            RowError: `row_malformed`, see `PromptTruncator.fit`.
        """
        if not self.backbone.answers:
            raise RequestError("the model describes images and does not answer questions; caption with it instead")
        rows = self._rows(images, questions, contexts, self.generation.max_new_tokens)
        return group_by_image(self._generate(images, rows, self.generation.max_new_tokens, top_k), questions)

    def caption(self, images: Sequence[Image], prompt: str | None = None) -> list[Answer]:
        """See `GenerativeModel.caption`.

        Raises:
            RequestError: the checkpoint only answers questions.
            RowError: `row_malformed` when the prompt is too long.
        """
        if not self.backbone.captions:
            raise RequestError("the model answers questions and does not describe images; ask it a question instead")
        limit = self.generation.caption_max_new_tokens
        words = (prompt or "").strip()
        begun = self._prompts(limit).plain(words)
        rows = [Row(index, index, begun) for index in range(len(images))]
        captions = self._generate(images, rows, limit, 1)
        return [
            replace(caption, answers=tuple((f"{words} {text}".strip(), score) for text, score in caption.answers))
            for caption in captions
        ]

    def score(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        """See `VqaModel.score`: a softmax over the choices of the mean log-probability of their tokens.

        Raises:
            RequestError: the checkpoint only describes images.
            RowError: `row_malformed`, see `PromptTruncator.fit`.
        """
        if not self.backbone.answers:
            raise RequestError("the model describes images and does not answer questions; caption with it instead")
        said = [tuple(map(self._choice, option)) for option in flatten_choices(questions, choices)]
        longest = max((len(tokens) for option in said for tokens in option), default=1)
        known = [tuple(filter(None, option)) for option in said]
        rows = [
            replace(row, choices=known[row.index])
            for row in self._rows(images, questions, None, longest)
            if known[row.index]
        ]

        def work(encoded: Any, images: Tensor, part: Sequence[Row]) -> list[list[float]]:
            decoding = self.backbone.prefill(encoded, images, [row.prompt for row in part], longest)
            return mean_log_probabilities(decoding, [row.choices for row in part], max(len(part), 16))

        found = self.passes.run(images, rows, longest, work)
        warnings = {row.index: row.prompt.warning for row in rows}
        return group_by_image(choice_scores(said, found, warnings), questions)

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        """Return whether each choice has text; a generative model can write any text."""
        return [bool(self._choice(choice)) for choice in choices]

    def _prompts(self, new_tokens: int) -> PromptTruncator:
        limit = self.backbone.prompt_limit - new_tokens
        if limit < 1:
            raise RequestError(
                f"generation: {new_tokens} new tokens leave no room for a prompt; the model's context holds "
                f"{self.backbone.prompt_limit} tokens beside the image"
            )
        return PromptTruncator(self.backbone.tokenize, self._prompting, limit, self.backbone.image_token)

    def _fit(self, question: str, turns: tuple[Turn, ...], new_tokens: int) -> Prompt:
        prompt = self._prompts(new_tokens).fit(question, turns)
        return replace(
            prompt, warning=join_warnings(prompt.warning, unknown_warning(self.backbone.tokenizer, question))
        )

    def _rows(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        contexts: Sequence[Sequence[Sequence[Turn]]] | None,
        new_tokens: int,
    ) -> list[Row]:
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images but {len(questions)} lists of questions")
        turns = contexts if contexts is not None else [[()] * len(texts) for texts in questions]
        prompts = [
            (image, self._fitted(text, tuple((each[0], each[1]) for each in earlier), new_tokens))
            for image, (texts, earliers) in enumerate(zip(questions, turns, strict=True))
            for text, earlier in zip(texts, earliers, strict=True)
        ]
        return [Row(index, image, prompt) for index, (image, prompt) in enumerate(prompts)]

    def _generate(self, images: Sequence[Image], rows: Sequence[Row], new_tokens: int, top_k: int) -> list[Answer]:
        search = self.generation
        count = min(top_k, search.num_beams)

        def work(encoded: Any, images: Tensor, part: Sequence[Row]) -> list[list[Generated]]:
            prompts = [row.prompt for row in part]
            if search.num_beams == 1:
                decoding = self.backbone.prefill(encoded, images, prompts, new_tokens)
                return [[one] for one in greedy(self._constrained(decoding), self.backbone.eos_token_ids, new_tokens)]
            return self._search(encoded, images, prompts, count, new_tokens)

        found = self.passes.run(images, rows, new_tokens * search.num_beams, work)
        answers = []
        for row in rows:
            texts, finish = found[row.index], found[row.index][0].finish_reason
            scored = tuple((self._text(one.tokens), math.exp(one.log_probability)) for one in texts)
            warning = finish_warning(finish, new_tokens, row.prompt.warning)
            answers.append(Answer(scored, warning, self._boxes(row.prompt.text, texts[0].tokens), finish))
        return answers

    def _search(
        self, encoded: Any, images: Tensor, prompts: Sequence[Prompt], count: int, new_tokens: int
    ) -> list[list[Generated]]:
        """Beam search by transformers; each text is then scored as greedy ones are."""
        options = {
            "num_beams": self.generation.num_beams,
            "num_return_sequences": count,
            "length_penalty": self.generation.length_penalty,
            "max_new_tokens": new_tokens,
            "do_sample": False,
        }
        eos_token_ids = self.backbone.eos_token_ids
        found = self.backbone.beams(encoded, images, prompts, count, options)
        texts = [[up_to_eos(ids, eos_token_ids) for ids in each] for each in found]
        decoding = self.backbone.prefill(encoded, images, prompts, new_tokens)
        means = mean_log_probabilities(decoding, texts, max(len(prompts), 16))
        return [
            [ended(ids, value, eos_token_ids) for ids, value in zip(each, values, strict=True)]
            for each, values in zip(texts, means, strict=True)
        ]

    def _constrained(self, decoding: Decoding) -> Decoding:
        """Return a decoding whose logits are as the checkpoint's generation config wants them."""
        return decoding

    def _boxes(self, prompt: str, tokens: Sequence[int]) -> tuple[Box, ...]:
        """Return the places that the answer to a prompt points at."""
        return ()

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self.backbone.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()
