"""The table of families: what is found, what is refused, and that looking does not load torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.description import commands_of
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.registry import FAMILIES, family_of
from vqa_ray.models.transforms.vilt import ViltTransform

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.display_name)
def test_each_family_is_found_by_its_config(family) -> None:
    config = {"model_type": family.name, "architectures": [family.architecture or "AnyForConditionalGeneration"]}
    assert family_of("m", config) is family
    assert family.score_meaning
    assert family.shared_work
    assert callable(family.transform)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.display_name)
def test_each_engine_is_where_the_table_says(family) -> None:
    assert (family.engine is None) == (family.tasks == {"embed"})
    assert (family.encoder is None) == (family.shape is None) == ("embed" not in family.tasks)
    for place in filter(None, (family.engine, family.encoder)):
        assert callable(place.load().from_checkpoint)


def test_unknown_ones_are_named_with_those_that_exist() -> None:
    with pytest.raises(ModelLoadError, match=r"^model x: model_type 'gpt2' of config.json is not .* there are "):
        family_of("x", {"model_type": "gpt2"})
    with pytest.raises(ModelLoadError) as caught:
        family_of("x", {})
    told = str(caught.value).partition("there are ")[2].split(", ")
    assert {"vilt", "blip", "blip-2", "instructblip", "llava", "qwen2_5_vl"} <= set(told)
    assert len(told) == len(set(told))
    with pytest.raises(
        ModelLoadError, match=r"architecture BlipModel of blip is not .* wanted BlipForQuestionAnswering or BlipForC"
    ):
        family_of("x", {"model_type": "blip", "architectures": ["BlipModel"]})


def test_what_a_family_cannot_do_is_refused_with_those_that_can() -> None:
    vilt = family_of("x", {"model_type": "vilt", "architectures": ["ViltForQuestionAnswering"]})
    with pytest.raises(
        RequestError, match=r"^model x: vilt does not caption; models that do are blip-2 \(Blip2ForCond"
    ):
        vilt.require("caption", "x")
    captioner = family_of("x", {"model_type": "blip", "architectures": ["BlipForConditionalGeneration"]})
    captioner.require("caption", "x")
    with pytest.raises(
        RequestError, match=r"vilt does not embed images; models that do are clip, siglip, blip-2 \(Blip2ForIm"
    ):
        vilt.require("embed", "x")
    clip = family_of("x", {"model_type": "clip", "architectures": ["CLIPModel"]})
    clip.require("embed", "x")
    with pytest.raises(RequestError, match="clip does not answer questions; models that do are vilt"):
        clip.require("answer", "x")
    for task, told in (("answer", "answer questions"), ("score", "score choices")):
        with pytest.raises(RequestError, match=rf"blip \(BlipForConditionalGeneration\) does not {told}; .*vilt, "):
            captioner.require(task, "x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompt_template": "lavis"}, "--prompt-template: model x: vilt: it takes no prompt"),
        ({"max_new_tokens": 3}, "--max-new-tokens: model x: vilt chooses among the answers of its vocabulary"),
        ({"num_beams": 3}, "--num-beams: model x: vilt chooses among the answers of its vocabulary"),
    ],
)
def test_a_closed_vocabulary_takes_no_options_of_writing(given, message: str) -> None:
    vilt = next(family for family in FAMILIES if family.name == "vilt")
    with pytest.raises(RequestError, match=f"^{message}"):
        ModelOptions.of(Checkpoint("x", vilt, ViltTransform()), **given).check()
    ModelOptions("fake:", **given).check()


def test_a_wrong_template_is_told_before_any_work() -> None:
    with pytest.raises(RequestError, match=r"holds \{\} 0 times"):
        ModelOptions("fake:", prompt_template="what?").check()


def test_models_are_described_without_torch() -> None:
    code = (
        "import sys; from vqa_ray.models.checkpoint.opened import Checkpoint; Checkpoint.open('fake:');"
        "Checkpoint.open('bundled:catalog-vilt');"
        "assert not {'ray', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert Checkpoint.open("fake:boxes").family.has_boxes
    assert not Checkpoint.open("fake:").family.has_boxes


def test_the_documented_table_is_this_one() -> None:
    text = (ROOT / "docs" / "models.md").read_text("utf-8")
    written = {line for line in text.splitlines() if line.startswith("| `") and line.count("|") == 6}
    for family in FAMILIES:
        jobs = ", ".join(f"`{command}`" for command in commands_of(family))
        architecture = f"`{family.architecture}`" if family.architecture else ""
        boxes = "yes" if family.has_boxes else ""
        line = f"| `{family.name}` | {architecture} | {jobs} | {boxes} | {family.shared_work} |"
        assert line in written
        written.remove(line)
        assert f"{family.score_meaning}." in text
    assert len(written) == 1  # the heading
