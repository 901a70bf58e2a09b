"""The training of chat models in this process: resumed exactly, stopped early, whole or of adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers import tiny_blip
from tests.helpers.coloured_talks import conversations
from tests.helpers.tiny_chat import save_tiny_chat
from tests.jobs.finetune.local_training import LocalTraining
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.training.chat.answers import last_answer
from vqa_ray.training.chat.export import export_adapter, export_merged, in_dtype
from vqa_ray.training.chat.initialise import load_chat
from vqa_ray.training.chat.lora import prepare
from vqa_ray.training.chat.row import IGNORED
from vqa_ray.training.config import LoraConfig
from vqa_ray.training.log import TrainingLog
from vqa_ray.training.peft_models import older_names


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all of these train on."""
    return conversations(tmp_path_factory.mktemp("local") / "in", broken=[4], rows=48)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2-VL that knows nothing."""
    return save_tiny_chat(tmp_path_factory.mktemp("local") / "qwen", "qwen2_vl")


def training(source: Path, model: Path, output: Path, **more: Any) -> LocalTraining:
    """A small training."""
    usual: dict[str, Any] = {"epochs": 2, "batch_size": 12, "learning_rate": 3e-3, "max_new_tokens": 4}
    usual |= {"validation_fraction": 0.2, "dtype": "float32", "checkpoint_every": 2}
    inputs = {"task": "chat", "input": f"{source}/*.jsonl", "output": str(output), "model": str(model)}
    return LocalTraining(FinetuneSpec(**{**inputs, **usual, **more}))


def weights(of: LocalTraining, where: str = "best") -> dict[str, torch.Tensor]:
    """The written weights."""
    name = "model.safetensors" if where == "best" else "adapter_model.safetensors"
    return load_file(Path(getattr(of.paths, where)) / name)


def log(of: LocalTraining) -> TrainingLog:
    """What is told of it."""
    return TrainingLog.from_json(json.loads(Path(of.paths.log).read_text()))


@pytest.mark.timeout(300)
def test_killed_at_three_points_it_has_the_weights_of_an_undisturbed_one(
    source: Path, model: Path, tmp_path: Path
) -> None:
    undisturbed, killed = training(source, model, tmp_path / "one"), training(source, model, tmp_path / "two")
    undisturbed.run()
    for checkpoints, step in ((1, 2), (1, 4), (1, 6)):
        killed.run(killed_after=checkpoints)
        assert not Path(killed.paths.log).exists()
        assert json.loads((Path(killed.paths.checkpoints) / "last" / "state.json").read_text())["step"] == step
    killed.run()
    assert killed.begun_at == 6
    for where in ("best", "adapter"):
        one, two = weights(undisturbed, where), weights(killed, where)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert [(r.step, r.loss) for r in log(killed).train] == [(r.step, r.loss) for r in log(undisturbed).train]


@pytest.mark.timeout(300)
def test_the_whole_language_model_and_the_projector_are_trained(source: Path, model: Path, tmp_path: Path) -> None:
    full = training(source, model, tmp_path / "out", full=True, epochs=1, learning_rate=1e-3, metric="loss")
    assert full.config.lora is None
    assert full.paths.adapter is None
    full.run()
    before, after = load_file(model / "model.safetensors"), weights(full)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.partition(".layers")[0] for name in changed} >= {"model"}
    assert any("merger" in name for name in changed)
    assert not any("visual.blocks" in name for name in changed)
    best = log(full).best
    assert best is not None
    # The mean probability of a token stands for the accuracy.
    assert best.accuracy == pytest.approx(torch.tensor(-best.loss).exp().item())
    assert pq.read_table(full.paths.results)["answer"].null_count == best.rows + sum(best.skipped.values())


@pytest.mark.timeout(300)
def test_it_stops_early_and_long_rows_are_counted(source: Path, model: Path, tmp_path: Path) -> None:
    still = training(source, model, tmp_path / "out", epochs=9, learning_rate=1e-12, patience=1, max_tokens=45)
    still.run()
    found = log(still)
    assert len(found.validations) == 2
    # The rows of two turns do not fit.
    assert found.skipped["row_too_long"] > 0
    assert found.validations[0].skipped.get("row_too_long", 0) + found.skipped["row_too_long"] // 2 == 6


@pytest.mark.timeout(300)
@pytest.mark.parametrize("family", ["blip2-opt", "blip2-t5", "instructblip"])
def test_blip_learns_questions_about_one_image(family: str, tmp_path: Path) -> None:
    kind, _, language = family.partition("-")
    parts = tiny_blip.instructblip("t5") if kind == "instructblip" else tiny_blip.blip2(language)
    blip = tiny_blip.save(tmp_path / "blip", parts)
    source = conversations(tmp_path / "in", rows=24)
    one = training(source, blip, tmp_path / "out", epochs=1, batch_size=6)
    one.run()
    found = log(one)
    # Texts without an image, and turns after the first.
    assert set(found.skipped) <= {"row_malformed"}
    assert found.best is not None
    assert Checkpoint.open(one.paths.best).family_name == Checkpoint.open(str(blip)).family_name
    assert load_file(blip / "model.safetensors").keys() == weights(one).keys()


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "internvl", "smolvlm"])
def test_the_written_tensors_are_base_and_adapter_under_the_names_of_the_checkpoint(
    family: str, tmp_path: Path
) -> None:
    from peft import PeftModel

    base = save_tiny_chat(tmp_path / "base", family)
    model = prepare(load_chat(base), lora=LoraConfig(base=str(base)), train_projector=True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator) / 10)
    export_merged(str(tmp_path / "whole"), model, Checkpoint.open(str(base)), "float32")
    export_adapter(str(tmp_path / "lora"), model)
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "whole" / "model.safetensors")
    assert before.keys() == after.keys()
    assert not all(torch.equal(before[name], after[name]) for name in before)
    with older_names():
        added = PeftModel.from_pretrained(load_chat(base), tmp_path / "lora").merge_and_unload().state_dict()
    for name, weight in load_chat(tmp_path / "whole").state_dict().items():
        torch.testing.assert_close(weight, added[name], atol=1e-4, rtol=0, msg=name)


def test_the_prompt_of_the_last_answer_ends_where_its_first_token_is_predicted() -> None:
    assert last_answer([IGNORED, 5, 6, IGNORED, IGNORED, 7, 2]) == 6
    assert last_answer([5, 6]) == 1


def test_only_stated_dtypes_are_restated() -> None:
    config = {"dtype": "float32", "text_config": {"torch_dtype": "float32", "x": 1}, "vision_config": {"dtype": None}}
    assert in_dtype(config, "bfloat16") == {
        "dtype": "bfloat16",
        "text_config": {"torch_dtype": "bfloat16", "x": 1},
        "vision_config": {"dtype": None},
    }
