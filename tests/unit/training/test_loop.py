"""One training step against transformers' own loss and gradients, and the loop around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tiny import ANSWERS, random_images, tiny_model
from vqa_ray.errors import RunError
from vqa_ray.models.vilt_network import ViltNetwork
from vqa_ray.training.batch import Sample, collate
from vqa_ray.training.loop import StepReport, Trainer, fit, predictions, vqa_loss
from vqa_ray.training.optimizer import OptimizerConfig

QUESTIONS = ("what is this?", "is there a dog in the picture?", "what colour is it?")


def samples(count: int, seed: int = 0) -> list[Sample]:
    _, tokenizer = tiny_model()
    rng = np.random.default_rng(seed)
    return [
        Sample(
            image,
            tuple(tokenizer(QUESTIONS[i % 3])["input_ids"]),
            {int(rng.integers(len(ANSWERS))): 1.0, int(rng.integers(len(ANSWERS))): 0.3},
        )
        for i, image in enumerate(random_images(count, seed))
    ]


def test_loss_and_gradients_equal_the_stock_model() -> None:
    group = collate([s for s in samples(40) if s.image.shape == (32, 40, 3)], len(ANSWERS))[0]
    ours, _ = tiny_model()
    theirs, _ = tiny_model()
    network = ViltNetwork(ours).train()
    logits = network(group.input_ids, group.text_mask, network.image_tokens(group.pixels))
    (vqa_loss(logits, group.targets) / len(group.targets)).backward()
    pixels = ((group.pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    assert group.text_mask is not None
    output = theirs.train()(
        input_ids=group.input_ids,
        attention_mask=group.text_mask.long(),
        pixel_values=pixels,
        pixel_mask=torch.ones(pixels.shape[0], *pixels.shape[2:], dtype=torch.long),
        labels=group.targets,
    )
    output.loss.backward()
    loss = vqa_loss(logits, group.targets).item() / len(group.targets)
    assert loss == pytest.approx(output.loss.item(), rel=1e-4)
    mine = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    stock = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert len(stock) > 40
    # A key's bias shifts all scores of a query alike, so its true gradient is 0 and what is left is rounding.
    largest = max(grad.abs().max().item() for grad in stock.values())
    for name, grad in stock.items():
        difference = (mine.get(name, torch.zeros_like(grad)) - grad).norm().item()
        assert difference <= 1e-4 * grad.norm().item() + 1e-6 * largest, name


def test_the_loss_does_not_depend_on_how_a_batch_is_grouped() -> None:
    batch = samples(12)
    together, apart = [], []
    for _ in range(2):
        model, _ = tiny_model()
        trainer = Trainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32)
        together.append(trainer.train_step(collate(batch, len(ANSWERS)))[0])
        model, _ = tiny_model()
        trainer = Trainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32)
        apart.append(trainer.train_step([g for s in batch for g in collate([s], len(ANSWERS))])[0])
    assert together == pytest.approx(apart, rel=1e-5)
    assert together[0] == together[1]


def test_training_lowers_the_loss_and_predicts_what_it_learnt() -> None:
    model, _ = tiny_model()
    trainer = Trainer(ViltNetwork(model), OptimizerConfig(learning_rate=3e-3, head_multiplier=1.0), 60, torch.float32)
    groups = collate(
        [Sample(s.image, s.token_ids, {i % 2: 1.0}) for i, s in enumerate(samples(8, seed=4))], len(ANSWERS)
    )
    reports: list[StepReport] = []
    fit(trainer, (groups for _ in range(1000)), reports.append)
    assert [r.step for r in reports] == list(range(1, 61))
    assert reports[-1].loss < 0.1 * reports[0].loss
    for logits, targets in predictions(trainer, groups):
        assert torch.equal(logits.argmax(-1), targets.argmax(-1))


def test_a_resumed_trainer_takes_the_very_same_steps() -> None:
    batches = [collate(samples(6, seed=i), len(ANSWERS)) for i in range(6)]

    def trainer() -> Trainer:
        return Trainer(ViltNetwork(tiny_model()[0]), OptimizerConfig(learning_rate=1e-3), 6, torch.float32)

    straight = trainer()
    losses = [straight.train_step(batch)[0] for batch in batches]
    first = trainer()
    for batch in batches[:3]:
        first.train_step(batch)
    second = trainer()
    second.load_state_dict(first.state_dict())
    assert second.step == 3
    assert [second.train_step(batch)[0] for batch in batches[3:]] == losses[3:]


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights() -> None:
    model, _ = tiny_model()
    trainer = Trainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32)
    before = [parameter.clone() for parameter in model.parameters()]
    groups = collate(samples(4), len(ANSWERS))
    groups[0].targets[0, 0] = float("nan")
    with pytest.raises(RunError, match=r"training stopped at step 0: loss nan"):
        trainer.train_step(groups)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
