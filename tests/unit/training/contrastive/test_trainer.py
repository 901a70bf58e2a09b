"""Steps over pairs: those of transformers' own loss, and the same however a batch is cut or spread."""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.helpers.tiny_pairs import AUXILIARY, pairs, rows_of, tiny_network
from tests.unit.training.contrastive import pair_ranks
from tests.unit.training.ranks import RANKS
from vqa_ray.errors import RunError
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.contrastive.loss import contrastive_loss
from vqa_ray.training.contrastive.trainer import PairTrainer


@pytest.fixture(scope="module")
def alone() -> pair_ranks.Outcome:
    return pair_ranks.train(0, 1)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[pair_ranks.Outcome]:
    store = tmp_path_factory.mktemp("pairs") / "store"
    with ProcessPoolExecutor(RANKS, mp_context=get_context("spawn")) as processes:
        running = [processes.submit(pair_ranks.train_together, rank, store) for rank in range(RANKS)]
        return [outcome.result(timeout=120) for outcome in running]


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    for name, gradient in wanted.items():
        assert np.abs(found[name] - gradient).max() <= 2e-5 * largest, name


def test_gradients_are_those_of_the_whole_model_at_once(alone: pair_ranks.Outcome) -> None:
    network = pair_ranks.network(0)
    group = pairs(14, with_classes=True)
    pixels = ((group.pixels.float() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    mask = torch.ones_like(group.input_ids) if group.text_mask is None else group.text_mask.long()
    output = network.model(input_ids=group.input_ids, attention_mask=mask, pixel_values=pixels)
    scale = network.model.logit_scale.exp()
    loss = contrastive_loss(output.image_embeds, output.text_embeds, group.attributes[:, :2], scale)
    mean_tokens = output.vision_model_output.last_hidden_state[:, 1:].mean(dim=1)
    for head, column in zip(network.auxiliary, group.attributes[:, 2:].T, strict=True):
        known = column >= 0
        loss = loss + F.cross_entropy(head(mean_tokens[known]), column[known], reduction="sum")
    (loss / 14).backward()
    wanted = {name: weight.grad.numpy() for name, weight in network.named_parameters() if weight.grad is not None}
    assert len(wanted) > 40
    assert {"model.logit_scale", "auxiliary.0.weight", "auxiliary.1.bias"} <= wanted.keys()
    assert_same(alone.gradients, wanted)


def test_passes_add_up_to_the_same_step(alone: pair_ranks.Outcome) -> None:
    assert_same(alone.cut, alone.gradients)


def test_two_ranks_have_the_gradients_of_one(alone: pair_ranks.Outcome, together: list[pair_ranks.Outcome]) -> None:
    for outcome in together:
        assert_same(outcome.gradients, alone.gradients)
        assert_same(outcome.cut, alone.gradients)


def test_two_ranks_take_the_very_steps_of_one(alone: pair_ranks.Outcome, together: list[pair_ranks.Outcome]) -> None:
    assert together[0].losses == together[1].losses
    for outcome in together:
        assert outcome.losses == pytest.approx(alone.losses, rel=1e-3)
        assert outcome.rows == alone.rows == [9 + step % 3 for step in range(pair_ranks.STEPS)]
        for name, weight in alone.weights.items():
            # The true gradient of a key's bias is 0: what moves it is rounding.
            if name.endswith("k_proj.bias"):
                continue
            assert np.abs(outcome.weights[name] - weight).max() < 1e-3, name


def trainer(**more: int) -> PairTrainer:
    return PairTrainer(tiny_network(), OptimizerConfig(learning_rate=3e-3), 40, torch.float32, **more)


def test_learns_which_caption_belongs_to_which_image() -> None:
    training, group = trainer(), rows_of(pairs(10), [0, 1, 2, 3, 4])
    group.attributes[:, 1] = torch.arange(5)
    group.input_ids[:, 1] = torch.arange(10, 15)
    losses = [training.train_step([group]).loss for _ in range(40)]
    assert losses[0] > 1
    assert losses[-1] < 0.2 * losses[0]


def test_dropout_is_the_same_in_the_pass_that_goes_back() -> None:
    training = trainer(tokens_per_pass=90)
    for layer in training.network.model.vision_model.encoder.layers:
        layer.self_attn.dropout = 0.5
    seen: list[torch.Tensor] = []
    training.network.register_forward_hook(lambda module, given, found: seen.append(found[0].detach()))
    training.train_step([pairs(8)])
    half = len(seen) // 2
    assert half >= 2
    for first, second in zip(seen[:half], seen[half:], strict=True):
        assert torch.equal(first, second)


def test_the_scale_stays_within_its_bound() -> None:
    training = trainer()
    with torch.no_grad():
        training.network.model.logit_scale.fill_(6.0)
    training.train_step([pairs(6)])
    assert float(training.network.model.logit_scale.detach()) == pytest.approx(math.log(100))


def test_auxiliary_heads_learn_and_stay_out_of_the_model() -> None:
    network = tiny_network(auxiliary=AUXILIARY)
    training = PairTrainer(network, OptimizerConfig(learning_rate=3e-3, head_multiplier=1.0), 60, torch.float32)
    group = pairs(9, with_classes=True)
    losses = [training.train_step([group]).loss for _ in range(60)]
    logits = network([group])[3]
    assert losses[-1] < 0.5 * losses[0]
    assert logits.argmax(dim=1).tolist() == group.attributes[:, 2].tolist()
    assert not [name for name in network.model.state_dict() if "auxiliary" in name]


def test_the_scale_is_not_decayed() -> None:
    training = trainer()
    decays = {
        id(weight): group["weight_decay"] for group in training.optimizer.param_groups for weight in group["params"]
    }
    model = training.network.model
    assert decays[id(model.logit_scale)] == 0
    assert decays[id(model.visual_projection.weight)] > 0


def test_a_batch_without_rows_moves_the_schedule_and_nothing_else() -> None:
    training = trainer()
    before = [weight.clone() for weight in training.module.parameters()]
    done = training.train_step([])
    assert (done.loss, done.rows, training.step) == (0.0, 0, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, training.module.parameters(), strict=True))


def test_a_resumed_trainer_takes_the_very_same_steps() -> None:
    straight, first, second = trainer(), trainer(), trainer()
    losses = [straight.train_step([pairs(6, step)]).loss for step in range(4)]
    for step in range(2):
        first.train_step([pairs(6, step)])
    second.load_state_dict(first.state_dict())
    assert [second.train_step([pairs(6, step)]).loss for step in (2, 3)] == losses[2:]


def test_a_loss_that_is_no_number_stops() -> None:
    training = trainer()
    with torch.no_grad():
        training.network.model.visual_projection.weight[0, 0] = float("nan")
    with pytest.raises(RunError, match="training stopped at step 0: loss nan"):
        training.train_step([pairs(6)])
