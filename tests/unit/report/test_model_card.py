"""The model card: its front matter is understood, its text is escaped, and what it says to run does run."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.tiny import ANSWERS, SHAPE, save_tiny_vilt, tiny_model
from tests.unit.report.test_gallery import FRAGMENTS
from tests.unit.report.trained import log, trained
from vqa_ray.report.model_card import SCORE_MEANING, fenced, render_card, text, write_card
from vqa_ray.report.training_summary import TrainingData
from vqa_ray.training.config import LoraConfig
from vqa_ray.training.log import TrainingLog
from vqa_ray.training.vqa.export import export
from vqa_ray.training.vqa.lora import adapt


def front_matter(card: str) -> dict[str, object]:
    begun, matter, _ = re.split(r"^---\n", card, maxsplit=2, flags=re.MULTILINE)
    assert begun == ""
    return dict(yaml.safe_load(matter))


def body(card: str) -> str:
    """The card without its front matter and the content of its code blocks."""
    text = re.split(r"^---\n", card, maxsplit=2, flags=re.MULTILINE)[2]
    return re.sub(r"^(`{3,})\w+\n.*?\n\1$", "", text, flags=re.DOTALL | re.MULTILINE)


def test_front_matter_is_what_the_hub_understands() -> None:
    made = trained("acme", base_model="dandelin/vilt-b32-mlm", license="apache-2.0", tags=("retail", "vilt"))
    data = ModelCard(render_card(made)).data
    assert data.pipeline_tag == "visual-question-answering"
    assert data.library_name == "transformers"
    assert data.base_model == "dandelin/vilt-b32-mlm"
    assert data.license == "apache-2.0"
    assert data.tags == ["vilt", "vqa", "vqa-ray", "retail"]
    assert data.to_dict()["base_model_relation"] == "finetune"


def test_the_hub_lists_the_accuracy_beside_those_of_other_models() -> None:
    made = trained("acme")
    assert made.exported_validation is not None
    (result,) = ModelCard(render_card(made)).data.eval_results
    assert (result.task_type, result.metric_type) == ("visual-question-answering", "accuracy")
    assert (result.metric_value, result.dataset_name) == (round(made.exported_validation.accuracy, 4), "acme")
    (pairs,) = ModelCard(render_card(trained("acme", task="contrastive"))).data.eval_results
    assert (pairs.task_type, pairs.metric_type) == ("zero-shot-image-classification", "recall")


def test_tags_are_of_one_line() -> None:
    assert ModelCard(render_card(trained(tags=("a\n---\nlicense: mit",)))).data.tags[-1] == "a --- license: mit"


def test_what_is_not_known_is_left_out_of_the_front_matter() -> None:
    matter = front_matter(render_card(trained(log=TrainingLog())))
    assert set(matter) == {"library_name", "pipeline_tag", "tags"}
    adapter = front_matter(render_card(trained(adapter=True, base_model="a/b")))
    assert (adapter["library_name"], adapter["base_model_relation"]) == ("peft", "adapter")


def test_tells_data_recipe_and_results() -> None:
    card = render_card(trained("shelf", data=replace(trained().data, uri="s3://bucket/rows.parquet")))
    for told in (
        "1,000 rows about 500 images of s3\\://bucket/rows.parquet",
        "41 answers, 2,110,313 parameters",
        "(300 rows)",
        "| number | 0.4000 | 100 |",
        "| **all** | **0.8000** | 300 |",
        "step 40 (epoch 4)",
        "loss 1.5 per row",
        "40 steps, 640 rows, 2 min 05 s on shelf, 32.0 rows/s",
        "| epochs | 4 |",
        "vqa-ray finetune --input shelf",
        "Versions: shelf shelf.",
        "| plain | plain | 1,234 |",
        "No licence was stated",
        SCORE_MEANING,
    ):
        assert told in card, told


@pytest.mark.parametrize("adapter", [True, False])
def test_credentials_are_not_shown(adapter: bool) -> None:
    uri = "s3://key:secret@bucket/rows"
    data = replace(trained().data, uri=uri, validation=uri)
    made = trained(data=data, start=uri, notes=(uri,), recipe={"vocabulary": uri}, command=["x", uri], adapter=adapter)
    card = render_card(made)
    assert "secret" not in card
    assert card.count("bucket/rows") == 7 + adapter


def test_a_card_without_validation_says_so() -> None:
    made = trained(log=TrainingLog(), data=TrainingData("rows.parquet", 10, 2))
    card = render_card(made)
    for told in ("**Validated on**: nothing", "were not validated", "was not measured", "No row was left out."):
        assert told in card, told
    assert "None" not in card


def test_the_exported_step_is_the_one_that_is_told() -> None:
    assert "**0.4000**" in render_card(trained(exported_step=20))
    assert "were not validated" in render_card(trained(exported_step=21))


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("<script>", r"\<script\>"),
        ("a|b", r"a\|b"),
        ("[x](javascript:1)", r"\[x\](javascript:1)"),
        ("![x](y)", r"!\[x\](y)"),
        ("`code` *b* _i_", r"\`code\` \*b\* \_i\_"),
        ("# head\n\n## another", r"\# head ## another"),
        ("http://a.b", r"http\://a.b"),
        ("&lt;", r"\&lt;"),
        ("back\\slash", r"back\\slash"),
        ("ViLT-B/32, 10 %", "ViLT-B/32, 10 %"),
    ],
)
def test_markup_is_escaped(given_text: str, shown: str) -> None:
    assert text(given_text) == shown


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.one_of(st.sampled_from([*FRAGMENTS, "\n", "---\n", "```", "|", "# "]), st.characters())).map("".join)
)
def test_any_text_leaves_the_card_as_it_is(words: str) -> None:
    card, plain = render_card(trained(words)), render_card(trained("x"))
    assert front_matter(card).keys() == front_matter(plain).keys()
    # As many lines of tables, headings and lists as with a plain word, and no markup that is not escaped.
    outside = body(card)
    assert [line[:1] for line in outside.split("\n")] == [line[:1] for line in body(plain).split("\n")]
    assert not re.search(r"(?<!\\)(?:\\\\)*[<`]", outside)


def test_a_code_block_cannot_be_ended_by_its_content() -> None:
    assert fenced("a", "sh") == "```sh\na\n```"
    assert fenced("a\n````\nb", "sh") == "`````sh\na\n````\nb\n`````"


def test_the_lines_that_load_the_model_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer, score = run_python(render_card(trained(str(save_tiny_vilt(tmp_path / 'a "model"')))), tmp_path, capsys)
    assert answer in ANSWERS
    assert 0 < score < 1


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_lines_that_load_adapters_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, adapters = save_tiny_vilt(tmp_path / "base"), tmp_path / "adapters"
    model, tokenizer = tiny_model()
    export(str(adapters), adapt(model, LoraConfig(rank=2)), tokenizer, SHAPE.transform, adapter=True)
    card = render_card(trained(str(adapters), start=str(base), adapter=True))
    assert f"--model {adapters} --question" in card
    expected = run_python(render_card(trained(str(base))), tmp_path, capsys)
    assert run_python(card, tmp_path, capsys) == (expected[0], pytest.approx(expected[1], abs=1e-5))


def run_python(card: str, place: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, float]:
    """(answer, score) that the card's Python prints."""
    photo = place / "photo.jpg"
    Image.new("L", (40, 32), 128).save(photo)
    (code,) = re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)
    exec(compile(code.replace("photo.jpg", str(photo)), "card", "exec"), {})
    answer, score = capsys.readouterr().out.rsplit(" ", 1)
    return answer, float(score)


def test_writes_one_file(tmp_path: Path) -> None:
    write_card(str(tmp_path / "README.md"), trained("\ud800", log=log()))
    assert (tmp_path / "README.md").read_text("utf-8").startswith("---\n")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
