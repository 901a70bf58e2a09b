"""Scripts of release 0.1 find what they import, with a warning."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from vqa_ray.former_names import _HOMES, _MODULES
from vqa_ray.readers import InputConfig, open_source

# An older checkout that is installed beside this one would answer for its own modules.
SCRIPT = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
from vqa_ray.fetch import ImageFetcher
from vqa_ray.images import ImageLimits, decode
from vqa_ray.models.load import describe, load_model
from vqa_ray.readers import InputConfig, open_source
from vqa_ray.readers.source import read_shard
from vqa_ray.run.labelled import Labels, question_samples
import vqa_ray.retrieval.index
from vqa_ray.storage import read_bytes
from vqa_ray.taxonomy import Taxonomy
assert callable(decode) and describe("fake:").family.name == "fake"
assert load_model("fake:").answer([], [], 1) == []
print(vqa_ray.retrieval.index.open_index.__module__)
"""


def test_a_script_of_the_former_release_runs() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "vqa_ray.index.reader\n"), done.stderr
    told = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert "vqa_ray.fetch is called vqa_ray.images.fetch now" in told.stderr


@pytest.mark.parametrize("home", sorted({*_MODULES.values(), *(home for homes in _HOMES.values() for home in homes)}))
def test_names_lead_to_modules_that_exist(home: str) -> None:
    importlib.import_module(home)


def test_a_field_has_its_former_name(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"image": "a.jpg", "question": "red?", "sku": "7"}')
    source = open_source(InputConfig(str(tmp_path / "in.jsonl"), keep=("sku",)))
    with pytest.warns(DeprecationWarning, match=r"Source\.kept is called Source\.passthrough now"):
        assert source.kept == source.passthrough


def test_what_was_never_there_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("vqa_ray.nothing")
    with pytest.raises(AttributeError, match=r"module .vqa_ray\.images. has no attribute .nothing."):
        _ = importlib.import_module("vqa_ray.images").nothing
