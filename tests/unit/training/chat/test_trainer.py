"""The step of a chat model: the loss is one of answer tokens, whatever the passes; the projector has its own rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training.chat import chat_ranks
from vqa_ray.training.chat.collate import ChatCollator
from vqa_ray.training.chat.initialise import load_chat
from vqa_ray.training.chat.lora import prepare, projector_parameters
from vqa_ray.training.chat.network import ChatNetwork
from vqa_ray.training.chat.row import ChatRow
from vqa_ray.training.chat.trainer import ChatTrainer
from vqa_ray.training.config import LoraConfig, OptimizerConfig


@pytest.fixture(scope="module")
def rows(checkpoint: Path) -> list[ChatRow]:
    return chat_ranks.mostly_text(checkpoint, 8)


def trainer_of(checkpoint: Path, tokens_per_pass: int, **options: Any) -> ChatTrainer:
    model = prepare(load_chat(checkpoint), lora=LoraConfig(rank=4, dropout=0.0), train_projector=True)
    network = ChatNetwork(model)
    projector = {id(weight) for weight in projector_parameters(model)}
    return ChatTrainer(
        network,
        ChatCollator(model),
        OptimizerConfig(1e-2, warmup_fraction=0.0, **options),
        4,
        torch.float32,
        device=torch.device("cpu"),
        projector=[name for name, weight in network.named_parameters() if id(weight) in projector],
        tokens_per_pass=tokens_per_pass,
    )


def test_a_step_is_the_mean_over_answer_tokens_in_one_pass_and_in_many(checkpoint: Path, rows: list[ChatRow]) -> None:
    assert len({row.answer_tokens for row in rows}) > 1, "a mean over rows would be the same"
    norms = []
    for limit in (100_000, 1):
        trainer = trainer_of(checkpoint, limit)
        assert len(trainer.passes(rows)) == (1 if limit > 1 else len(rows))
        losses = trainer.row_losses(rows)
        step = trainer.train_step(rows)
        assert step.rows == len(rows)
        assert step.loss == pytest.approx(sum(losses) / sum(row.answer_tokens for row in rows), rel=1e-5)
        norms.append(step.gradient_norm)
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_the_norm_of_a_step_is_that_of_the_mean_over_answer_tokens(checkpoint: Path, rows: list[ChatRow]) -> None:
    trainer = trainer_of(checkpoint, 100_000)
    loss = trainer.network(ChatCollator(trainer.network.model)(rows)) / sum(row.answer_tokens for row in rows)
    trained = [weight for weight in trainer.network.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    norm = torch.nn.utils.get_total_norm([each for each in gradients if each is not None])
    assert trainer.train_step(rows).gradient_norm == pytest.approx(norm.item(), rel=1e-4)


def test_passes_hold_every_row_once_and_keep_to_their_limit(checkpoint: Path, rows: list[ChatRow]) -> None:
    limit = 2 * max(row.tokens for row in rows)
    trainer = trainer_of(checkpoint, limit)
    passes = trainer.passes(rows)
    assert 1 < len(passes) < len(rows)
    assert sorted(id(row) for part in passes for row in part) == sorted(map(id, rows))
    assert all(trainer.tokens(part) <= limit for part in passes)


def test_losses_come_in_the_order_of_the_rows(checkpoint: Path, rows: list[ChatRow]) -> None:
    trainer = trainer_of(checkpoint, 2 * max(row.tokens for row in rows))
    alone = [trainer.row_losses([row])[0] for row in rows]
    assert len(set(alone)) > 1
    assert np.allclose(trainer.row_losses(rows), alone, rtol=1e-4)


def test_the_projector_alone_learns_at_the_rate_of_a_head(checkpoint: Path) -> None:
    trainer = trainer_of(checkpoint, 100_000, head_multiplier=7.0)
    rates = {
        id(weight): trainer.config.learning_rate * factor
        for factor, wanted in ((7.0, True), (1.0, False))
        for name, weight in trainer.network.named_parameters()
        if trainer.is_head(name) is wanted and weight.requires_grad
    }
    assert {id(weight) for weight in projector_parameters(trainer.network.model)} == {
        id(weight) for name, weight in trainer.network.named_parameters() if trainer.is_head(name)
    }
    assert {id(w): group["lr"] for group in trainer.optimizer.param_groups for w in group["params"]} == rates
