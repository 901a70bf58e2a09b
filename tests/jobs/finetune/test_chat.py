"""`finetune --task chat` as its users run it: what it learns, writes and refuses, and how it goes on after a kill."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.coloured_talks import QUESTION, ROWS, conversations
from tests.helpers.tiny_chat import save_tiny_chat
from tests.helpers.tiny_chat_text import CHATML_TEMPLATE
from tests.jobs.commands import manifest
from tests.jobs.finetune.test_command import kill_when_checkpointed, last_report, losses
from vqa_ray.jobs.cli import main
from vqa_ray.training.peft_models import older_names


def arguments(source: Path, output: Path | str, model: Path, *more: str) -> list[str]:
    """A small training."""
    asked = ["finetune", "--task", "chat", "--input", f"{source}/*.jsonl", "--output", str(output)]
    asked += ["--model", str(model), "--dtype", "float32", "--quiet"]
    usual = {
        "--batch-size": "12",
        "--learning-rate": "5e-3",
        "--validation-fraction": "0.2",
        "--epochs": "3",
        "--max-new-tokens": "8",
    }
    return [*asked, *(word for pair in usual.items() if pair[0] not in more for word in pair), *more]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2-VL that knows nothing."""
    return save_tiny_chat(tmp_path_factory.mktemp("chat") / "qwen", "qwen2_vl")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all of these train on."""
    return conversations(tmp_path_factory.mktemp("chat") / "in", broken=[4, 13])


@pytest.fixture(scope="module")
def trained(source: Path, model: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Path:
    """A training of three epochs that nothing happened to."""
    output = tmp_path_factory.mktemp("chat") / "out"
    assert main(arguments(source, output, model)) == 0
    return output


@pytest.mark.timeout(400)
class TestOneTraining:
    def test_learns_and_counts_what_it_cannot_use(self, trained: Path) -> None:
        content = manifest(trained)
        assert content["task"] == "chat"
        assert content["metric"] == "vqa-accuracy"
        assert losses(trained)[-1] < 0.7 * losses(trained)[0]
        unusable = [entry for entry in content["skipped"] if entry["reason"] == "image_undecodable"]
        assert sum(entry["rows"] for entry in unusable if entry["where"] != "training, all epochs") in (0, 1, 2)
        assert unusable
        validated = pq.read_table(trained / "validation.parquet").to_pylist()
        assert len(validated) == content["validation_rows"]
        judged = [row["accuracy"] for row in validated if row["accuracy"] is not None]
        assert content["accuracy"] == pytest.approx(sum(judged) / len(judged))

    def test_the_whole_model_is_base_and_adapter(self, trained: Path, model: Path) -> None:
        from peft import PeftModel
        from transformers import AutoModelForImageTextToText

        before, after = load_file(model / "model.safetensors"), load_file(trained / "model.safetensors")
        assert before.keys() == after.keys()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed
        assert not any("visual" in name for name in changed)
        base = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32)
        with older_names():
            added = PeftModel.from_pretrained(base, trained / "lora").merge_and_unload()
        whole, report = AutoModelForImageTextToText.from_pretrained(trained, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        for (name, one), two in zip(added.named_parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(one, two, atol=1e-4, rtol=0, msg=name)

    def test_the_directory_holds_all_that_came_with_the_checkpoint(self, trained: Path, model: Path) -> None:
        for file in ("tokenizer.json", "preprocessor_config.json", "chat_template.json", "generation_config.json"):
            assert (trained / file).read_bytes() == (model / file).read_bytes()
        assert json.loads((trained / "config.json").read_text())["dtype"] == "float32"

    def test_answers_as_in_validation_whole_and_as_adapter(
        self, source: Path, trained: Path, model: Path, tmp_path: Path
    ) -> None:
        asked = [f"{number}.jpg" for number in range(ROWS) if number % 8 not in (3, 7) and number not in (4, 13)]
        rows = pa.table({"image_uri": asked, "question": [QUESTION] * len(asked)})
        pq.write_table(rows, tmp_path / "questions.parquet")
        given: list[list[str]] = []
        for name, which in (("whole", [str(trained)]), ("added", [str(model), "--lora", str(trained / "lora")])):
            argv = ["answer", "--input", str(tmp_path / "questions.parquet"), "--output", str(tmp_path / name)]
            argv += [
                "--image-root",
                str(source),
                "--dtype",
                "float32",
                "--max-new-tokens",
                "8",
                "--quiet",
                "--model",
                *which,
            ]
            assert main(argv) == 0
            found = pq.read_table(tmp_path / name).sort_by("image_uri")
            assert set(found["status"].to_pylist()) == {"ok"}
            given.append(found["answer"].to_pylist())
        assert given[0] == given[1]

    def test_leaves_report_card_and_metrics(self, trained: Path) -> None:
        page = (trained / "training.html").read_text()
        assert "validation vqa-accuracy" in page
        assert "Loss per answer token" in page
        card = (trained / "README.md").read_text()
        assert "pipeline_tag: image-text-to-text" in card
        assert "Qwen2VLForConditionalGeneration" in card
        assert "baseline: always" in card
        assert r"image\_undecodable" in card


@pytest.mark.timeout(600)
def test_killed_training_has_the_same_weights(
    source: Path, model: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    argv = arguments(source, output, model, "--checkpoint-every", "2")
    code, told = kill_when_checkpointed(argv, output, "driver")
    assert code == -signal.SIGKILL, told
    # This process has nothing of the killed one.
    assert main(argv) == 0
    assert capfd.readouterr().err == (
        "  training, all epochs: 3 rows left out: image_undecodable\n  validation: 1 row left out: image_undecodable\n"
    )
    assert last_report(output)["begun_at"] >= 2
    one, two = load_file(trained / "model.safetensors"), load_file(output / "model.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in one)


class TestWrongRequests:
    """Each ends before any work, with one line."""

    @pytest.mark.parametrize(
        ("more", "told"),
        [
            (["--model", "scratch"], "--task chat needs a trained model to start from, not scratch"),
            (["--vocabulary", "a.txt"], "--vocabulary is for --task vqa; a chat model writes its answers"),
            (["--auxiliary", "colour"], "--auxiliary is for --task vqa or --task contrastive; a chat model"),
            (["--augment", "randaug"], "--augment is for --task vqa or --task contrastive"),
            (["--full", "--lora-rank", "4"], "--lora-rank is for adapters; --full trains the weights themselves"),
            (["--projector-learning-rate", "1e-3"], "--projector-learning-rate needs --train-projector"),
            (["--model", "bundled:catalog-vilt"], "cannot be trained with --task chat: vilt is none of blip-2, "),
            (["--max-pixels", "9"], "--max-pixels 9: model"),
            (["--metric", "bleu"], "--metric"),
        ],
    )
    def test_of_chat(
        self, more: list[str], told: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        conversations(tmp_path / "in", rows=4)
        given = dict(zip(more[::2], more[1::2], strict=False)).get("--model", model)
        more = [word for word in more if "--model" not in more]
        assert main(arguments(tmp_path / "in", tmp_path / "out", Path(given), *more)) == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("option", ["--full", "--train-projector", "--gradient-checkpointing"])
    def test_of_other_tasks(
        self, option: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = ["finetune", "--input", str(source), "--output", str(tmp_path / "out"), "--model", "scratch", option]
        assert main(argv) == 2
        assert f"{option} is for --task chat" in capsys.readouterr().err

    def test_a_template_that_cannot_be_split(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(model, tmp_path / "odd")
        template = CHATML_TEMPLATE.replace("<|im_start|>assistant", "<|im_start|>robot")
        (tmp_path / "odd" / "chat_template.json").write_text(json.dumps({"chat_template": template}))
        source = conversations(tmp_path / "in", rows=4)
        assert main(arguments(source, tmp_path / "out", tmp_path / "odd")) == 2
        assert "cannot be split for training" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_an_adapter_is_no_model_to_start_from(
        self, source: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from tests.helpers.tiny_adapter import save_adapter

        adapter = save_adapter(tmp_path / "adapter", model)
        assert main(arguments(source, tmp_path / "out", adapter)) == 2
        assert "is a LoRA adapter; train from its base model" in capsys.readouterr().err
