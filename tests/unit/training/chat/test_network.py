"""The loss of answers against our own scorer, and gradients that do not depend on passes or workers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.chat_conversations import (
    QUESTION_FAMILIES,
    Inference,
    mixed_talks,
    talk,
)
from tests.helpers.simulated_cuda import SimulatedCuda
from tests.unit.training.chat import chat_ranks
from tests.unit.training.chat.test_rendering import learnt
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.training.chat.collate import ChatCollator
from vqa_ray.training.chat.export import export_merged
from vqa_ray.training.chat.initialise import load_chat
from vqa_ray.training.chat.lora import prepare
from vqa_ray.training.chat.network import ChatNetwork
from vqa_ray.training.chat.rendering import ChatRenderer
from vqa_ray.training.chat.row import ChatRow
from vqa_ray.training.config import LoraConfig

SCORED = 6
ASKED = (
    *("what is this?", "how many are there?", "what colour is it?", "is it a dog?", "is there a cat?"),
    *("is it red or blue?", "a", "what is on the left?"),
)
MEMORISED = ("a red dog", "two cats", "blue", "no", "yes", "green and big", "one", "a small cat on the left")
# Words that the small vocabularies of the tiny BLIPs hold.
KNOWN = ("a red dog", "two", "blue", "no", "yes", "a golden retriever", "a photo", "a cat on the left")


@torch.no_grad()
def test_loss_is_what_the_scorer_gives_the_answers(family: str, directories: Callable[[str], Path]) -> None:
    directory = directories(family)
    renderer, inference, model = (
        ChatRenderer.from_directory(directory),
        Inference(family, directory),
        load_chat(directory),
    )
    network, collate = ChatNetwork(model).eval(), ChatCollator(model)
    rows: list[ChatRow] = []
    wanted = []
    for conversation, images in mixed_talks(family, SCORED, seed=2):
        row = renderer.render(conversation, images)
        shown = [np.ascontiguousarray(image) for image in images]
        if family in QUESTION_FAMILIES:
            shown = [resized(image) for image in images]
        prompts = inference.prompts(conversation, shown)
        pairs = list(zip(prompts, learnt(row), strict=True))
        wanted.append(-sum(inference.mean(prompt, shown, run) * len(run) for prompt, run in pairs) / row.answer_tokens)
        assert network.row_losses(collate([row])).item() / row.answer_tokens == pytest.approx(wanted[-1], rel=1e-5)
        rows.append(row)
    counts = torch.tensor([row.answer_tokens for row in rows])
    together = network.row_losses(collate(rows)) / counts
    assert together.tolist() == pytest.approx(wanted, rel=1e-5)
    assert network(collate(rows)).item() == pytest.approx(float((together * counts).sum()), rel=1e-5)


def resized(image: np.ndarray) -> np.ndarray:
    from tests.helpers.tiny_blip import SIDE
    from vqa_ray.images.resize import resize

    return resize(image, SIDE, SIDE)


def assert_close(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        scale = max(1.0, float(np.abs(gradient).max()))
        assert np.abs(found[name] - gradient).max() / scale < 1e-5, name


@pytest.fixture(scope="module")
def whole(checkpoint: Path) -> dict[str, np.ndarray]:
    return chat_ranks.gradients(checkpoint, [chat_ranks.mostly_text(checkpoint)])


def test_gradients_do_not_depend_on_the_passes(checkpoint: Path, whole: dict[str, np.ndarray]) -> None:
    rows = chat_ranks.mostly_text(checkpoint)
    assert any("merger" in name for name in whole)
    assert_close(chat_ranks.gradients(checkpoint, [[row] for row in rows]), whole)
    assert_close(chat_ranks.gradients(checkpoint, [rows[:3], rows[3:]]), whole)


def test_gradients_do_not_depend_on_checkpointing(checkpoint: Path, whole: dict[str, np.ndarray]) -> None:
    rows = chat_ranks.mostly_text(checkpoint)
    assert_close(chat_ranks.gradients(checkpoint, [rows], checkpointing=True), whole)


def test_two_workers_of_which_one_has_no_image_take_the_step_of_one(
    checkpoint: Path, whole: dict[str, np.ndarray], tmp_path: Path
) -> None:
    with ProcessPoolExecutor(chat_ranks.RANKS, mp_context=get_context("spawn")) as processes:
        running = [
            processes.submit(chat_ranks.together, rank, tmp_path / "store", checkpoint, 1)
            for rank in range(chat_ranks.RANKS)
        ]
        for outcome in running:
            assert_close(outcome.result(timeout=120), whole)


def test_a_worker_without_rows_takes_part(family: str, directories: Callable[[str], Path]) -> None:
    model = prepare(load_chat(directories(family)), lora=LoraConfig(rank=4), train_projector=True)
    network, collate = ChatNetwork(model).train(), ChatCollator(model)
    (network(collate([collate.placeholder()])) * 0.0).backward()
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    assert trained
    assert all(weight.grad is not None and not weight.grad.any() for weight in trained)


def test_eight_rows_are_learnt_by_heart(family: str, directories: Callable[[str], Path], tmp_path: Path) -> None:
    directory = directories(family)
    renderer = ChatRenderer.from_directory(directory)
    images = [np.full((40, 40, 3), 20 + 28 * place, np.uint8) for place in range(8)]
    wanted = KNOWN if family in QUESTION_FAMILIES else MEMORISED
    pairs = zip(ASKED, wanted, strict=True)
    talks = [talk(f"<image>\n{question}", answer) for question, answer in pairs]
    rows = [renderer.render(each, [image]) for each, image in zip(talks, images, strict=True)]
    # So few steps change too little of the tiny T5 by adapters alone.
    lora, rate = (None, 5e-2) if family.endswith("t5") else (LoraConfig(rank=16, dropout=0.0), 1e-2)
    model = prepare(load_chat(directory), lora=lora, train_projector=True)
    network, batch = ChatNetwork(model).train(), ChatCollator(model)(rows)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.98))
    # Without a warm-up the tiny T5s end elsewhere on each kind of CPU.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 10, 2 - step / 25))
    for _ in range(50):
        (network(batch) / batch.answer_tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    export_merged(str(tmp_path / "best"), model, Checkpoint.open(str(directory)), "float32")
    shown = [resized(image) for image in images] if family in QUESTION_FAMILIES else images
    found = Inference(family, tmp_path / "best").model.answer(shown, [[question] for question in ASKED], 1)
    answers = list(itertools.chain(*found))
    assert [each.answers[0][0] for each in answers] == list(wanted)
    assert {each.finish_reason for each in answers} == {"stop"}


def test_a_device_computes_what_the_cpu_does(family: str, directories: Callable[[str], Path]) -> None:
    renderer = ChatRenderer.from_directory(directories(family))
    rows = [renderer.render(*each) for each in mixed_talks(family, 3, seed=4)]
    if family not in QUESTION_FAMILIES:
        rows.append(renderer.render(talk("what colour?", "blue"), []))

    def step(device: str) -> tuple[float, float]:
        model = prepare(load_chat(directories(family)), lora=LoraConfig(rank=4, dropout=0.0), train_projector=True)
        network = ChatNetwork(model.to(device), checkpointing=family in ("llava", "qwen3_vl")).train()
        loss = network(ChatCollator(model)(rows).to(torch.device(device)))
        loss.backward()
        squares = [weight.grad.square().sum() for weight in network.parameters() if weight.grad is not None]
        return loss.item(), torch.stack(squares).sum().item()

    expected = step("cpu")
    with SimulatedCuda():
        assert step("cuda") == pytest.approx(expected, rel=1e-4)
