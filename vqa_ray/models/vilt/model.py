"""ViLT: question answering over the checkpoint's own answer vocabulary (Kim et al. 2021, arXiv:2102.03334)."""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqa_ray.models import score_meanings
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.weights import load_text_tokenizer, load_weights
from vqa_ray.models.generation.choices import flatten_choices
from vqa_ray.models.layers.device import choose_device, choose_dtype, send, send_indices
from vqa_ray.models.layers.microbatch import group_by_image
from vqa_ray.models.transforms.unknown_words import unknown_warning
from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.models.transforms.wordpiece import load_wordpiece
from vqa_ray.models.vilt.modules import load_plain
from vqa_ray.models.vilt.network import Pairs, ViltNetwork
from vqa_ray.types import Answer, ChoiceScores, Image

logger = logging.getLogger(__name__)

# Tokens (text + patches, summed over pairs) in one forward pass: enough to fill the device, little enough to fit.
_TOKENS_PER_PASS = {"cpu": 4_096, "cuda": 131_072}


@dataclass(frozen=True, slots=True)
class _Question:
    """A tokenised question; `warning` tells if it was cut or holds unknown words."""

    ids: tuple[int, ...]
    warning: str | None


@dataclass(frozen=True, slots=True)
class _Pair:
    """One question of one image; `index` is its place among all pairs of the call."""

    index: int
    image: int
    question: _Question


