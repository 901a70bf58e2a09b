"""Gradients of a chat model's rows, in one process or in one of two."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from tests.helpers.chat_conversations import pictures, talk
from vqa_ray.training.chat.collate import ChatCollator
from vqa_ray.training.chat.initialise import load_chat
from vqa_ray.training.chat.lora import prepare
from vqa_ray.training.chat.network import ChatNetwork
from vqa_ray.training.chat.rendering import ChatRenderer
from vqa_ray.training.chat.row import ChatRow
from vqa_ray.training.config import LoraConfig
from vqa_ray.training.distributed import exchanging, replicate, sum_over_ranks

RANKS = 2


def mostly_text(directory: Path, count: int = 20) -> list[ChatRow]:
    """Rows of which one in ten shows an image, the first of all."""
    rng = np.random.default_rng(3)
    renderer = ChatRenderer.from_directory(directory)
    rows = []
    for place in range(count):
        shown = place % 10 == 0
        answer = " ".join(rng.choice(["red", "blue", "dog"], 1 + place % 4))
        question = "<image>\nwhat is this?" if shown else "is the dog red or blue?"
        rows.append(renderer.render(talk(question, answer), pictures(int(shown), rng)))
    return rows


def gradients(
    directory: Path, parts: Sequence[Sequence[ChatRow]], *, ranks: int = 1, checkpointing: bool = False
) -> dict[str, np.ndarray]:
    """Of the loss per answer token of a step over all ranks, whose passes are `parts` of this one."""
    model = prepare(load_chat(directory), lora=LoraConfig(rank=4, dropout=0.0), train_projector=True)
    # Without, the first half of a fresh adapter has no gradient.
    with torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    network = ChatNetwork(model, checkpointing=checkpointing).train()
    collate = ChatCollator(model)
    replica = replicate(network, torch.device("cpu"))
    tokens = sum_over_ranks(torch.tensor(float(sum(row.answer_tokens for part in parts for row in part))))
    passes = [list(part) for part in parts] or [[collate.placeholder()]]
    for place, part in enumerate(passes):
        with exchanging(replica, place == len(passes) - 1):
            loss = replica(collate(part))
            (loss if parts else loss * 0.0).backward()
    return {
        name: (weight.grad * (ranks / tokens)).numpy()
        for name, weight in network.named_parameters()
        if weight.grad is not None
    }


def together(rank: int, store: Path, directory: Path, images_on: int) -> dict[str, np.ndarray]:
    """As one of two gloo ranks; rows with images are all on one, and one has fewer passes than the other."""
    torch.set_num_threads(1)
    timeout = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS, timeout=timeout)
    try:
        rows = mostly_text(directory)
        shown = [row for row in rows if row.images]
        others = [row for row in rows if not row.images]
        mine = [*shown, *others[:3]] if rank == images_on else others[3:]
        return gradients(directory, [mine[:4], mine[4:]] if rank == images_on else [mine], ranks=RANKS)
    finally:
        dist.destroy_process_group()
