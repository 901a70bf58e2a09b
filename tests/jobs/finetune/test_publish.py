"""What a finished training is given and shown without training again: upload, licence, the next command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import table
from tests.helpers.hub import TOKEN, Hub, hub_server
from tests.helpers.tiny_chat import save_tiny_chat
from tests.unit.report.trained import trained
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.finetune.publish import next_command
from vqa_ray.jobs.finetune.request import open_request
from vqa_ray.jobs.finetune.spec import FinetuneSpec
from vqa_ray.jobs.runtime import admission as guard
from vqa_ray.report.model_card import write_card
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory

ARGUMENTS = ["finetune", "--input", "in.parquet", "--output", "runs/mine", "--model", "scratch", "--batch-size", "4"]


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training that has finished, as far as its output says."""
    monkeypatch.chdir(tmp_path)
    rows = table(8)
    pq.write_table(rows.append_column("answer", rows["colour"]), "in.parquet")
    finish(FinetuneSpec(input="in.parquet", output="runs/mine", model="scratch", batch_size=4))
    # Anything that trains would fail.
    monkeypatch.setattr("vqa_ray.jobs.finetune.command.execute", None)
    return tmp_path / "runs" / "mine"


def finish(spec: FinetuneSpec) -> None:
    """Write what a training leaves, without its weights."""
    request = open_request(spec)
    layout = RunDirectory(spec.output)
    guard.claim_output(layout, request.record, request.listings(layout))
    output = Path(spec.output)
    for name in ("config.json", "model.safetensors", "validation.parquet", "_vqa_ray/training/best/config.json"):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("{}")
    write_card(str(output / "README.md"), trained("mine"))
    content = {"accuracy": 0.75, "loss": 0.25, "validation_rows": 8, "exported_step": 3, "steps": 4, "rows": 8}
    content |= {"accuracy_by_type": {"other": 0.75}, "skipped": [], "skipped_fraction": 0.0}
    timing = {"train_s": 1.0, "samples_per_s": 8.0, "finished": "2026-11-28T00:00:00Z"}
    manifest.write(layout.manifest, {**content, "timing": timing})


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_server(tmp_path / "cache") as served:
        yield served


