"""The bundled model on catalogue products that its training never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import checkpoints
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray.catalog.product import Product, sample_product
from vqa_ray.catalog.questions import KINDS, CatalogQuestion, ask
from vqa_ray.catalog.render import encode, render
from vqa_ray.evaluation.binary import binary_report, said_yes
from vqa_ray.evaluation.vqa_accuracy import JudgedAnswer, vqa_accuracy
from vqa_ray.images.decoder import ImageLimits, decode_resized
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import VqaModel
from vqa_ray.types import Image, ImageTransform

_PRODUCTS = 2_000
_SEED = 7_000_001
_BATCH = 128
DOG_QUESTION = "is there a dog?"


def measure(settings: Settings) -> Measured:
    """VQA accuracy over every kind of question, by kind, and F1 of one yes/no question asked of every product."""
    if not checkpoints.has_bundled():
        return Measured([], [f"{checkpoints.BUNDLED} is not in the package yet: nothing to measure."])
    model, transform = ModelOptions(checkpoints.BUNDLED).load(), Checkpoint.open(checkpoints.BUNDLED).transform
    products = [sample_product(_SEED, index) for index in range(settings.pick(_PRODUCTS, 100))]
    judged: list[JudgedAnswer] = []
    dogs: list[tuple[bool, bool]] = []
    for start in range(0, len(products), _BATCH):
        some = products[start : start + _BATCH]
        asked = [_questions(product) for product in some]
        texts = [[*(one.question for one in each), DOG_QUESTION] for each in asked]
        answered = _answers(model, list(_images(some, transform)), texts)
        for product, each, (*said, dog) in zip(some, asked, answered, strict=True):
            judged += [JudgedAnswer(word, [one.answer], one.kind) for word, one in zip(said, each, strict=True)]
            dogs.append((said_yes(dog), product.motif == "dog"))
    accuracy, dog_report = vqa_accuracy(judged), binary_report(dogs)
    kinds = [
        figure(f"accuracy of {kind.replace('_', ' ')} ({accuracy.n_by_type[kind]:,} questions)", [value])
        for kind, value in accuracy.by_type.items()
    ]
    return Measured(
        [
            figure(
                f"{checkpoints.BUNDLED}, unseen products: VQA accuracy ({accuracy.n:,} questions)",
                [accuracy.overall],
                at_least=0.95,
            ),
            figure(f'"{DOG_QUESTION}" F1 ({dog_report.n:,} products)', [dog_report.f1], at_least=0.95),
            *kinds,
        ],
        [
            f"{len(products):,} products of catalogue seed {_SEED}, which the training did not use, encoded and "
            "decoded as files; a question of every kind each, and the dog question of all. Default dtype.",
        ],
    )


def _images(products: Sequence[Product], transform: ImageTransform) -> Iterator[Image]:
    for product in products:
        yield decode_resized(encode(product, render(product)), ImageLimits(), transform.target_size)


def _questions(product: Product) -> list[CatalogQuestion]:
    """Return a question of each kind."""
    rng = np.random.default_rng([_SEED, product.index])
    return [ask(product, kind, rng) for kind in KINDS]


def _answers(model: VqaModel, images: Sequence[Image], questions: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[one.answers[0][0] for one in each] for each in model.answer(images, questions, 1)]
