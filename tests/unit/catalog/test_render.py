from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vqa_ray.catalog.motifs import MOTIF_PARTS
from vqa_ray.catalog.patterns import second_colour
from vqa_ray.catalog.product import CATEGORIES, COLOURS, MOTIFS, PATTERNS, Product, sample_product
from vqa_ray.catalog.render import encode, render
from vqa_ray.catalog.scene import background, obstacle
from vqa_ray.catalog.shapes import SHAPES, Role

DIGEST = """
import hashlib
from vqa_ray.catalog.product import sample_product
from vqa_ray.catalog.render import encode, render
digest = hashlib.sha256()
for index in range(8):
    product = sample_product(4, index)
    digest.update(encode(product, render(product)))
print(digest.hexdigest())
"""


def pixels(product: Product) -> npt.NDArray[np.int64]:
    return np.asarray(render(product)).astype(np.int64)


def test_the_same_bytes_in_every_process() -> None:
    here = hashlib.sha256()
    for index in range(8):
        product = sample_product(4, index)
        here.update(encode(product, render(product)))
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    run = subprocess.run([sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == here.hexdigest()


def test_everything_that_can_be_sold_can_be_drawn() -> None:
    assert set(SHAPES) == set(CATEGORIES)
    assert set(MOTIF_PARTS) == set(MOTIFS)
    for index, category in enumerate(CATEGORIES):
        for pattern in PATTERNS:
            product = replace(sample_product(6, index), category=category, pattern=pattern)
            image = render(product)
            assert image.mode == "RGB"
            assert image.size == (product.width, product.height)


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_encoded_images_decode_to_what_was_rendered(encoding: str) -> None:
    product = replace(sample_product(6, 1), encoding=encoding, jpeg_quality=90)
    image = render(product)
    decoded = Image.open(BytesIO(encode(product, image)))
    assert decoded.format == encoding.upper()
    difference = np.abs(np.asarray(decoded).astype(int) - np.asarray(image))
    assert difference.max() == 0 if encoding == "png" else difference.mean() < 6


def test_jpeg_quality_is_used() -> None:
    product = sample_product(6, 1)
    image = render(product)
    sizes = [len(encode(replace(product, encoding="jpeg", jpeg_quality=quality), image)) for quality in (60, 80, 95)]
    assert sizes == sorted(sizes)
    assert sizes[2] > 1.3 * sizes[0]


@pytest.mark.parametrize("colour", COLOURS)
def test_the_product_colour_is_the_one_most_seen(colour: str) -> None:
    product = replace(sample_product(8, 3), category="cushion", colour=colour, pattern="plain", motif=None)
    names = list(COLOURS)
    nearest = []
    for seed in range(6):
        image = pixels(replace(product, width=240, height=240, render_seed=seed))
        middle = image[90:150, 90:150].reshape(-1, 1, 3)
        distance = ((middle - np.array(list(COLOURS.values()))) ** 2).sum(axis=2)
        nearest.append(np.bincount(distance.argmin(axis=1), minlength=len(names)))
    counts = np.sum(nearest, axis=0)
    assert names[int(counts.argmax())] == colour
    assert counts.max() > 0.8 * counts.sum()


def test_every_pattern_looks_different() -> None:
    product = replace(sample_product(8, 5), category="cushion", colour="red", motif=None)
    drawn = {pattern: render(replace(product, pattern=pattern)).tobytes() for pattern in PATTERNS}
    assert len(set(drawn.values())) == len(PATTERNS)


@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "plain"])
def test_a_pattern_leaves_the_product_colour_a_fair_share(pattern: str) -> None:
    product = replace(sample_product(8, 5), category="plate", colour="blue", motif=None, pattern=pattern)
    image = pixels(replace(product, width=240, height=240))[70:170, 70:170].reshape(-1, 3)
    own = np.abs(image - COLOURS["blue"]).sum(axis=1)
    second = np.abs(image - second_colour("blue")).sum(axis=1)
    assert 0.40 < (own < second).mean() < 0.90


def test_another_motif_changes_its_own_place_only() -> None:
    for index, category in enumerate(CATEGORIES):
        product = replace(sample_product(12, index), category=category, motif="dog")
        dog = pixels(product)
        cat = pixels(replace(product, motif="cat"))
        rows, columns = np.nonzero(np.abs(dog - cat).sum(axis=2))
        short = min(product.width, product.height)
        extent = max(np.ptp(rows), np.ptp(columns)) / short
        assert 0.22 < extent < 0.55, category


def test_motifs_have_silhouettes_of_their_own() -> None:
    product = replace(sample_product(12, 0), category="cushion", pattern="plain", colour="yellow")
    drawn = [pixels(replace(product, motif=motif)) for motif in MOTIFS]
    for one in range(len(MOTIFS)):
        for other in range(one):
            share = (np.abs(drawn[one] - drawn[other]).sum(axis=2) > 100).mean()
            assert share > 0.015, (MOTIFS[one], MOTIFS[other])


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_silhouette_fills_the_unit_square_and_holds_its_print(category: str) -> None:
    shape = SHAPES[category]
    shown = np.concatenate([part for role, part in shape.parts if role is not Role.HOLE])
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert np.ptp(shown, axis=0).min() > 0.65
    assert 0.44 < 2 * shape.print_radius < 0.56
    body = Image.new("L", (200, 200), 0)
    for role, part in shape.parts:
        ImageDraw.Draw(body).polygon((part * 200).ravel().tolist(), fill=0 if role is Role.HOLE else 255)
    y, x = np.mgrid[0:200, 0:200] / 200
    printed = (x - shape.print_x) ** 2 + (y - shape.print_y) ** 2 < shape.print_radius**2
    assert (np.asarray(body)[printed] > 0).mean() > 0.8


@given(st.sampled_from(CATEGORIES), st.integers(0, 2**32))
def test_nothing_gets_in_the_way_of_a_motif(category: str, seed: int) -> None:
    shape = SHAPES[category]
    radius = shape.print_radius * 1.05
    _, part = obstacle(shape.print_x, shape.print_y, radius, np.random.default_rng(seed))
    distance = np.hypot(part[:, 0] - shape.print_x, part[:, 1] - shape.print_y)
    assert distance.min() > radius


@pytest.mark.parametrize("colour", COLOURS)
def test_the_background_stands_apart_from_the_product(colour: str) -> None:
    for seed in range(150):
        drawn = background(60, 40, COLOURS[colour], np.random.default_rng(seed))
        assert drawn.shape == (40, 60, 3)
        assert drawn.dtype == np.uint8
        middle = np.median(drawn.reshape(-1, 3), axis=0)
        assert np.linalg.norm(middle - np.array(COLOURS[colour])) > 60
