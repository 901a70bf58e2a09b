from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.tiny import ANSWERS, tiny_model
from tests.unit.training.ranks import samples
from vqa_ray.errors import RunError
from vqa_ray.models.vilt.network import ViltNetwork
from vqa_ray.training.checkpoint import load_state, read_extra, save_state
from vqa_ray.training.config import LoraConfig, OptimizerConfig
from vqa_ray.training.data.batch import collate
from vqa_ray.training.vqa import lora
from vqa_ray.training.vqa.initialise import set_dropout
from vqa_ray.training.vqa.trainer import VqaTrainer

EXTRA = {"epoch": 2, "best": 0.5, "vocabulary": list(ANSWERS), "log": [{"loss": 1.5}]}


def trainer(with_lora: bool = False, auxiliary: tuple[int, ...] = (3,)) -> VqaTrainer:
    model, _ = tiny_model()
    set_dropout(model, 0.1)
    if with_lora:
        model = lora.adapt(model, LoraConfig(rank=4))
    config = OptimizerConfig(learning_rate=1e-2)
    return VqaTrainer(ViltNetwork(model), config, 6, torch.float32, auxiliary=auxiliary, seed=7)


@pytest.mark.parametrize("with_lora", [False, True])
def test_a_resumed_run_takes_the_very_same_steps(with_lora: bool, tmp_path: Path) -> None:
    batches = [collate(samples(6, seed=i, heads=(3,)), len(ANSWERS)) for i in range(6)]
    straight = trainer(with_lora)
    losses = [straight.train_step(batch).loss for batch in batches]
    first = trainer(with_lora)
    for batch in batches[:3]:
        first.train_step(batch)
    save_state(tmp_path, first, {"epoch": 0})
    save_state(tmp_path, first, EXTRA)
    assert read_extra(tmp_path) == EXTRA
    second = trainer(with_lora)
    assert load_state(tmp_path, second) == EXTRA
    assert [second.train_step(batch).loss for batch in batches[3:]] == losses[3:]
    for name, weight in straight.module.named_parameters():
        assert torch.equal(weight, second.module.get_parameter(name)), name


def test_only_what_lora_trains_is_saved(tmp_path: Path) -> None:
    for with_lora in (False, True):
        save_state(tmp_path / str(with_lora), trainer(with_lora), {})
    full, adapted = ((tmp_path / str(each) / "state.pt").stat().st_size for each in (False, True))
    assert adapted < 0.7 * full


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda d: (d / "state.json").unlink(), r"cut short: state\.json, which is written last, is missing"),
        (lambda d: (d / "state.json").write_text('{"format": 1'), r"cut short: state\.json is not whole"),
        (lambda d: (d / "state.json").write_text("[]"), r"cut short: state\.json is not whole"),
        (lambda d: (d / "state.pt").unlink(), r"cut short: state\.pt has 0 bytes of \d+"),
        (lambda d: (d / "state.pt").write_bytes((d / "state.pt").read_bytes()[:999]), r"cut short: state\.pt has 999"),
        (lambda d: (d / "state.pt").write_bytes(b"x" * (d / "state.pt").stat().st_size), r"state\.pt is damaged"),
        (lambda d: (d / "state.json").write_text('{"format": 9, "bytes": 1, "extra": {}}'), "format 9, this version"),
    ],
)
def test_a_checkpoint_cut_short_is_told(damage: object, told: str, tmp_path: Path) -> None:
    save_state(tmp_path, trainer(), EXTRA)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(RunError, match=told) as caught:
        load_state(tmp_path, trainer())
    assert str(caught.value).startswith(f"checkpoint {tmp_path}: ")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_network_is_told(tmp_path: Path) -> None:
    save_state(tmp_path, trainer(), EXTRA)
    with pytest.raises(RunError, match=r"checkpoint .*: the saved state is of another network: 2 weights differ"):
        load_state(tmp_path, trainer(auxiliary=()))


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        save_state(tmp_path / "file" / "checkpoint", trainer(), EXTRA)


def test_an_error_without_words_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RunError, match=r"cannot be written: RuntimeError$"):
        save_state(tmp_path / "checkpoint", trainer(), EXTRA)
