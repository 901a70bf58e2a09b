"""`python -m jobs.train_catalog`: train the bundled ViLT from scratch on rendered catalogue products.

The command that made the checkpoint in `vqa_ray/assets/catalog-vilt` stands in its README.md.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from vqa_ray.catalog.questions import all_words
from vqa_ray.models.device import choose_device, choose_dtype
from vqa_ray.models.vilt_network import ViltNetwork
from vqa_ray.training import catalogue, scratch
from vqa_ray.training.catalogue_pool import render_pool
from vqa_ray.training.loop import StepReport, fit
from vqa_ray.training.optimizer import OptimizerConfig
from vqa_ray.training.shape import ViltShape, transform_of

logger = logging.getLogger("vqa_ray.train_catalog")

_UNSEEN_PRODUCTS = 300
_LOGGED_STEPS = 50


def train_catalog(
    *,
    output: Annotated[Path, typer.Option(help="Directory of the checkpoint to write.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 6_500,
    batch_size: Annotated[int, typer.Option(help="Question/image pairs per step.")] = 128,
    products: Annotated[int, typer.Option(help="Products rendered for training.")] = 30_000,
    seed: Annotated[int, typer.Option(help="Catalogue seed; weights and questions follow from it too.")] = 1000,
    learning_rate: Annotated[float, typer.Option(help="At the top of the schedule.")] = 1e-3,
    evaluate_every: Annotated[int, typer.Option(help="Steps between two evaluations, each saved.")] = 250,
    processes: Annotated[int, typer.Option(help="Processes that render.")] = 2,
) -> None:
    """Train, evaluate on unseen products, save. Run again with the same arguments, it goes on where it stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    shape = ViltShape()
    transform = transform_of(shape)
    tokenizer = scratch.build_tokenizer(all_words(), shape.max_text_tokens)
    tokenize = scratch.question_tokenizer(tokenizer, shape.max_text_tokens)
    device = choose_device(None)
    model = scratch.build_vilt(shape, len(tokenizer), list(catalogue.LABELS), seed)
    network = ViltNetwork(model, transform.mean, transform.std).to(device)
    config = OptimizerConfig(learning_rate=learning_rate, head_multiplier=1.0, weight_decay=0.05, warmup_fraction=0.05)
    trainer = catalogue.CatalogueTrainer(network, config, steps, choose_dtype(None, device))
    state = output / "training_state.pt"
    metrics: dict[str, float] = {}
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        trainer.load_state_dict(saved["trainer"])
        metrics.update(saved["metrics"])
    logger.info("from step %d of %d; rendering %d products", trainer.step, steps, products)
    source = catalogue.CatalogueBatches(render_pool(seed, products, transform, processes), tokenize, batch_size)
    unseen = render_pool(seed + 1, _UNSEEN_PRODUCTS, transform, processes)
    started = [time.monotonic()]

    def evaluate() -> None:
        metrics.update(catalogue.accuracy_by_kind(trainer, unseen, tokenize, seed))
        logger.info("step %d %s", trainer.step, json.dumps({name: round(value, 4) for name, value in metrics.items()}))

    def report(step: StepReport) -> None:
        if step.step % _LOGGED_STEPS == 0:
            rate = _LOGGED_STEPS * step.samples / (time.monotonic() - started[0])
            logger.info("step %d loss %.3f, %.0f pairs/s", step.step, step.loss, rate)
            started[0] = time.monotonic()
        if step.step % evaluate_every == 0:
            evaluate()
            output.mkdir(parents=True, exist_ok=True)
            torch.save({"trainer": trainer.state_dict(), "metrics": metrics}, state.with_suffix(".tmp"))
            state.with_suffix(".tmp").replace(state)

    # Seeded by the step: a resumed run draws what an undisturbed one would have drawn next.
    batches = (
        [source.draw(np.random.default_rng([seed, step]), catalogue.question_shares(metrics))]
        for step in itertools.count(trainer.step)
    )
    fit(trainer, batches, report)
    # Half the bytes of float32; what is evaluated is what was saved.
    scratch.save_checkpoint(output, model.to(torch.bfloat16), tokenizer, transform)
    model.float()
    evaluate()
    (output / "metrics.json").write_text(json.dumps({"steps": trainer.step, "seed": seed, **metrics}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(train_catalog)
