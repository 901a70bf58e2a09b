"""Exports in transformers 4: the files it looks for, and the same answers where an interpreter that has it is given.

VQA_RAY_OLD_TRANSFORMERS=/path/to/python python -m pytest tests/unit/training/test_transformers4_files.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.tiny import ANSWERS, SHAPE, random_images, tiny_model
from tests.helpers.tiny_pairs import tiny_start
from vqa_ray.models.load import ModelOptions
from vqa_ray.training.contrastive.export import export_pairs
from vqa_ray.training.vqa.export import export

QUESTION = "is there a dog in the picture?"
CAPTION = "a red mug"
OLD = os.environ.get("VQA_RAY_OLD_TRANSFORMERS")
needs_old = pytest.mark.skipif(OLD is None, reason="VQA_RAY_OLD_TRANSFORMERS names no interpreter with transformers 4")

ANSWERING = """
import json, sys
from PIL import Image
from transformers import pipeline
answer = pipeline("visual-question-answering", model=sys.argv[1], device="cpu")
found = [answer(Image.open(path), sys.argv[2], top_k=6) for path in sys.argv[3:]]
print(json.dumps([{each["answer"]: each["score"] for each in answers} for answers in found]))
"""
EMBEDDING = """
import json, sys
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel
model, tokenize, prepare = (
    kind.from_pretrained(sys.argv[1]) for kind in (CLIPModel, AutoTokenizer, CLIPImageProcessor)
)
model.eval()
images = [Image.open(path) for path in sys.argv[3:]]
with torch.no_grad():
    text = model.get_text_features(**tokenize([sys.argv[2]], return_tensors="pt"))
    image = torch.cat([model.get_image_features(**prepare(images=i, return_tensors="pt")) for i in images])
print(json.dumps([(each / each.norm(dim=-1, keepdim=True)).tolist() for each in (text, image)]))
"""


def in_old_transformers(script: str, *arguments: str) -> Any:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    command = [str(OLD), "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def saved(directory: Path, images: list[Any]) -> list[str]:
    directory.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(directory / f"{number}.png")
    return [str(path) for path in sorted(directory.iterdir())]


@pytest.fixture
def vilt(tmp_path: Path) -> str:
    model, tokenizer = tiny_model()
    export(str(tmp_path / "model"), model, tokenizer, SHAPE.transform)
    return str(tmp_path / "model")


@pytest.fixture
def clip(tmp_path: Path) -> str:
    export_pairs(str(tmp_path / "model"), tiny_start())
    return str(tmp_path / "model")


@pytest.mark.parametrize("kind", ["vilt", "clip"])
def test_the_files_of_both_versions_agree(kind: str, request: pytest.FixtureRequest) -> None:
    directory = Path(request.getfixturevalue(kind))
    new = json.loads((directory / "processor_config.json").read_text())
    old = json.loads((directory / "preprocessor_config.json").read_text())
    assert old == {**new["image_processor"], "processor_class": new["processor_class"]}
    assert old["image_processor_type"] in ("ViltImageProcessor", "CLIPImageProcessor")
    tokenizer = json.loads((directory / "tokenizer_config.json").read_text())
    assert not {"local_files_only", "is_local"} & set(tokenizer)


@needs_old
def test_the_pipeline_of_transformers_4_gives_the_same_answers(vilt: str, tmp_path: Path) -> None:
    images = random_images(3)
    found = in_old_transformers(ANSWERING, vilt, QUESTION, *saved(tmp_path / "images", images))
    ours = ModelOptions(vilt, device="cpu", dtype="float32").load().answer(images, [[QUESTION]] * 3, len(ANSWERS))
    assert [list(each) for each in found] == [[name for name, _ in each[0].answers] for each in ours]
    for theirs, mine in zip(found, ours, strict=True):
        assert theirs == pytest.approx(dict(mine[0].answers), abs=1e-5)


@needs_old
def test_a_clip_embeds_the_same_in_transformers_4(clip: str, tmp_path: Path) -> None:
    encoder = ModelOptions(clip, device="cpu", dtype="float32").load_encoder()
    side = tiny_start().transform.target_size(64, 64)
    images = [np.random.default_rng(seed).integers(0, 256, (*side, 3), np.uint8) for seed in range(2)]
    text, image = in_old_transformers(EMBEDDING, clip, CAPTION, *saved(tmp_path / "images", images))
    np.testing.assert_allclose(np.array(text), encoder.encode_texts([CAPTION]), atol=1e-5)
    np.testing.assert_allclose(np.array(image), encoder.encode_images(images), atol=1e-5)
