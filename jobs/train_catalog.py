"""`python -m jobs.train_catalog`: train the bundled ViLT from scratch on rendered catalogue products.

The command that made the checkpoint in `vqa_ray/assets/catalog-vilt` stands in its README.md.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

logger = logging.getLogger("vqa_ray.train_catalog")


def train_catalog(
    output: Annotated[Path, typer.Option(help="Directory of the checkpoint to write.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 12_000,
    batch_size: Annotated[int, typer.Option(help="Question/image pairs per step.")] = 128,
    products: Annotated[int, typer.Option(help="Products rendered for training.")] = 40_000,
    seed: Annotated[int, typer.Option(help="Catalogue seed; weights and questions follow from it too.")] = 1000,
    learning_rate: Annotated[float, typer.Option(help="At the top of the schedule.")] = 1e-3,
    evaluate_every: Annotated[int, typer.Option(help="Steps between two evaluations, each saved.")] = 1_000,
    processes: Annotated[int, typer.Option(help="Processes that render.")] = 2,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16 for matrix products; default: as the device.")] = "",
) -> None:
    """Train, evaluate on unseen products, save. Run again with the same arguments, it goes on where it stopped."""
    import torch

    from vqa_ray.models.device import choose_device, choose_dtype
    from vqa_ray.models.vilt_network import ViltNetwork
    from vqa_ray.training.catalogue import LABELS, CatalogueBatches, CatalogueTrainer, question_shares, render_pool
    from vqa_ray.training.loop import StepReport, fit
    from vqa_ray.training.optimizer import OptimizerConfig
    from vqa_ray.training.scratch import ViltShape, build_tokenizer, build_vilt, save_checkpoint, transform_of

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    shape = ViltShape()
    transform = transform_of(shape)
    tokenizer, tokenize = _tokenizer(build_tokenizer, shape.max_text_tokens)
    device = choose_device(None)
    model = build_vilt(shape, len(tokenizer), list(LABELS), seed)
    network = ViltNetwork(model, transform.mean, transform.std).to(device)
    config = OptimizerConfig(learning_rate=learning_rate, head_multiplier=1.0, weight_decay=0.05, warmup_fraction=0.05)
    trainer = CatalogueTrainer(network, config, steps, choose_dtype(dtype or None, device))
    state = output / "training_state.pt"
    metrics: dict[str, float] = {}
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        trainer.load_state_dict(saved["trainer"])
        metrics.update(saved["metrics"])
        logger.info("going on from step %d", trainer.step)
    logger.info("rendering %d products", products)
    pool = render_pool(seed, products, transform, processes)
    unseen = render_pool(seed + 1, 300, transform, processes)
    logger.info("training %d parameters", sum(p.numel() for p in model.parameters()))

    source = CatalogueBatches(pool, tokenize, batch_size)

    def batches() -> Iterator[Any]:
        # Seeded by the step: a resumed run draws what an undisturbed one would have drawn next.
        for step in itertools.count(trainer.step):
            yield [source.draw(np.random.default_rng([seed, step]), question_shares(metrics))]

    recent: list[float] = []
    began = time.monotonic()

    def report(step: StepReport) -> None:
        recent.append(step.loss)
        if step.step % 100 == 0:
            rate = len(recent) * batch_size / max(1e-9, time.monotonic() - report_began[0])
            logger.info("step %d loss %.3f, %.0f pairs/s", step.step, float(np.mean(recent)), rate)
            recent.clear()
            report_began[0] = time.monotonic()
        if step.step % evaluate_every == 0 or step.step == steps:
            metrics.update(_evaluate(trainer, unseen, tokenize, seed))
            logger.info("step %d %s", step.step, json.dumps({k: round(v, 4) for k, v in metrics.items()}))
            output.mkdir(parents=True, exist_ok=True)
            torch.save({"trainer": trainer.state_dict(), "metrics": metrics}, state.with_suffix(".tmp"))
            state.with_suffix(".tmp").replace(state)

    report_began = [time.monotonic()]
    fit(trainer, batches(), report)
    # Half the bytes; the evaluation below is of what was saved.
    save_checkpoint(output, model.to(torch.bfloat16), tokenizer, transform)
    model.float()
    metrics = _evaluate(trainer, unseen, tokenize, seed)
    elapsed = time.monotonic() - began
    (output / "metrics.json").write_text(json.dumps({"steps": steps, "seconds": elapsed, **metrics}, indent=2))
    logger.info("done in %.0f s: %s", elapsed, json.dumps(metrics))


def _tokenizer(build: Callable[..., Any], max_text_tokens: int) -> tuple[Any, Callable[[str], tuple[int, ...]]]:
    import functools

    from vqa_ray.catalog.questions import all_words

    tokenizer = build(all_words(), max_text_tokens)

    @functools.lru_cache(maxsize=100_000)
    def tokenize(question: str) -> tuple[int, ...]:
        return tuple(tokenizer(question, truncation=True, max_length=max_text_tokens)["input_ids"])

    return tokenizer, tokenize


def _evaluate(trainer: Any, pool: Any, tokenize: Callable[[str], tuple[int, ...]], seed: int) -> dict[str, float]:
    """Accuracy over all questions and per kind on products the training never saw."""
    from vqa_ray.training.batch import collate
    from vqa_ray.training.catalogue import LABELS, evaluation_samples
    from vqa_ray.training.loop import predictions

    right: dict[str, list[bool]] = defaultdict(list)
    asked = sorted(evaluation_samples(pool, tokenize, seed), key=lambda pair: pair[0].image.shape)
    for start in range(0, len(asked), 256):
        part = asked[start : start + 256]
        kinds = {id(sample): kind for sample, kind in part}
        by_shape: dict[Any, list[Any]] = defaultdict(list)
        for sample, _ in part:
            by_shape[sample.image.shape].append(sample)
        for samples in by_shape.values():
            for logits, targets in predictions(trainer, collate(samples, len(LABELS))):
                hits = (logits.argmax(-1) == targets.argmax(-1)).tolist()
                for sample, hit in zip(samples, hits, strict=True):
                    right[kinds[id(sample)]].append(hit)
    accuracy = {kind: float(np.mean(hits)) for kind, hits in sorted(right.items())}
    return {"accuracy": float(np.mean([hit for hits in right.values() for hit in hits])), **accuracy}


if __name__ == "__main__":
    typer.run(train_catalog)
