"""Stages on a simulated CUDA device: the rows of the CPU, and error rows where memory is too small for a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers import tiny, tiny_blip, tiny_encoders
from tests.helpers.simulated_cuda import SimulatedCuda
from tests.unit.stages.test_answer import decoded
from tests.unit.stages.test_embed import table as described
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.stages.embed import EmbedConfig, EmbedStage
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.taxonomy.taxonomy import Taxonomy

TAXONOMY = Taxonomy.model_validate(
    {"attributes": [{"name": "colour", "question": "what colour is it?", "choices": ["red", "blue"], "threshold": 0.0}]}
)


def blip2(path: Path) -> None:
    tiny_blip.save(path, tiny_blip.blip2("opt"))


def clip(path: Path) -> None:
    tiny_encoders.save(path, tiny_encoders.clip())


# What makes the checkpoint, a stage of it, and a table of DECODED rows; and the column to compare.
STAGES: dict[str, tuple[Callable[[Path], Any], Callable[[ModelOptions], Any], Callable[..., pa.Table], str]] = {
    "answer": (blip2, lambda model: AnswerStage(AnswerConfig(model, 1)), decoded, "answer"),
    "answer vilt": (tiny.save_tiny_vilt, lambda model: AnswerStage(AnswerConfig(model, 1)), decoded, "answer"),
    "caption": (blip2, lambda model: CaptionStage(CaptionConfig(model)), decoded, "caption"),
    "tag": (tiny.save_tiny_vilt, lambda model: TagStage(TagConfig(model, TAXONOMY)), decoded, "colour"),
    "embed": (clip, lambda model: EmbedStage(EmbedConfig(model)), described, "embedding"),
}


def rows(make: Callable[..., pa.Table], count: int = 6) -> pa.Table:
    side = tiny_encoders.SIDE if make is described else tiny_blip.SIDE
    images = tiny_encoders.photos(count) if make is described else tiny_blip.random_images(count)
    given = [
        {"pixels": image.tobytes(), "height": side, "width": side, "image_key": number}
        for number, image in enumerate(images)
    ]
    return make([*given, {"status": "error", "error_code": "image_missing", "error_message": "gone", "pixels": None}])


@pytest.mark.parametrize("name", STAGES)
def test_rows_are_those_of_the_cpu(name: str, tmp_path: Path) -> None:
    save, make, table, column = STAGES[name]
    save(tmp_path)
    with SimulatedCuda():
        found = make(ModelOptions(str(tmp_path), device="cuda", dtype="float32"))(rows(table))
    wanted = make(ModelOptions(str(tmp_path), device="cpu", dtype="float32"))(rows(table))
    assert found["status"].to_pylist() == ["ok"] * 6 + ["error"]
    if column == "embedding":
        pairs = zip(found[column].to_pylist()[:6], wanted[column].to_pylist()[:6], strict=True)
        assert all(one == pytest.approx(other, abs=1e-5) for one, other in pairs)
    else:
        assert found[column].to_pylist() == wanted[column].to_pylist()


def test_rows_that_no_memory_holds_are_rows_in_error(tmp_path: Path) -> None:
    blip2(tmp_path)
    options = ModelOptions(str(tmp_path), device="cuda", dtype="float32")
    with SimulatedCuda(capacity=1 << 30) as device:
        AnswerStage(AnswerConfig(options, 1))
        needed = device.peak
    with SimulatedCuda(capacity=needed + 1_000):
        found = AnswerStage(AnswerConfig(options, 1))(rows(decoded, 3))
    assert found["status"].to_pylist() == ["error"] * 4
    assert all("out of memory" in message for message in found["error_message"].to_pylist()[:3])
