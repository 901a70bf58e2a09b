"""`finetune --task contrastive` as its users run it: alone and together, killed and run again, and what it leaves."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, picture, table
from tests.jobs.commands import finish, manifest
from tests.jobs.finetune.test_command import colour_of, kill_when_checkpointed, last_report, losses
from vqa_ray.jobs.cli import main

ROWS, SHARDS = 96, 2
EXACT = ("--dtype", "float32")
SHAPE = (
    "hidden_size=32 layers=1 heads=2 intermediate_size=64 patch_size=16 image_size=32 text_hidden_size=32 "
    "text_layers=1 text_heads=2 max_text_tokens=16 projection_size=16"
)
TINY = tuple(word for part in SHAPE.split() for word in ("--shape", part))
COLOURS = ("--auxiliary", "colour", "--head-multiplier", "1")
WORDINGS = ("a {} picture", "{}", "something {}")


def training_input(directory: Path, *, silent: Sequence[int] = (), column: str = "caption") -> Path:
    """Pictures of one colour with captions that name it; some rows have none that says anything."""
    directory.mkdir(parents=True)
    for shard in range(SHARDS):
        rows = table(ROWS // SHARDS, first=shard * ROWS // SHARDS).drop_columns(["question"])
        captions = [
            ["", None] if row_id in silent else [wording.format(colour_of(row_id)) for wording in WORDINGS]
            for row_id in rows["row_id"].to_pylist()
        ]
        pq.write_table(rows.append_column(column, pa.array(captions)), directory / f"{shard}.parquet")
    return directory


def arguments(source: Path, output: Path | str, *more: str) -> list[str]:
    """A small training of 8 steps an epoch, from scratch with an auxiliary head."""
    asked = ["finetune", "--task", "contrastive", "--input", str(source), "--output", str(output), *EXACT, "--quiet"]
    model = () if "--model" in more else ("--model", "scratch", *TINY, *COLOURS)
    sizes = ["--batch-size", "10", "--learning-rate", "3e-3", "--validation-fraction", "0.2"]
    # What is given once more takes the place of what is usual here.
    usual = [word for at in range(0, len(sizes), 2) if sizes[at] not in more for word in sizes[at : at + 2]]
    return [*asked, *usual, *model, *more]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all of these train on."""
    return training_input(tmp_path_factory.mktemp("pairs") / "in")


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Path:
    """A training of three epochs on one worker, that nothing happened to."""
    output = tmp_path_factory.mktemp("pairs") / "out"
    assert main(arguments(source, output, "--epochs", "3")) == 0
    return output


@pytest.mark.timeout(400)
class TestOneTraining:
    def test_exports_what_transformers_loads(self, undisturbed: Path) -> None:
        from transformers import AutoTokenizer, CLIPModel, CLIPProcessor

        model, report = CLIPModel.from_pretrained(undisturbed, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        processor = CLIPProcessor.from_pretrained(undisturbed, backend="pil")
        assert processor.image_processor.size == {"height": 32, "width": 32}
        assert len(AutoTokenizer.from_pretrained(undisturbed)) == model.config.text_config.vocab_size

    def test_exports_an_encoder_that_finds_what_was_told(self, undisturbed: Path) -> None:
        from vqa_ray.images.decoder import ImageLimits
        from vqa_ray.images.sized import decode_sized
        from vqa_ray.models.load import ModelOptions

        options = ModelOptions(str(undisturbed), dtype="float32")
        encoder, transform = options.load_encoder(), options.checkpoint.transform
        images = [decode_sized(picture(number), ImageLimits(), transform, fast=False).pixels for number in range(4)]
        scores = encoder.encode_texts([f"a {name} picture" for name in NAMES]) @ encoder.encode_images(images).T
        assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]

    def test_learns_and_tells_recall(self, undisturbed: Path) -> None:
        content = manifest(undisturbed)
        assert content["task"] == "contrastive"
        assert content["steps"] == 24
        assert len(content["accuracy_by_type"]) == 6
        assert content["accuracy_by_type"]["text_to_image@10"] == 1.0
        assert content["accuracy"] == pytest.approx(np.mean(list(content["accuracy_by_type"].values())))
        assert losses(undisturbed)[-1] < 0.5 * losses(undisturbed)[0]

    def test_leaves_report_card_and_metrics(self, undisturbed: Path) -> None:
        page = (undisturbed / "training.html").read_text()
        assert "validation mean recall" in page
        assert "text_to_image@10" in page
        assert "answer" not in page
        card = (undisturbed / "README.md").read_text()
        assert "pipeline_tag: zero-shot-image-classification" in card
        assert "CLIPModel.from_pretrained" in card
        validated = pq.read_table(undisturbed / "validation.parquet").to_pylist()
        assert len(validated) == manifest(undisturbed)["validation_rows"] == 19
        for row in validated:
            assert row["captions"][0] == f"a {colour_of(row['row_id'])} picture"
            assert len(row["text_to_image_ranks"]) == 3
        ranks = [row["image_to_text_rank"] for row in validated]
        recall = manifest(undisturbed)["accuracy_by_type"]["image_to_text@1"]
        assert sum(rank < 1 for rank in ranks) / len(ranks) == pytest.approx(recall)

    def test_goes_on_from_what_it_made(self, source: Path, undisturbed: Path, tmp_path: Path) -> None:
        more = ("--model", str(undisturbed), "--epochs", "1", "--learning-rate", "1e-4", "--augment", "geometric")
        assert main(arguments(source, tmp_path / "out", *more)) == 0
        # It begins where the first training ended.
        assert losses(tmp_path / "out")[0] < 0.7 * losses(undisturbed)[0]
        assert json.loads((tmp_path / "out" / "_vqa_ray" / "run.json").read_text())["model"]["family"] == "clip"


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("local_ray")
def test_two_workers_come_to_the_same_as_one(source: Path, undisturbed: Path, tmp_path: Path) -> None:
    assert main(arguments(source, tmp_path / "out", "--epochs", "3", "--num-workers", "2")) == 0
    assert losses(tmp_path / "out") == pytest.approx(losses(undisturbed), rel=1e-3)
    assert (last_report(undisturbed)["workers"], last_report(tmp_path / "out")["workers"]) == (1, 2)


