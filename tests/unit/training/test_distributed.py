"""Two processes take the very steps of one, however the rows of a batch are split between them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from tests.helpers.tiny import ANSWERS, tiny_model
from tests.unit.training import ranks
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.vqa.trainer import VqaTrainer


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[ranks.Outcome]:
    store = tmp_path_factory.mktemp("ranks") / "store"
    with ProcessPoolExecutor(ranks.RANKS, mp_context=get_context("spawn")) as processes:
        running = [processes.submit(ranks.train_together, rank, store) for rank in range(ranks.RANKS)]
        return [outcome.result(timeout=120) for outcome in running]


@pytest.fixture(scope="module")
def alone() -> ranks.Outcome:
    return ranks.train(0, 1)


def stock_gradients() -> tuple[float, dict[str, np.ndarray]]:
    """transformers' own loss and gradients of the same rows, padded to one size."""
    model, _ = tiny_model()
    batch = ranks.samples(40)
    height, width = (max(sample.image.shape[axis] for sample in batch) for axis in (0, 1))
    length = max(len(sample.token_ids) for sample in batch)
    pixels, pixel_mask = torch.zeros(40, 3, height, width), torch.zeros(40, height, width, dtype=torch.long)
    ids, mask = torch.zeros(40, length, dtype=torch.long), torch.zeros(40, length, dtype=torch.long)
    targets = torch.zeros(40, len(ANSWERS))
    for row, sample in enumerate(batch):
        h, w, _ = sample.image.shape
        pixels[row, :, :h, :w] = (torch.from_numpy(sample.image).permute(2, 0, 1) / 255 - 0.5) / 0.5
        pixel_mask[row, :h, :w] = 1
        ids[row, : len(sample.token_ids)] = torch.tensor(sample.token_ids)
        mask[row, : len(sample.token_ids)] = 1
        for label, weight in sample.soft_targets.items():
            targets[row, label] = weight
    output = model.train()(
        input_ids=ids, attention_mask=mask, pixel_values=pixels, pixel_mask=pixel_mask, labels=targets
    )
    output.loss.backward()
    named = {name: weight.grad.numpy() for name, weight in model.named_parameters() if weight.grad is not None}
    return output.loss.item(), named


def assert_like_stock(gradients: dict[str, np.ndarray]) -> None:
    _, stock = stock_gradients()
    assert len(stock) > 40
    # A key's bias shifts all scores of a query alike, so its true gradient is 0 and what is left is rounding.
    largest = max(np.abs(gradient).max() for gradient in stock.values())
    for name, gradient in stock.items():
        difference = np.linalg.norm(gradients[f"network.model.{name}"] - gradient)
        assert difference <= 1e-4 * np.linalg.norm(gradient) + 1e-6 * largest, name


def test_gradients_of_a_mixed_batch_equal_the_stock_model(alone: ranks.Outcome) -> None:
    assert_like_stock(alone.gradients)


def test_gradients_of_two_ranks_equal_the_stock_model(together: list[ranks.Outcome]) -> None:
    for outcome in together:
        assert_like_stock(outcome.gradients)


def test_the_loss_of_a_mixed_batch_equals_the_stock_model() -> None:
    model, _ = tiny_model()
    trainer = VqaTrainer(ViltNetwork(model), OptimizerConfig(), 10, torch.float32)
    step = trainer.train_step(ranks.collate(ranks.samples(40), len(ANSWERS)))
    assert step.loss == pytest.approx(stock_gradients()[0], rel=1e-4)


def test_two_ranks_train_as_one(alone: ranks.Outcome, together: list[ranks.Outcome]) -> None:
    for outcome in together:
        assert outcome.rows == alone.rows
        assert outcome.losses == pytest.approx(alone.losses, rel=1e-3)
        assert outcome.losses[-1] == pytest.approx(alone.losses[-1], rel=1e-3)
        assert outcome.weights.keys() == alone.weights.keys()
        # The gradient of a key's bias is rounding and no more, which Adam makes steps of all the same.
        for name in alone.weights.keys() - {name for name in alone.weights if name.endswith("key.bias")}:
            assert np.allclose(outcome.weights[name], alone.weights[name], atol=2e-4), name
    assert alone.losses[-1] < 0.9 * alone.losses[0]


def test_ranks_stay_equal_to_the_bit(together: list[ranks.Outcome]) -> None:
    first, second = together
    assert first.losses == second.losses
    assert all(np.array_equal(weight, second.weights[name]) for name, weight in first.weights.items())


def test_all_ranks_stop_when_the_loss_of_one_is_not_finite(together: list[ranks.Outcome]) -> None:
    for outcome in together:
        assert outcome.stopped.startswith(f"training stopped at step {ranks.STEPS}: loss nan")
