"""Training steps of a small chat model against TRL's SFTTrainer: same weights, rows, order and rates.

    vqa-ray catalog --output photos --count 300 --questions 10 --format jsonl
    python -m benchmarks.untrained_chat photos untrained
    python -m benchmarks.chat_training photos untrained

Needs `pip install trl` beside vqa-ray. Rows are a question and its answer, about an image and then without it; the
language model is trained, in float32. Compared are rows a second and the loss of rows that neither has seen. The last
line is about conversations of many turns: what it saves to read an earlier prompt's length off the tokens of its text.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage

from vqa_ray.conversation.conversation import Conversation, Turn
from vqa_ray.training.chat.collate import ChatCollator
from vqa_ray.training.chat.initialise import load_chat
from vqa_ray.training.chat.lora import prepare
from vqa_ray.training.chat.network import ChatNetwork
from vqa_ray.training.chat.rendering import ChatRenderer
from vqa_ray.training.chat.trainer import ChatTrainer
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.types import Image

_BATCH, _STEPS, _HELD, _RATE = 8, 60, 64, 5e-4

# Conversations that are rendered both ways, and how often.
_RENDERED, _ROUNDS = 60, 5


@dataclass(frozen=True, slots=True)
class Row:
    """A question, its answer, and the image that it is about; None for text alone."""

    image: Path | None
    question: str
    answer: str


def main() -> None:
    """Print rows a second and the final loss of both, with images and without, and the ratio of rendering."""
    catalogue, directory = map(Path, sys.argv[1:])
    talks, model = directory / "conversations.jsonl", directory / "model"
    shown = questions(catalogue, talks)[: _BATCH * _STEPS + _HELD]
    for kind, rows in (("images", shown), ("text alone", [replace(row, image=None) for row in shown])):
        held, learnt = rows[:_HELD], rows[_HELD:]
        print(f"{kind}, untrained: loss {loss(load_chat(model), model, held):.4f}")
        for name, train in (("vqa-ray", ours), ("TRL", theirs)):
            network = prepare(load_chat(model), lora=None)
            start = time.perf_counter()
            train(network, model, learnt)
            seconds = time.perf_counter() - start
            rate = len(learnt) / seconds
            print(f"{kind}, {name}: {rate:.1f} rows/s, loss {loss(network, model, held):.4f}", flush=True)
    print(f"rendering whole conversations: {rendering(catalogue, talks, model):.2f}x of encoding each prompt")


def questions(catalogue: Path, path: Path) -> list[Row]:
    """Return the questions of all conversations, mixed."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        texts = [turn["value"].removeprefix("<image>\n") for turn in said["conversations"]]
        found += [Row(catalogue / said["image"], *pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
    order = np.random.default_rng(0).permutation(len(found))
    return [found[place] for place in order]


def rendering(catalogue: Path, path: Path, model: Path) -> float:
    """Return how many times faster conversations are rendered than where each prompt is encoded with its images."""
    talks = []
    for line in path.read_text(encoding="utf-8").splitlines()[:_RENDERED]:
        said = json.loads(line)
        turns = tuple(
            Turn("user" if turn["from"] == "human" else "assistant", turn["value"]) for turn in said["conversations"]
        )
        talks.append((Conversation(None, turns, 1), [pixels(catalogue / said["image"])]))
    renderer = ChatRenderer.from_directory(model)
    encoding = ChatRenderer(_Encoding(renderer._prompts))  # type: ignore[arg-type]
    seconds = dict.fromkeys((renderer, encoding), 0.0)
    for _ in range(_ROUNDS):
        for each in seconds:
            start = time.perf_counter()
            for conversation, images in talks:
                each.render(conversation, images)
            seconds[each] += time.perf_counter() - start
    return seconds[encoding] / seconds[renderer]


class _Encoding:
    """Prompts whose texts have no tokens by themselves, so that each is encoded with its images."""

    def __init__(self, prompts: Any) -> None:
        self._prompts = prompts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prompts, name)

    def text_ids(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return nothing."""
        return [()] * len(prompts)


def ours(model: Any, path: Path, rows: Sequence[Row]) -> None:
    """Train as `finetune --task chat` does in its loop."""
    config = OptimizerConfig(_RATE, weight_decay=0.0, warmup_fraction=0.0)
    device = next(model.parameters()).device
    trainer = ChatTrainer(
        ChatNetwork(model), ChatCollator(model), config, len(rows) // _BATCH, torch.float32, device=device
    )
    renderer = ChatRenderer.from_directory(path)
    for start in range(0, len(rows), _BATCH):
        trainer.train_step([rendered(renderer, row) for row in rows[start : start + _BATCH]])


def theirs(model: Any, path: Path, rows: Sequence[Row]) -> None:
    """Train with TRL, its data as prompt and completion."""
    from datasets import Dataset
    from datasets import Image as ImageFeature
    from transformers import AutoProcessor
    from trl import SFTConfig, SFTTrainer

    class InOrder(SFTTrainer):  # type: ignore[misc,no-any-unimported]
        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(dataset if dataset is not None else self.train_dataset)

    data = Dataset.from_list(
        [
            {
                **({} if row.image is None else {"images": [str(row.image)]}),
                "prompt": [{"role": "user", "content": row.question}],
                "completion": [{"role": "assistant", "content": row.answer}],
            }
            for row in rows
        ]
    )
    if "images" in data.column_names:
        data = data.cast_column("images", [ImageFeature()])
    settings = SFTConfig(
        output_dir=str(path / "trl"),
        per_device_train_batch_size=_BATCH,
        num_train_epochs=1,
        learning_rate=_RATE,
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=0.0,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        max_length=None,
        gradient_checkpointing=False,
        bf16=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1_000_000,
    )
    InOrder(model, settings, train_dataset=data, processing_class=AutoProcessor.from_pretrained(path)).train()


def rendered(renderer: ChatRenderer, row: Row) -> Any:
    """Return a row as our trainer takes it."""
    images = [] if row.image is None else [pixels(row.image)]
    turns = (Turn("user", f"<image>\n{row.question}" if images else row.question), Turn("assistant", row.answer))
    return renderer.render(Conversation(None, turns, len(images)), images)


def pixels(path: Path) -> Image:
    """Return a photo, uint8 (H, W, 3)."""
    with PillowImage.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


@torch.no_grad()
def loss(model: Any, path: Path, rows: Sequence[Row]) -> float:
    """Return the mean loss of an answer token."""
    renderer, network = ChatRenderer.from_directory(path), ChatNetwork(model).eval()
    batch = ChatCollator(model)([rendered(renderer, row) for row in rows])
    return float(network(batch)) / batch.answer_tokens


if __name__ == "__main__":
    main()
