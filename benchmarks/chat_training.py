"""Training steps of a small chat model against TRL's SFTTrainer: same weights, rows, order and rates.

    vqa-ray catalog --output photos --count 300 --format jsonl
    python -m benchmarks.untrained_chat photos untrained
    python -m benchmarks.chat_training photos untrained

Needs `pip install trl` beside vqa-ray. Rows are a question and its answer; the language model is trained, in float32.
Compared are rows a second and the loss of rows that neither has seen.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
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

_BATCH, _STEPS, _HELD, _RATE = 8, 60, 64, 5e-4

Row = tuple[Path, str, str]


def main() -> None:
    """Print rows a second and the final loss of both."""
    catalogue, directory = map(Path, sys.argv[1:])
    rows = questions(catalogue, directory / "conversations.jsonl")[: _BATCH * _STEPS + _HELD]
    held, rows = rows[:_HELD], rows[_HELD:]
    model = directory / "model"
    print(f"untrained: loss {loss(load_chat(model), model, held):.4f}")
    for name, train in (("vqa-ray", ours), ("TRL", theirs)):
        network = prepare(load_chat(model), lora=None)
        start = time.perf_counter()
        train(network, model, rows)
        seconds = time.perf_counter() - start
        print(f"{name}: {len(rows) / seconds:.1f} rows/s, loss {loss(network, model, held):.4f}")


def questions(catalogue: Path, path: Path) -> list[Row]:
    """(image, question, answer), mixed."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        texts = [turn["value"].removeprefix("<image>\n") for turn in said["conversations"]]
        found += [(catalogue / said["image"], *pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
    order = np.random.default_rng(0).permutation(len(found))
    return [found[place] for place in order]


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
    from datasets import Dataset, Image
    from transformers import AutoProcessor
    from trl import SFTConfig, SFTTrainer

    class InOrder(SFTTrainer):  # type: ignore[misc,no-any-unimported]
        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(dataset if dataset is not None else self.train_dataset)

    data = Dataset.from_list(
        [
            {
                "images": [str(image)],
                "prompt": [{"role": "user", "content": question}],
                "completion": [{"role": "assistant", "content": answer}],
            }
            for image, question, answer in rows
        ]
    ).cast_column("images", [Image()])
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
    image, question, answer = row
    turns = (Turn("user", f"<image>\n{question}"), Turn("assistant", answer))
    with PillowImage.open(image) as opened:
        return renderer.render(Conversation(None, turns, 1), [np.asarray(opened.convert("RGB"))])


@torch.no_grad()
def loss(model: Any, path: Path, rows: Sequence[Row]) -> float:
    """Return the mean loss of an answer token."""
    renderer, network = ChatRenderer.from_directory(path), ChatNetwork(model).eval()
    batch = ChatCollator(model)([rendered(renderer, row) for row in rows])
    return float(network(batch)) / batch.answer_tokens


if __name__ == "__main__":
    main()