class Vilt:
    """A loaded `ViltForQuestionAnswering`.

    Images run together without padding, and each is embedded once for all of its questions. Scores are
    `sigmoid(logit)`, independent per answer.

    Args:
        network: the frozen network, on its device and in its dtype.
        tokenizer: the checkpoint's tokenizer.
        vocabulary: the answers, in the order of the logits.
        max_text_tokens: longer questions are cut to this many tokens, which the answer's `warning` tells.
    """

    score_meaning = score_meanings.SIGMOID

    def __init__(
        self, network: ViltNetwork, tokenizer: Any, vocabulary: AnswerVocabulary, max_text_tokens: int = 40
    ) -> None:
        self.network = network.eval()
        self.labels = vocabulary.labels
        self.device: torch.device = network.mean.device
        self._vocabulary = vocabulary
        self._max_text_tokens = max_text_tokens
        self._tokens_per_pass = _TOKENS_PER_PASS.get(self.device.type, _TOKENS_PER_PASS["cpu"])
        self._tokenizer = tokenizer
        self._forward: Any = network
        # Whether images of several sizes share a pass; a compiled network would be compiled for each combination.
        self._mixed = True
        self._question = functools.lru_cache(maxsize=65_536)(self._tokenize)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, device: str | None = None, dtype: str | None = None, compile: bool = False
    ) -> Vilt:
        """Load the weights of a checkpoint.

        Raises:
            ModelLoadError: weights are missing or do not fit, or the device or dtype does not exist.
        """
        path, transform, vocabulary = checkpoint.directory, checkpoint.transform, checkpoint.vocabulary
        assert isinstance(transform, ViltTransform)
        assert vocabulary is not None
        chosen = choose_device(device)
        precision = choose_dtype(dtype, chosen, checkpoint.config, checkpoint.label)
        model = load_plain(path, checkpoint.config, precision) or _load_stock(path, precision)
        tokenizer = load_wordpiece(path) or load_text_tokenizer(path)
        network = ViltNetwork(model.to(chosen), transform.mean, transform.std, frozen=True).to(chosen)
        vilt = cls(network, tokenizer, vocabulary, model.config.max_position_embeddings)
        if compile and chosen.type == "cuda":
            vilt._forward, vilt._mixed = torch.compile(network, dynamic=True), False
        return vilt

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[str]], top_k: int) -> list[list[Answer]]:
        """See `VqaModel.answer`; at most as many answers as the vocabulary holds."""
        pairs = self._pairs(questions)
        k = min(top_k, len(self.labels))

        def best(logits: Tensor) -> Tensor:
            values, indices = logits.topk(k, dim=-1)
            return torch.stack([values.sigmoid(), indices.to(values.dtype)])

        results = self._run(images, pairs, best)
        flat = [
            Answer(
                tuple((self.labels[int(i)], float(s)) for s, i in zip(*results[pair.index].tolist(), strict=True)),
                pair.question.warning,
            )
            for pair in pairs
        ]
        return group_by_image(flat, questions)

    def score(
        self,
        images: Sequence[Image],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        """See `VqaModel.score`; a choice outside the vocabulary scores NaN."""
        pairs = self._pairs(questions)
        wanted = flatten_choices(questions, choices)
        columns = [tuple(self._vocabulary.index_of(choice) for choice in option) for option in wanted]
        # Only the columns that some question asks for leave the device.
        used = sorted({column for option in columns for column in option if column is not None})
        index_of = {column: position for position, column in enumerate(used)}
        index = send_indices(used, self.device)
        results = self._run(images, pairs, lambda logits: logits.index_select(-1, index).sigmoid()[None])
        flat = [
            ChoiceScores(
                tuple(
                    math.nan if c is None else float(results[pair.index][0, index_of[c]]) for c in columns[pair.index]
                ),
                pair.question.warning,
            )
            for pair in pairs
        ]
        return group_by_image(flat, questions)

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        """Return whether each choice is in the answer vocabulary, case ignored."""
        return self._vocabulary.known_choices(choices)

    def _tokenize(self, question: str) -> _Question:
        ids = self._tokenizer(question, add_special_tokens=True, truncation=False, verbose=False)["input_ids"]
        limit = self._max_text_tokens
        unknown = unknown_warning(self._tokenizer, question)
        if len(ids) <= limit:
            return _Question(tuple(ids), unknown)
        # As in training (truncation=True, max_length=40): the closing token stays.
        cut = f"question cut from {len(ids)} to the model's {limit} tokens"
        return _Question((*ids[: limit - 1], ids[-1]), f"{cut}; {unknown}" if unknown else cut)

    def _pairs(self, questions: Sequence[Sequence[str]]) -> list[_Pair]:
        asked = [(image, text) for image, texts in enumerate(questions) for text in texts]
        return [_Pair(index, image, self._question(text)) for index, (image, text) in enumerate(asked)]

    @torch.inference_mode()
    def _run(self, images: Sequence[Image], pairs: Sequence[_Pair], reduce: Any) -> dict[int, Any]:
        """`reduce(logits (N, A) float32) -> (R, N, K)` of every pair, as {pair index: numpy (R, K)}.

        Nothing waits for the device until all passes are queued.
        """
        done: list[tuple[Sequence[_Pair], Tensor]] = []
        queue: list[Sequence[_Pair]] = [*self._passes(images, pairs)]
        while queue:
            part = queue.pop(0)
            try:
                done.append((part, reduce(self._logits(images, part).float())))
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                torch.cuda.empty_cache()
                self._tokens_per_pass = max(self._tokens_per_pass // 2, 256)
                half = len(part) // 2
                logger.warning("out of memory with %d pairs; going on with %d at a time", len(part), half)
                queue[:0] = [part[:half], part[half:]]
        results: dict[int, Any] = {}
        for part, reduced in done:
            host = reduced.cpu().numpy()
            results.update({pair.index: host[:, column] for column, pair in enumerate(part)})
        return results

    def _passes(self, images: Sequence[Image], pairs: Sequence[_Pair]) -> list[list[_Pair]]:
        """Pairs in passes; images of one size meet, and similar question lengths, so little is padded."""
        ordered = sorted(pairs, key=lambda pair: (images[pair.image].shape, len(pair.question.ids), pair.image))
        passes: list[list[_Pair]] = []
        room = 0
        for pair, before in zip(ordered, [None, *ordered], strict=False):
            height, width, _ = images[pair.image].shape
            tokens = 1 + (height // self.network.patch) * (width // self.network.patch) + len(pair.question.ids)
            changes = before is not None and images[before.image].shape != images[pair.image].shape
            if tokens > room or (changes and not self._mixed):
                passes.append([])
                room = self._tokens_per_pass
            passes[-1].append(pair)
            room -= tokens
        return passes

    def _logits(self, images: Sequence[Image], part: Sequence[_Pair]) -> Tensor:
        """Float logits (N, A) of one pass."""
        groups = [list(group) for _, group in itertools.groupby(part, key=lambda pair: images[pair.image].shape)]
        shown = [sorted({pair.image for pair in group}) for group in groups]
        stacked = [torch.from_numpy(np.stack([images[image] for image in each])) for each in shown]
        tokens = self.network.all_image_tokens([send(pixels, self.device) for pixels in stacked])
        logits: Tensor = self._forward([self._asked(*each) for each in zip(groups, shown, tokens, strict=True)])
        return logits

    def _asked(self, group: Sequence[_Pair], shown: Sequence[int], tokens: Tensor) -> Pairs:
        """Pair the questions of a group with the tokens (images, 1 + patches, D) of their `shown` images."""
        index_of = {image: position for position, image in enumerate(shown)}
        order = [index_of[pair.image] for pair in group]
        if order != list(range(len(shown))):
            tokens = tokens[send_indices(order, self.device)]
        lengths = [len(pair.question.ids) for pair in group]
        width = max(lengths)
        ids = torch.zeros(len(group), width, dtype=torch.long)
        for row, pair in enumerate(group):
            ids[row, : lengths[row]] = torch.tensor(pair.question.ids)
        mask = None
        if min(lengths) < width:
            mask = send(torch.arange(width)[None] < torch.tensor(lengths)[:, None], self.device)
        return Pairs(send(ids, self.device), mask, tokens)


def _load_stock(path: Path, dtype: torch.dtype) -> Any:
    """Load the checkpoint through transformers, which converts old names and formats, and names what is wrong."""
    from transformers import ViltForQuestionAnswering

    return load_weights(ViltForQuestionAnswering, path, dtype)
