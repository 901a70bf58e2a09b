"""A model that was opened: each of its small files read once, and nothing hashed that nobody asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny import save_tiny_vilt
from vqa_ray.errors import RequestError
from vqa_ray.models.checkpoint import opened
from vqa_ray.models.checkpoint.opened import Checkpoint

CODE = """
import sys
from pathlib import Path
read = []
sys.addaudithook(lambda event, given: event == "open" and read.append(Path(str(given[0])).name))
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
model = Checkpoint.open(sys.argv[1])
model.fingerprint, model.transform, model.vocabulary, model.notes
options = ModelOptions.of(model, device="cpu")
options.check()
options.load_encoder() if model.family.encoder else options.load()
assert read.count("config.json") == 1, read
"""


@pytest.mark.parametrize("name", ["catalog-vilt", "catalog-clip"])
def test_the_config_is_read_once(name: str) -> None:
    subprocess.run([sys.executable, "-c", CODE, f"bundled:{name}"], check=True)


def test_the_fingerprint_is_computed_when_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise AssertionError("nobody asked for the fingerprint")

    directory = save_tiny_vilt(tmp_path / "model")
    wanted = Checkpoint.open(str(directory)).fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(opened, "fingerprint", refuse)
        model = Checkpoint.open(str(directory))
    assert model.fingerprint == wanted
    monkeypatch.setattr(opened, "fingerprint", refuse)
    assert model.fingerprint == wanted


def test_only_hub_names_are_pinned() -> None:
    for reference in ("fake:", "bundled:catalog-vilt"):
        assert Checkpoint.open(reference).pinned == reference


def test_a_model_that_does_not_embed_has_no_shape() -> None:
    assert Checkpoint.open("fake:quadrants").shape.vectors == 4
    assert Checkpoint.open("fake:").similarity_meaning.startswith("cosine")
    with pytest.raises(RequestError, match="model bundled:catalog-vilt: vilt does not embed images"):
        _ = Checkpoint.open("bundled:catalog-vilt").shape
