"""Training on the built-in catalogue: what is asked of rendered products, and what is learnt beside the answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from vqa_ray.catalog.product import CATEGORIES, COLOURS, MOTIFS, PATTERNS, Product
from vqa_ray.catalog.questions import ANSWERS, KINDS, NOTHING, ask, truth
from vqa_ray.models.base import Image
from vqa_ray.models.vilt_network import ViltNetwork
from vqa_ray.training.batch import Group, Sample, collate
from vqa_ray.training.catalogue_pool import RenderedProduct
from vqa_ray.training.loop import Trainer, predictions
from vqa_ray.training.optimizer import OptimizerConfig

_LARGEST_SHIFT_PX = 6
_SMALLEST_SHARE = 0.05
_EVALUATED_TOGETHER = 256

LABELS = {answer: index for index, answer in enumerate(ANSWERS)}
# Value → class of each auxiliary head.
ATTRIBUTES = {
    name: {value: index for index, value in enumerate(values)}
    for name, values in (
        ("category", CATEGORIES),
        ("colour", tuple(COLOURS)),
        ("pattern", PATTERNS),
        ("motif", (*MOTIFS, NOTHING)),
    )
}


class CatalogueBatches:
    """Batches drawn from rendered products, each of one image size; sizes come as often as the products have them.

    Images are mirrored one by one and shifted together by a few pixels: neither changes any answer.

    Args:
        pool: the products.
        tokenize: question → token ids.
        batch_size: question/image pairs per batch.
    """

    def __init__(
        self, pool: Sequence[RenderedProduct], tokenize: Callable[[str], tuple[int, ...]], batch_size: int
    ) -> None:
        buckets: dict[tuple[int, ...], list[RenderedProduct]] = defaultdict(list)
        for item in pool:
            buckets[item.image.shape].append(item)
        self._groups = list(buckets.values())
        self._shares = np.array([len(group) for group in self._groups]) / len(pool)
        self._tokenize = tokenize
        self._batch_size = batch_size

    def draw(self, rng: np.random.Generator, shares: Mapping[str, float]) -> Group:
        """One batch.

        Args:
            shares: kind of question → how often it is asked; they need not sum to 1.
        """
        odds = np.array(list(shares.values()))
        kinds = rng.choice(list(shares), size=self._batch_size, p=odds / odds.sum()).tolist()
        products = self._groups[rng.choice(len(self._groups), p=self._shares)]
        samples = []
        for place, kind in zip(rng.integers(len(products), size=self._batch_size).tolist(), kinds, strict=True):
            item = products[place]
            asked = ask(item.product, kind, rng)
            samples.append(_sample(item.product, item.image, self._tokenize(asked.question), asked.answer))
        (group,) = collate(samples, len(LABELS))
        mirrored = torch.from_numpy(rng.random(self._batch_size) < 0.5)
        group.pixels[mirrored] = group.pixels[mirrored].flip(2)
        down, right = rng.integers(-_LARGEST_SHIFT_PX, _LARGEST_SHIFT_PX + 1, size=2).tolist()
        return replace(group, pixels=group.pixels.roll((down, right), dims=(1, 2)))


def _sample(product: Product, image: Image, token_ids: tuple[int, ...], answer: str) -> Sample:
    attributes = tuple(classes[truth(product, name)] for name, classes in ATTRIBUTES.items())
    return Sample(image, token_ids, {LABELS[answer]: 1.0}, attributes)


class CatalogueTrainer(Trainer):
    """A trainer that also reads every product attribute off the image tokens."""

    def __init__(self, network: ViltNetwork, config: OptimizerConfig, total_steps: int, dtype: torch.dtype) -> None:
        classes = [len(each) for each in ATTRIBUTES.values()]
        super().__init__(network, config, total_steps, dtype, auxiliary=classes)


def question_shares(accuracy: Mapping[str, float]) -> dict[str, float]:
    """How often to ask each kind: the more, the further its accuracy is from 1 compared with guessing.

    Args:
        accuracy: kind → accuracy on unseen products at the last evaluation; empty before the first. Until then only
            open questions are asked: each of them teaches an attribute, a yes or no hardly anything.
    """
    if not accuracy:
        return {kind: float(not kind.startswith("is_")) for kind in KINDS}
    guessed = {kind: 0.5 if kind.startswith("is_") else 0.0 for kind in KINDS}
    return {kind: _SMALLEST_SHARE + (1 - accuracy[kind]) / (1 - guessed[kind]) for kind in KINDS}


def accuracy_by_kind(
    trainer: Trainer, pool: Sequence[RenderedProduct], tokenize: Callable[[str], tuple[int, ...]], seed: int
) -> dict[str, float]:
    """One question of every kind about every product of the pool: the share answered right, per kind and `accuracy`."""
    rng = np.random.default_rng(seed)
    by_size: dict[tuple[int, ...], list[RenderedProduct]] = defaultdict(list)
    for item in pool:
        by_size[item.image.shape].append(item)
    right: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for items in by_size.values():
        for start in range(0, len(items), _EVALUATED_TOGETHER):
            part = items[start : start + _EVALUATED_TOGETHER]
            for kind in KINDS:
                asked = [ask(item.product, kind, rng) for item in part]
                samples = [
                    _sample(item.product, item.image, tokenize(a.question), a.answer)
                    for item, a in zip(part, asked, strict=True)
                ]
                for logits, targets in predictions(trainer, collate(samples, len(LABELS))):
                    right[kind] += (logits.argmax(-1) == targets.argmax(-1)).tolist()
    accuracy = {kind: float(np.mean(hits)) for kind, hits in right.items()}
    return {"accuracy": float(np.mean([hit for hits in right.values() for hit in hits])), **accuracy}
