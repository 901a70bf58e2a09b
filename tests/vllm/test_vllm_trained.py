"""What `finetune --task chat` writes, in the real engine of vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.coloured_talks import QUESTION, conversations
from tests.helpers.tiny_chat import random_images
from tests.jobs.finetune.local_training import LocalTraining
from tests.vllm.checkpoints import save
from tests.vllm.engines import GENERATION, OPTIONS, scores, texts
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.chat.vllm_model import VllmModel
from vqa_ray.models.checkpoint.opened import Checkpoint

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


def test_a_trained_directory_answers_as_in_transformers(tmp_path: Path) -> None:
    source, base = conversations(tmp_path / "in", rows=32), save(tmp_path / "base", "qwen2_vl")
    asked = {"task": "chat", "input": f"{source}/*.jsonl", "output": str(tmp_path / "out"), "model": str(base)}
    options = {"full": True, "batch_size": 8, "metric": "loss", "dtype": "float32", "learning_rate": 1e-3}
    training = LocalTraining(FinetuneSpec(**asked, **options))
    training.run()
    trained, images = Checkpoint.open(training.paths.best), random_images(4)
    engine = VllmModel.from_checkpoint(trained, dtype="float32", generation=GENERATION, engine_options=OPTIONS)
    try:
        given = engine.answer(images, [[QUESTION]] * len(images), 1)
    finally:
        engine.close()
    ours = ChatModel.from_checkpoint(trained, device="cpu", dtype="float32", generation=GENERATION)
    wanted = ours.answer(images, [[QUESTION]] * len(images), 1)
    assert texts(given) == texts(wanted)
    assert scores(given) == pytest.approx(scores(wanted), abs=1e-3)
