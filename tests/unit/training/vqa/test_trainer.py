"""One training step against transformers' own loss and gradients, and what steps add up to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.tiny import ANSWERS, tiny_model
from tests.unit.training.ranks import recorded_gradients, samples
from vqa_ray.errors import RunError
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.data.batch import Sample, collate
from vqa_ray.training.vqa.initialise import set_dropout
from vqa_ray.training.vqa.trainer import VqaTrainer, predictions, vqa_loss


def test_loss_and_gradients_equal_the_stock_model() -> None:
    group = collate([s for s in samples(40) if s.image.shape == (32, 40, 3)], len(ANSWERS))[0]
    ours, _ = tiny_model()
    theirs, _ = tiny_model()
    network = ViltNetwork(ours).train()
    logits = network(network.pairs([group]))
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
        trainer = VqaTrainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32)
        together.append(trainer.train_step(collate(batch, len(ANSWERS)))[0])
        model, _ = tiny_model()
        trainer = VqaTrainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32)
        apart.append(trainer.train_step([g for s in batch for g in collate([s], len(ANSWERS))])[0])
    assert together == pytest.approx(apart, rel=1e-5)
    assert together[0] == together[1]


def test_training_lowers_the_loss_and_predicts_what_it_learnt() -> None:
    model, _ = tiny_model()
    trainer = VqaTrainer(
        ViltNetwork(model), OptimizerConfig(learning_rate=3e-3, head_multiplier=1.0), 60, torch.float32
    )
    groups = collate(
        [Sample(s.image, s.token_ids, {i % 2: 1.0}) for i, s in enumerate(samples(8, seed=4))], len(ANSWERS)
    )
    losses = [trainer.train_step(groups).loss for _ in range(trainer.total_steps)]
    assert trainer.step == 60
    assert losses[-1] < 0.1 * losses[0]
    for logits, targets in predictions(trainer, groups):
        assert torch.equal(logits.argmax(-1), targets.argmax(-1))


def test_a_resumed_trainer_takes_the_very_same_steps() -> None:
    batches = [collate(samples(6, seed=i), len(ANSWERS)) for i in range(6)]

    def trainer() -> VqaTrainer:
        model, _ = tiny_model()
        set_dropout(model, 0.1)
        return VqaTrainer(ViltNetwork(model), OptimizerConfig(learning_rate=1e-3), 6, torch.float32)

    straight = trainer()
    losses = [straight.train_step(batch)[0] for batch in batches]
    first = trainer()
    for batch in batches[:3]:
        first.train_step(batch)
    second = trainer()
    second.load_state_dict(first.state_dict())
    torch.manual_seed(99)
    assert second.step == 3
    assert [second.train_step(batch)[0] for batch in batches[3:]] == losses[3:]


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights() -> None:
    model, _ = tiny_model()
    trainer = VqaTrainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32)
    before = [parameter.clone() for parameter in model.parameters()]
    groups = collate(samples(4), len(ANSWERS))
    groups[0].targets[0, 0] = float("nan")
    with pytest.raises(RunError, match=r"training stopped at step 0: loss nan"):
        trainer.train_step(groups)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_dropout_acts_everywhere_in_training_and_nowhere_else() -> None:
    model, _ = tiny_model()
    set_dropout(model, 0.5)
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.5}
    trainer = VqaTrainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32)
    undropped = VqaTrainer(ViltNetwork(tiny_model()[0]), OptimizerConfig(), 10, torch.float32)
    groups = collate(samples(6), len(ANSWERS))
    for (ours, _), (theirs, _) in zip(predictions(trainer, groups), predictions(undropped, groups), strict=True):
        assert torch.equal(ours, theirs)
    assert trainer.train_step(groups).loss != pytest.approx(undropped.train_step(groups).loss, rel=1e-3)


def test_groups_over_the_budget_are_cut_and_add_up_to_the_same_step() -> None:
    groups = collate(samples(30), len(ANSWERS))
    whole, parts = (
        VqaTrainer(ViltNetwork(tiny_model()[0]), OptimizerConfig(), 10, torch.float32, tokens_per_pass=tokens)
        for tokens in (100_000, 60)
    )
    wanted, found = recorded_gradients(whole), recorded_gradients(parts)
    assert whole.train_step(groups).loss == pytest.approx(parts.train_step(groups).loss, rel=1e-5)
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    assert all(np.allclose(found[name], gradient, atol=1e-5 * largest) for name, gradient in wanted.items())
    for (whole_logits, _), (cut_logits, _) in zip(predictions(whole, groups), predictions(parts, groups), strict=True):
        assert whole_logits.shape == cut_logits.shape


def test_groups_in_one_pass_come_to_the_loss_of_each_by_itself() -> None:
    groups = collate(samples(30), len(ANSWERS))
    assert len(groups) > 2
    trainer = VqaTrainer(ViltNetwork(tiny_model()[0]), OptimizerConfig(), 10, torch.float32, auxiliary=[])
    apart = [float(trainer.loss([group]).detach()) for group in groups]
    assert float(trainer.loss(groups).detach()) == pytest.approx(sum(apart), rel=1e-5)


class SmallDevice(ViltNetwork):
    """A network on a device that has memory for two images at a time."""

    fits = 2

    def all_image_tokens(self, images: Sequence[Tensor]) -> list[Tensor]:
        if sum(len(pixels) for pixels in images) > self.fits:
            raise torch.OutOfMemoryError("no room")
        return super().all_image_tokens(images)


class NoDevice(SmallDevice):
    """A network on a device that has no memory for any."""

    fits = 0


class BusyDevice(ViltNetwork):
    """A network on a device whose memory is taken for a moment, in its third pass."""

    calls = 0

    def all_image_tokens(self, images: Sequence[Tensor]) -> list[Tensor]:
        self.calls += 1
        if self.calls == 3:
            raise torch.OutOfMemoryError("no room")
        return super().all_image_tokens(images)


@pytest.mark.parametrize("device", [SmallDevice, BusyDevice])
def test_a_step_that_ran_out_of_memory_is_repeated_in_smaller_passes(device: type[ViltNetwork]) -> None:
    groups = collate(samples(30), len(ANSWERS))
    assert max(len(group.targets) for group in groups) > 4
    roomy, small = (
        VqaTrainer(kind(tiny_model()[0]), OptimizerConfig(), 10, torch.float32, tokens_per_pass=300)
        for kind in (ViltNetwork, device)
    )
    wanted, found = recorded_gradients(roomy), recorded_gradients(small)
    assert small.train_step(groups).loss == pytest.approx(roomy.train_step(groups).loss, rel=1e-5)
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    assert all(np.allclose(found[name], gradient, atol=1e-5 * largest) for name, gradient in wanted.items())
    assert small.tokens_per_pass < 200 < roomy.tokens_per_pass


def test_memory_for_not_even_one_row_is_told() -> None:
    trainer = VqaTrainer(NoDevice(tiny_model()[0]), OptimizerConfig(), 10, torch.float32)
    with pytest.raises(RunError, match=r"out of device memory at step 0 with 1 rows in a pass; lower the batch size"):
        trainer.train_step(collate(samples(4), len(ANSWERS)))


def test_a_batch_without_rows_moves_the_schedule_and_nothing_else() -> None:
    model, _ = tiny_model()
    trainer = VqaTrainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32, auxiliary=[3])
    before = [parameter.clone() for parameter in model.parameters()]
    first = trainer.train_step([])
    assert (first.loss, first.rows, trainer.step) == (0.0, 0, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_unknown_attributes_teach_nothing_and_known_ones_do() -> None:
    batch = samples(8, heads=(3, 2))
    model, _ = tiny_model()
    trainer = VqaTrainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32, auxiliary=[3, 2])
    gradients = recorded_gradients(trainer)
    trainer.train_step(collate([Sample(s.image, s.token_ids, s.soft_targets, (-1, 1)) for s in batch], len(ANSWERS)))
    assert not gradients["auxiliary.0.weight"].any()
    assert gradients["auxiliary.1.weight"].any()
    assert not [name for name in model.state_dict() if "auxiliary" in name]
    assert "auxiliary.1.weight" in trainer.state_dict()["model"]


def test_a_state_of_another_network_is_refused() -> None:
    first = VqaTrainer(ViltNetwork(tiny_model()[0]), OptimizerConfig(), 10, torch.float32, auxiliary=[3])
    second = VqaTrainer(ViltNetwork(tiny_model()[0]), OptimizerConfig(), 10, torch.float32)
    with pytest.raises(RunError, match=r"another network: 2 weights differ, first auxiliary\.0\.bias"):
        second.load_state_dict(first.state_dict())


def test_half_precision_trains_float32_weights() -> None:
    model, _ = tiny_model()
    trainer = VqaTrainer(ViltNetwork(model), OptimizerConfig(learning_rate=3e-3), 20, torch.bfloat16)
    groups = collate(samples(8), len(ANSWERS))
    losses = [trainer.train_step(groups).loss for _ in range(20)]
    assert losses[-1] < 0.7 * losses[0]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