# How a training goes on after a kill is tested with answers on every run; here, that the other trainer does too.
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_killed_training_comes_to_the_same(source: Path, undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    argv = arguments(source, output, "--epochs", "3", "--checkpoint-every", "2")
    code, told = kill_when_checkpointed(argv, output, "driver")
    assert code == -signal.SIGKILL, told
    assert not (output / "config.json").exists()
    assert finish(argv) == (0, "")
    assert losses(output) == pytest.approx(losses(undisturbed), rel=1e-3)
    assert manifest(output)["accuracy"] == pytest.approx(manifest(undisturbed)["accuracy"])
    assert last_report(output)["begun_at"] >= 2


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("local_ray")
def test_rows_without_a_caption_are_counted_and_told(tmp_path: Path) -> None:
    source = training_input(tmp_path / "in", silent=range(0, 40, 4), column="said")
    assert main(arguments(source, tmp_path / "out", "--epochs", "1", "--column", "caption=said")) == 0
    content = manifest(tmp_path / "out")
    assert {entry["reason"] for entry in content["skipped"]} == {"no_caption"}
    assert sum(entry["rows"] for entry in content["skipped"]) == 10
    by_place = {entry["where"]: entry["rows"] for entry in content["skipped"]}
    metrics = pq.read_table(tmp_path / "out" / "metrics.parquet")
    assert pc.sum(metrics["samples"]).as_py() == content["rows"]
    assert content["rows"] + content["validation_rows"] + by_place["training"] == ROWS
    assert r"no\_caption" in (tmp_path / "out" / "README.md").read_text()


class TestWrongRequests:
    """Each ends before any work, with one line."""

    @pytest.mark.parametrize(
        ("more", "told"),
        [
            (["--column", "caption=said"], "no column 'said' with captions"),
            (["--shape", "shortest_edge=32"], "--shape shortest_edge=32: wanted NAME=N"),
            (["--truth", "caption"], "--truth is for --task vqa"),
            (["--lora"], "--lora is for --task vqa"),
            (["--model", "bundled:catalog-vilt"], "'vilt', ViltForQuestionAnswering; wanted a CLIPModel"),
        ],
    )
    def test_end_with_one_line(self, source: Path, tmp_path: Path, capsys, more: list[str], told: str) -> None:
        assert main(arguments(source, tmp_path / "out", *more)) == 2
        line = capsys.readouterr().err
        assert told in line
        assert line.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_a_clip_where_answers_are_learnt(self, source: Path, undisturbed: Path, tmp_path: Path, capsys) -> None:
        rows = table(8).append_column("answer", pa.array(["red"] * 8))
        pq.write_table(rows, tmp_path / "rows.parquet")
        argv = ["finetune", "--input", str(tmp_path / "rows.parquet"), "--output", str(tmp_path / "out")]
        assert main([*argv, "--model", str(undisturbed)]) == 2
        line = capsys.readouterr().err
        assert str(undisturbed) in line
        assert "--task vqa: config.json says 'clip', CLIPModel; wanted a ViLT" in line

    def test_an_input_without_captions(self, tmp_path: Path, capsys) -> None:
        pq.write_table(table(8), tmp_path / "rows.parquet")
        assert main(arguments(tmp_path / "rows.parquet", tmp_path / "out")) == 2
        assert "no column 'caption' with captions" in capsys.readouterr().err

    def test_captions_that_are_no_text(self, tmp_path: Path, capsys) -> None:
        pq.write_table(table(8).append_column("caption", pa.array(range(8))), tmp_path / "rows.parquet")
        assert main(arguments(tmp_path / "rows.parquet", tmp_path / "out")) == 2
        assert "column 'caption' is int64; wanted is string, or list<string>" in capsys.readouterr().err

    @pytest.mark.usefixtures("local_ray")
    def test_captions_that_are_all_empty(self, tmp_path: Path, capsys) -> None:
        rows = table(40).append_column("caption", pa.array([" "] * 40))
        pq.write_table(rows, tmp_path / "rows.parquet")
        assert main(arguments(tmp_path / "rows.parquet", tmp_path / "out", "--validation-fraction", "0")) == 2
        assert "none of the 40 rows to train on has a caption" in capsys.readouterr().err
