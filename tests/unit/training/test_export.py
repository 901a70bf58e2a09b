from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.s3 import s3_bucket
from tests.helpers.tiny import ANSWERS, SHAPE, random_images, save_tiny_vilt, tiny_model
from vqa_ray.errors import ModelLoadError, RequestError, RunError
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.models.vilt.network import Pairs, ViltNetwork
from vqa_ray.training.config import LoraConfig
from vqa_ray.training.vqa import lora
from vqa_ray.training.vqa.export import export

QUESTION = "is there a dog in the picture?"
FILES = [
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
]


def adapted_model() -> Any:
    model, _ = tiny_model()
    adapted = lora.adapt(model, LoraConfig(rank=4, base="dandelin/vilt-b32-mlm"))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name or "modules_to_save.default.3" in name:
                weight.normal_(generator=torch.Generator().manual_seed(0))
    return adapted.eval()


def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    pixels = torch.from_numpy(random_images(1)[0])[None]
    network = ViltNetwork(model.eval())
    with torch.no_grad():
        return network([Pairs(torch.tensor([tokenizer(QUESTION)["input_ids"]]), None, network.image_tokens(pixels))])


def scores(reference: str) -> dict[str, float]:
    ((answer,),) = (
        ModelOptions(reference, device="cpu", dtype="float32").load().answer(random_images(1), [[QUESTION]], 6)
    )
    return dict(answer.answers)


def test_everybody_loads_what_was_exported(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, ViltForQuestionAnswering, ViltProcessor

    model, tokenizer = tiny_model()
    (tmp_path / "metrics.parquet").write_bytes(b"mine")
    transform = ViltTransform(SHAPE.shortest_edge, SHAPE.patch_size, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    export(str(tmp_path), model, tokenizer, transform, files={"README.md": b"# card"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "README.md", "metrics.parquet"])
    assert (tmp_path / "metrics.parquet").read_bytes() == b"mine"
    loaded = ViltForQuestionAnswering.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert list(loaded.config.id2label.values()) == list(ANSWERS)
    processor = ViltProcessor.from_pretrained(tmp_path).image_processor
    assert processor.size["shortest_edge"] == SHAPE.shortest_edge
    assert list(processor.image_mean) == [0.4, 0.5, 0.6]
    assert list(processor.image_std) == [0.2, 0.3, 0.4]
    assert AutoTokenizer.from_pretrained(tmp_path)(QUESTION) == tokenizer(QUESTION)
    assert len(scores(str(tmp_path))) == len(ANSWERS)


def test_half_precision_halves_the_file_and_leaves_the_model_alone(tmp_path: Path) -> None:
    model, tokenizer = tiny_model()
    for dtype in ("float32", "bfloat16"):
        export(str(tmp_path / dtype), model, tokenizer, SHAPE.transform, dtype=dtype)
    full, half = ((tmp_path / dtype / "model.safetensors").stat().st_size for dtype in ("float32", "bfloat16"))
    assert half < 0.6 * full
    assert json.loads((tmp_path / "bfloat16" / "config.json").read_text())["dtype"] == "bfloat16"
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    wanted = scores(str(tmp_path / "float32"))
    assert scores(str(tmp_path / "bfloat16")) == pytest.approx(wanted, abs=0.1)
    with pytest.raises(
        RequestError, match="export dtype 'int8' is not supported; there are bfloat16, float16, float32"
    ):
        export(str(tmp_path / "other"), model, tokenizer, SHAPE.transform, dtype="int8")
    assert not (tmp_path / "other").exists()


def test_no_bars_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    model, tokenizer = tiny_model()
    was_drawn = logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    try:
        export(str(tmp_path), model, tokenizer, SHAPE.transform)
        assert logging.is_progress_bar_enabled()
    finally:
        if not was_drawn:
            logging.disable_progress_bar()
    assert "Writing model shards" not in capsys.readouterr().err


def test_an_older_export_is_replaced(tmp_path: Path) -> None:
    save_tiny_vilt(tmp_path, seed=1)
    model, tokenizer = tiny_model(seed=2)
    before = scores(str(tmp_path))
    export(str(tmp_path), model, tokenizer, SHAPE.transform)
    assert scores(str(tmp_path)) != before
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_an_export_cut_short_cannot_be_loaded(tmp_path: Path) -> None:
    save_tiny_vilt(tmp_path)
    model, tokenizer = tiny_model()
    (tmp_path / "README.md").mkdir()
    (tmp_path / "README.md" / "in the way").write_text("")
    with pytest.raises(RunError, match=f"export to {tmp_path}: cannot be written"):
        export(str(tmp_path), model, tokenizer, SHAPE.transform, files={"README.md": b"# card"})
    assert not (tmp_path / "config.json").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with pytest.raises(ModelLoadError, match=r"config\.json is missing"):
        ModelOptions(str(tmp_path)).load()


def test_adapters_are_exported_merged(tmp_path: Path) -> None:
    from transformers import ViltForQuestionAnswering

    adapted, (_, tokenizer) = adapted_model(), tiny_model()
    export(str(tmp_path), adapted, tokenizer, SHAPE.transform)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    loaded = ViltForQuestionAnswering.from_pretrained(tmp_path)
    wanted = logits(adapted, tokenizer)
    assert torch.allclose(logits(loaded, tokenizer), wanted, atol=1e-4)
    assert not torch.allclose(wanted, logits(tiny_model()[0], tokenizer), atol=0.1)
    assert list(scores(str(tmp_path)).values()) == pytest.approx(
        sorted(wanted.sigmoid()[0].tolist(), reverse=True), abs=1e-4
    )


# peft asks transformers for a property by the name it had before.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_are_exported_alone(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import ViltConfig

    adapted, (base, tokenizer) = adapted_model(), tiny_model()
    export(str(tmp_path), adapted, tokenizer, SHAPE.transform, adapter=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([*FILES[:1], *FILES[2:], "adapter_config.json", "adapter_model.safetensors"])
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "dandelin/vilt-b32-mlm"
    assert list(ViltConfig.from_pretrained(tmp_path).id2label.values()) == list(ANSWERS)
    loaded = PeftModel.from_pretrained(base, tmp_path)
    assert torch.allclose(logits(loaded, tokenizer), logits(adapted, tokenizer), atol=1e-5)
    with pytest.raises(RequestError, match="trained without LoRA"):
        export(str(tmp_path), tiny_model()[0], tokenizer, SHAPE.transform, adapter=True)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("exports") as uri:
        yield uri


def test_an_export_to_object_storage_is_loaded_from_there(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VQA_RAY_CACHE", str(tmp_path / "cache"))
    model, tokenizer = tiny_model()
    for _ in range(2):
        export(f"{bucket}/model", model, tokenizer, SHAPE.transform, files={"README.md": b"# card"})
    export(str(tmp_path / "local"), model, tokenizer, SHAPE.transform)
    assert scores(f"{bucket}/model") == scores(str(tmp_path / "local"))
    assert np.isfinite(list(scores(f"{bucket}/model").values())).all()
    with pytest.raises(RunError, match="export to s3://nowhere/model: cannot be written"):
        export("s3://nowhere/model", model, tokenizer, SHAPE.transform)
