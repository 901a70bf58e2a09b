"""`vqa-ray models`: what is supported, and what one model can do."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.exceptions import RayError

from tests.helpers import tiny_blip
from tests.helpers.tiny import ANSWERS, save_tiny_vilt
from tests.helpers.weights import to_pickles
from vqa_ray.errors import RequestError, RunError
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.runtime.cluster.failures import failed_run
from vqa_ray.models.registry import FAMILIES


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["models", *arguments]) == 0
    return capsys.readouterr().out


def test_the_list_names_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys)
    assert all(family.display_name in text for family in FAMILIES)
    assert "bundled:catalog-vilt" in text


def test_one_model_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, str(to_pickles(save_tiny_vilt(tmp_path), shards=2)))
    for line in (
        "family                        vilt",
        "commands                      answer, tag, retrieve, finetune",
        "score                         sigmoid of the answer's logit;",
        "text limit                    40 tokens of a text; longer ones are cut",
        "weights                       pickles, of which only tensors are read, 2 files, ",
        f"vocabulary                    6 answers: {', '.join(ANSWERS)}\n",
    ):
        assert line in text
    assert told(capsys, str(tmp_path), "--words").splitlines() == list(ANSWERS)


def test_models_without_a_vocabulary_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(tiny_blip.save(tmp_path / "blip2", tiny_blip.blip2("opt")))
    text = told(capsys, directory)
    assert "written freely" in text
    assert "vocabulary" not in text
    assert "1 × 128 numbers per image" in told(capsys, "bundled:catalog-clip")
    assert main(["models", directory, "--words"]) == 2
    assert "has no vocabulary" in capsys.readouterr().err


def test_a_wrong_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", str(tmp_path)]) == 2
    assert "config.json is missing" in capsys.readouterr().err


def test_what_only_weights_show_is_a_wrong_request() -> None:
    """An actor that cannot be made hands its reason on as text, behind Ray's own lines."""
    text = (
        "The actor died because of an error raised in its creation task, \x1b[36mray::Model.__init__()\x1b[39m\n"
        '  File "weights.py", line 80\nvqa_ray.errors.ModelLoadError: model m: weights are incomplete, 1 missing\n\n'
    )
    refused = failed_run(RayError(text), "it failed")
    assert isinstance(refused, RequestError)
    assert str(refused) == "model m: weights are incomplete, 1 missing"
    assert isinstance(failed_run(RayError("The node died."), "it failed"), RunError)
    noted = RayError("Exception occurred in user code")
    noted.__cause__ = RequestError("model m: damaged\nFailed to apply UDF transform after 1/4 attempts")
    assert str(failed_run(noted, "it failed")) == "model m: damaged"
