"""Rendered catalogue products at a model's own size, made in parallel and kept in memory."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from vqa_ray import images
from vqa_ray.catalog.product import Product, sample_product
from vqa_ray.catalog.render import encode, render
from vqa_ray.models.base import Image
from vqa_ray.models.vilt_transform import ViltTransform

_CHUNK = 250


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