def test_a_finished_training_is_uploaded(
    finished: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    before = (finished / "_vqa_ray" / "manifest.json").read_bytes()
    assert main([*ARGUMENTS, "--push-to-hub", "shelf", "--license", "Apache 2.0"]) == 0
    files = hub.repositories["tester/shelf"].refs["main"].files
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    card = files["README.md"].decode()
    assert "license: apache-2.0\n" in card
    assert "\n# tester/shelf\n" in card
    assert 'from_pretrained("tester/shelf")' in card
    assert "No licence was stated" not in card
    assert (finished / "README.md").read_text() == card
    assert (finished / "_vqa_ray" / "manifest.json").read_bytes() == before
    told = capfd.readouterr().err
    assert "accuracy 0.7500, loss 0.2500, on 8 validation rows" in told
    assert f"uploaded to {hub.url}/tester/shelf" in told


@pytest.mark.usefixtures("finished")
def test_a_chat_model_is_uploaded_with_its_adapter(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    model = str(save_tiny_chat(Path("tiny"), "llava"))
    finish(FinetuneSpec(task="chat", input="in.parquet", output="runs/chat", model=model, question="which colour?"))
    adapter = ("lora/adapter_config.json", "lora/adapter_model.safetensors")
    Path("runs/chat/lora").mkdir()
    for name in adapter:
        (Path("runs/chat") / name).write_text("{}")
    command = ["finetune", "--task", "chat", "--input", "in.parquet", "--output", "runs/chat", "--model", model]
    assert main([*command, "--question", "which colour?", "--push-to-hub", "talker", "--quiet"]) == 0
    files = hub.repositories["tester/talker"].refs["main"].files
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors", *adapter}


def test_an_upload_that_fails_leaves_the_training_finished(
    finished: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.failures["/api/repos/create"] = 403
    assert main([*ARGUMENTS, "--push-to-hub", "shelf", "--quiet"]) == 1
    told = capfd.readouterr().err
    assert "upload to tester/shelf: the token may not write there" in told
    assert told.count("\n") == 1
    hub.failures.clear()
    assert main([*ARGUMENTS, "--push-to-hub", "shelf", "--quiet"]) == 0
    assert "config.json" in hub.repositories["tester/shelf"].refs["main"].files


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("output", ["runs/mine", "runs/new"])
def test_an_upload_without_a_token_is_refused_before_any_work(
    hub: Hub, output: str, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [output if word == "runs/mine" else word for word in ARGUMENTS]
    assert main([*arguments, "--push-to-hub", "acme/shelf"]) == 2
    told = capfd.readouterr().err
    assert "--push-to-hub acme/shelf: not logged in: run `hf auth login`" in told
    assert told.count("\n") == 1
    assert hub.requests == []
    assert not Path("runs/new").exists()


def test_a_licence_alone_is_written_into_the_card(finished: Path) -> None:
    assert main([*ARGUMENTS, "--licence", "mit", "--quiet"]) == 0
    assert (finished / "README.md").read_text().startswith("---\nlicense: mit\n")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "vqa-ray answer --input in.parquet --output runs/a-answers --model runs/a"),
        (
            {"input": "my photos/", "output": "s3://b/runs/a/", "question": "what is it?"},
            "vqa-ray answer --input 'my photos/' --output s3://b/runs/a-answers --model s3://b/runs/a/ "
            "--question 'what is it?'",
        ),
        (
            {"validation": "val.jsonl", "columns": {"question": "prompt", "answer": "said"}, "image_root": "i"},
            "vqa-ray answer --input val.jsonl --output runs/a-answers --model runs/a --column question=prompt "
            "--image-root i",
        ),
        ({"limit": 1200}, "vqa-ray answer --input in.parquet --output runs/a-answers --model runs/a --limit 1200"),
        (
            {"task": "contrastive", "columns": {"caption": "txt"}, "input_format": "webdataset"},
            "vqa-ray index --input in.parquet --output runs/a-index --model runs/a --input-format webdataset",
        ),
    ],
)
def test_the_next_command_runs_as_it_is(given: dict[str, object], told: str) -> None:
    spec = FinetuneSpec.model_validate({"input": "in.parquet", "output": "runs/a", "model": "scratch", **given})
    assert next_command(spec) == told
    assert shlex.split(told)[0] == "vqa-ray"


def test_a_base_of_the_hub_is_named_without_its_revision() -> None:
    from vqa_ray.jobs.finetune.summary import _hub_name

    assert _hub_name("dandelin/vilt-b32-mlm@a1b2") == "dandelin/vilt-b32-mlm"
    assert [_hub_name(name) for name in ("scratch", "bundled:catalog-vilt", "s3://b/m", "/a/b", ".")] == [None] * 5


def test_the_licence_of_the_base(hub: Hub, tmp_path: Path) -> None:
    from vqa_ray.models.checkpoint.readme import card_of

    hub.add("org/base", {"README.md": b"---\nlicense: mit\n---\n"})
    assert card_of("org/base@main", tmp_path) == "---\nlicense: mit\n---\n"
    assert card_of("org/none", tmp_path) is None
    hub.failures[""] = 503
    assert card_of("org/other", tmp_path) is None
    (tmp_path / "README.md").write_text("here")
    assert card_of("anything", tmp_path) == "here"
    assert card_of(f"file://{tmp_path}", tmp_path / "elsewhere") == "here"


def test_an_adapter_names_its_base_and_the_revision_apart(tmp_path: Path) -> None:
    from tests.helpers.tiny import SHAPE, tiny_model
    from vqa_ray.training.config import LoraConfig
    from vqa_ray.training.vqa.export import export
    from vqa_ray.training.vqa.lora import adapt

    model, tokenizer = tiny_model()
    adapted = adapt(model, LoraConfig(rank=2, base="org/name@v1"))
    export(str(tmp_path), adapted, tokenizer, SHAPE.transform, adapter=True)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (written["base_model_name_or_path"], written["revision"]) == ("org/name", "v1")
