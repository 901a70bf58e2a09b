"""An endless supply of catalogue samples: rendered once into memory, asked something new each time."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqa_ray import images
from vqa_ray.catalog.product import CATEGORIES, COLOURS, MOTIFS, PATTERNS, Product, sample_product
from vqa_ray.catalog.questions import ANSWERS, KINDS, NOTHING, ask, truth
from vqa_ray.catalog.render import encode, render
from vqa_ray.models.base import Image
from vqa_ray.models.vilt_network import ViltNetwork
from vqa_ray.models.vilt_transform import ViltTransform
from vqa_ray.training.batch import Group, Sample, collate
from vqa_ray.training.loop import Trainer, vqa_loss
from vqa_ray.training.optimizer import OptimizerConfig

_CHUNK = 250
_LARGEST_SHIFT_PX = 6
_SMALLEST_SHARE = 0.05

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


@dataclass(frozen=True, slots=True)
class RenderedProduct:
    """A product and its image at the model's own size, decoded from the encoded bytes as any job would see it."""

    product: Product
    image: Image


def render_chunk(seed: int, start: int, stop: int, transform: ViltTransform) -> list[RenderedProduct]:
    """Products `start` to `stop` of the catalogue `seed`."""
    rendered = []
    for index in range(start, stop):
        product = sample_product(seed, index)
        image = images.decode(encode(product, render(product)), images.ImageLimits())
        height, width = transform.target_size(*image.shape[:2])
        rendered.append(RenderedProduct(product, images.resize(image, height, width)))
    return rendered


def render_pool(seed: int, count: int, transform: ViltTransform, processes: int) -> list[RenderedProduct]:
    """Render `count` products in parallel; equal for equal arguments, whatever the number of processes."""
    bounds = [(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    # A fresh interpreter each: forking a process that runs torch's threads can hang.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_one_thread) as workers:
        chunks = workers.map(functools.partial(_chunk, seed, transform), bounds)
        return list(itertools.chain.from_iterable(chunks))


def _one_thread() -> None:
    torch.set_num_threads(1)


def _chunk(seed: int, transform: ViltTransform, bounds: tuple[int, int]) -> list[RenderedProduct]:
    return render_chunk(seed, *bounds, transform)


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
    """A trainer that also reads every product attribute off the image tokens.

    A question teaches one attribute of an image; these auxiliary heads teach all of them at once, which a network
    from scratch learns to see several times sooner from. They are left behind when the checkpoint is saved.
    """

    def __init__(self, network: ViltNetwork, config: OptimizerConfig, total_steps: int, dtype: torch.dtype) -> None:
        width = network.model.config.hidden_size
        self._auxiliary = nn.ModuleList(nn.Linear(width, len(classes)) for classes in ATTRIBUTES.values())
        network.add_module("auxiliary", self._auxiliary)
        super().__init__(network, config, total_steps, dtype)

    def loss(self, group: Group) -> Tensor:
        """The answers' loss plus the cross-entropy of every attribute."""
        hidden, mask = self.network.hidden(group.input_ids, group.text_mask, self.network.image_tokens(group.pixels))
        total = vqa_loss(self.network.head(hidden, mask), group.targets)
        pooled = hidden[:, group.input_ids.shape[1] :].mean(dim=1)
        for head, wanted in zip(self._auxiliary, group.attributes.unbind(dim=1), strict=True):
            total = total + F.cross_entropy(head(pooled).float(), wanted, reduction="sum")
        return total


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


def evaluation_samples(
    pool: Sequence[RenderedProduct], tokenize: Callable[[str], tuple[int, ...]], seed: int
) -> list[tuple[Sample, str]]:
    """One question of every kind about every product of the pool, with its kind."""
    rng = np.random.default_rng(seed)
    return [
        (_sample(item.product, item.image, tokenize(asked.question), asked.answer), kind)
        for item in pool
        for kind in KINDS
        for asked in (ask(item.product, kind, rng),)
    ]
