"""Training on the catalogue: what is drawn, what it costs to resume, and that it teaches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vqa_ray.catalog.questions import ANSWERS, KINDS, all_words
from vqa_ray.models.vilt_network import ViltNetwork
from vqa_ray.training import catalogue, scratch
from vqa_ray.training.catalogue_pool import RenderedProduct, render_chunk, render_pool
from vqa_ray.training.optimizer import OptimizerConfig
from vqa_ray.training.shape import ViltShape, transform_of

SHAPE = ViltShape(hidden_size=32, layers=2, heads=2, intermediate_size=64, patch_size=16, shortest_edge=32)
TOKENIZER = scratch.build_tokenizer(all_words())
TOKENIZE = scratch.question_tokenizer(TOKENIZER)


@pytest.fixture(scope="module")
def pool() -> list[RenderedProduct]:
    return render_chunk(5, 0, 24, transform_of(SHAPE))


def test_the_pool_is_the_same_for_any_number_of_processes(pool: list[RenderedProduct]) -> None:
    parallel = render_pool(5, 24, transform_of(SHAPE), 1)
    assert [item.product for item in parallel] == [item.product for item in pool]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(parallel, pool, strict=True))


def test_a_batch_follows_from_its_seed_and_has_one_size(pool: list[RenderedProduct]) -> None:
    source = catalogue.CatalogueBatches(pool, TOKENIZE, 16)
    shares = dict.fromkeys(KINDS, 1.0)
    first, second = (source.draw(np.random.default_rng([1, 2]), shares) for _ in range(2))
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.input_ids, second.input_ids)
    assert first.pixels.shape[0] == 16
    assert first.targets.sum().item() == 16
    assert first.attributes.shape == (16, len(catalogue.ATTRIBUTES))
    other = source.draw(np.random.default_rng([1, 3]), shares)
    assert first.pixels.shape != other.pixels.shape or not torch.equal(first.pixels, other.pixels)


def test_only_the_kinds_that_have_a_share_are_asked(pool: list[RenderedProduct]) -> None:
    source = catalogue.CatalogueBatches(pool, TOKENIZE, 64)
    group = source.draw(np.random.default_rng(0), {"colour": 1.0, "is_motif": 0.0})
    answers = {ANSWERS[index] for index in group.targets.argmax(-1).tolist()}
    assert answers <= set(catalogue.ATTRIBUTES["colour"])


def test_shares_follow_the_errors() -> None:
    before = catalogue.question_shares({})
    assert {kind for kind, share in before.items() if share} == {"category", "colour", "pattern", "motif"}
    accuracy = {"accuracy": 0.9, **dict.fromkeys(KINDS, 1.0), "is_colour": 0.5, "category": 0.5}
    shares = catalogue.question_shares(accuracy)
    assert shares["is_colour"] > shares["category"] > shares["colour"] > 0


def test_auxiliary_heads_learn_and_are_not_saved(pool: list[RenderedProduct], tmp_path: Path) -> None:
    model = scratch.build_vilt(SHAPE, len(TOKENIZER), list(catalogue.LABELS), 0)
    network = ViltNetwork(model)
    trainer = catalogue.CatalogueTrainer(network, OptimizerConfig(learning_rate=3e-3), 30, torch.float32)
    source = catalogue.CatalogueBatches(pool, TOKENIZE, 16)
    shares = catalogue.question_shares({})
    losses = [trainer.train_step([source.draw(np.random.default_rng([0, i]), shares)])[0] for i in range(30)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    accuracy = catalogue.accuracy_by_kind(trainer, pool, TOKENIZE, 0)
    assert set(accuracy) == {"accuracy", *KINDS}
    assert accuracy["accuracy"] == pytest.approx(np.mean([accuracy[kind] for kind in KINDS]))
    scratch.save_checkpoint(tmp_path, model, TOKENIZER, transform_of(SHAPE))
    assert not [name for name in model.state_dict() if "auxiliary" in name]


def test_the_command_trains_resumes_and_saves(tmp_path: Path) -> None:
    from jobs.train_catalog import train_catalog

    options = {"products": 8, "batch_size": 4, "evaluate_every": 2, "processes": 1, "output": tmp_path}
    train_catalog(**options, steps=2)
    (tmp_path / "metrics.json").unlink()
    train_catalog(**options, steps=4)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["steps"] == 4
    assert 0 <= metrics["accuracy"] <= 1
    assert (tmp_path / "model.safetensors").stat().st_size < 8e6
