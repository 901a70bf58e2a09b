"""`finetune` as its users run it: on one worker or two, killed and run again, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import table
from tests.jobs.commands import DEADLINE_S, manifest, started
from vqa_ray.jobs.cli import main

ROWS, SHARDS = 288, 3
# No dropout and no augmentation: runs that differ only in how they went are then equal but for rounding.
EXACT = ("--dropout", "0", "--augment", "none", "--dtype", "float32")
SHAPE = "hidden_size=32 layers=2 heads=2 intermediate_size=64 patch_size=8 shortest_edge=32"
TINY = tuple(word for part in SHAPE.split() for word in ("--shape", part))


def training_input(directory: Path, *, broken: Sequence[int] = ()) -> Path:
    """Pictures of one colour, with that colour as the answer; some of them no pictures."""
    directory.mkdir(parents=True)
    for shard in range(SHARDS):
        rows = table(ROWS // SHARDS, first=shard * ROWS // SHARDS)
        images = [
            b"not a picture" if row_id in broken else image
            for row_id, image in zip(rows["row_id"].to_pylist(), rows["image"].to_pylist(), strict=True)
        ]
        rows = rows.set_column(rows.schema.get_field_index("image"), "image", pa.array(images))
        pq.write_table(rows.append_column("answer", rows["colour"]), directory / f"{shard}.parquet")
    return directory


def arguments(source: Path, output: Path | str, *more: str) -> list[str]:
    """A small training from scratch, of 23 steps an epoch."""
    asked = ["finetune", "--input", str(source), "--output", str(output), "--model", "scratch", *TINY, *EXACT]
    sizes = ["--batch-size", "10", "--learning-rate", "1e-2", "--head-multiplier", "1", "--validation-fraction", "0.2"]
    # What is given once more takes the place of what is usual here.
    usual = [word for at in range(0, len(sizes), 2) if sizes[at] not in more for word in sizes[at : at + 2]]
    if "--model" in more:
        asked.remove("--model")
        asked.remove("scratch")
    return [*asked, *usual, "--quiet", *more]


def losses(output: Path) -> list[float]:
    """The loss of each step."""
    metrics = pq.read_table(output / "metrics.parquet")
    train = metrics.filter(pc.equal(metrics["kind"], "train"))
    assert train["step"].to_pylist() == list(range(1, train.num_rows + 1))
    return list(train["loss"].to_pylist())


def last_report(output: Path) -> dict[str, int]:
    """What the training process told with its last checkpoint."""
    snapshot = output / "_vqa_ray" / "training" / "checkpoints" / "train" / "checkpoint_manager_snapshot.json"
    told: dict[str, int] = json.loads(snapshot.read_text())["checkpoint_results"][-1]["metrics"]
    return told


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all of these train on."""
    return training_input(tmp_path_factory.mktemp("finetune") / "in")


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Path:
    """A training of three epochs on one worker, that nothing happened to."""
    output = tmp_path_factory.mktemp("finetune") / "out"
    assert main(arguments(source, output, "--epochs", "3")) == 0
    return output


def kill_when_checkpointed(argv: Sequence[str], output: Path, whom: str) -> tuple[int | None, str]:
    """Start a command, and kill its driver or a training process as soon as Ray Train knows of a checkpoint."""
    snapshot = output / "_vqa_ray" / "training" / "checkpoints" / "train" / "checkpoint_manager_snapshot.json"
    with started(*argv) as process:
        deadline, pause = time.monotonic() + DEADLINE_S, time.sleep
        while not (snapshot.exists() and '"begun_at"' in snapshot.read_text()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            pause(0.01)
        os.kill(process.pid if whom == "driver" else worker_of(process.pid), signal.SIGKILL)
        _, told = process.communicate(timeout=DEADLINE_S)
        return process.returncode, told


def worker_of(driver: int) -> int:
    """The training process of a driver's own Ray."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        process = int(command.parent.name)
        try:
            if b"RayTrainWorker" in command.read_bytes() and driver in ancestors(process):
                return process
        except OSError:
            continue
    raise AssertionError(f"process {driver} has no training process")


def ancestors(process: int) -> list[int]:
    """The process that started it, the one that started that, and so on."""
    found = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(process)
    return found


@pytest.mark.timeout(400)
class TestOneTraining:
    def test_exports_what_transformers_loads(self, undisturbed: Path) -> None:
        from transformers import ViltForQuestionAnswering, ViltProcessor

        model, report = ViltForQuestionAnswering.from_pretrained(undisturbed, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert set(model.config.id2label.values()) == {"red", "green", "blue", "black"}
        processor = ViltProcessor.from_pretrained(undisturbed, backend="pil")
        assert processor.tokenizer("what colour is it?")["input_ids"]

    def test_learns(self, undisturbed: Path) -> None:
        content = manifest(undisturbed)
        assert content["accuracy"] > 0.9
        assert content["steps"] == 69
        interval, baseline = content["judgement"]
        assert interval.endswith("over 58 rows; 58 rows say little")
        assert baseline.startswith("baseline: always '")
        for report in ("training.html", "README.md"):
            assert "baseline: always" in (undisturbed / report).read_text()
        assert losses(undisturbed)[-1] < losses(undisturbed)[0] / 4

    def test_answers_with_the_very_scores_of_the_validation(
        self, source: Path, undisturbed: Path, tmp_path: Path
    ) -> None:
        argv = ["answer", "--input", str(source), "--output", str(tmp_path / "out"), "--model", str(undisturbed)]
        assert main([*argv, "--quiet", "--dtype", "float32"]) == 0
        answered = pq.read_table(tmp_path / "out").to_pylist()
        by_key = {row["source_key"]: (row["answer"], row["answer_score"]) for row in answered}
        validated = pq.read_table(undisturbed / "validation.parquet").to_pylist()
        assert len(validated) == manifest(undisturbed)["validation_rows"] == 58
        for row in validated:
            answer, score = by_key[row["source_key"]]
            assert answer == row["answer"]
            assert score == pytest.approx(row["answer_score"], abs=1e-5)
        right = [row["answer"] == colour_of(row["row_id"]) for row in validated]
        assert sum(right) / len(right) == pytest.approx(manifest(undisturbed)["accuracy"])

    def test_leaves_report_card_and_metrics(self, undisturbed: Path) -> None:
        page = (undisturbed / "training.html").read_text()
        assert "green" in page
        # Nothing is loaded from elsewhere.
        assert "://" not in page.replace("http://www.w3.org", "")
        card = (undisturbed / "README.md").read_text()
        assert card.startswith("---\n")
        assert "pipeline_tag: visual-question-answering" in card
        metrics = pq.read_table(undisturbed / "metrics.parquet")
        validations = metrics.filter(pc.equal(metrics["kind"], "validation"))
        assert validations["step"].to_pylist() == [23, 46, 69]
        assert set(validations["rows"].to_pylist()) == {58}

    def test_is_not_trained_again(self, source: Path, undisturbed: Path, capsys, monkeypatch) -> None:
        before = (undisturbed / "_vqa_ray" / "manifest.json").read_bytes()
        monkeypatch.setattr("vqa_ray.jobs.finetune.command.execute", None)
        assert main([*arguments(source, undisturbed, "--epochs", "3"), "--log-format", "json"]) == 0
        assert (undisturbed / "_vqa_ray" / "manifest.json").read_bytes() == before
        assert main(arguments(source, undisturbed, "--epochs", "4")) == 2
        assert "epochs: 3 → 4" in capsys.readouterr().err


def colour_of(row_id: int) -> str:
    """The colour of `tests.helpers.coloured.picture`."""
    from tests.helpers.coloured import NAMES

    return NAMES[row_id % len(NAMES)]


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("local_ray")
def test_two_workers_come_to_the_same_as_one(source: Path, undisturbed: Path, tmp_path: Path) -> None:
    assert main(arguments(source, tmp_path / "out", "--epochs", "3", "--num-workers", "2")) == 0
    alone, together = losses(undisturbed), losses(tmp_path / "out")
    assert len(together) == len(alone)
    # Rounding differs, and grows from step to step.
    assert together[:20] == pytest.approx(alone[:20], rel=1e-3)
    assert manifest(tmp_path / "out")["validation_rows"] == 58
    assert (last_report(undisturbed)["workers"], last_report(tmp_path / "out")["workers"]) == (1, 2)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("whom", ["worker", "driver"])
def test_killed_training_comes_to_the_same(
    whom: str, source: Path, undisturbed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    argv = arguments(source, output, "--epochs", "3", "--checkpoint-every", "4", "--max-failures", "1")
    code, told = kill_when_checkpointed(argv, output, whom)
    assert code == (0 if whom == "worker" else -signal.SIGKILL), told
    if whom == "driver":
        assert not (output / "config.json").exists()
        # This process has nothing of the killed one.
        assert main(argv) == 0
        assert capfd.readouterr().err == ""
    assert losses(output)[-1] == pytest.approx(losses(undisturbed)[-1], rel=1e-3)
    assert manifest(output)["accuracy"] == manifest(undisturbed)["accuracy"]
    last = last_report(output)
    assert last["step"] == 69
    # The second process went on where the last checkpoint of the first was, and made no step twice.
    assert last["begun_at"] >= 4
    kept = list((output / "_vqa_ray" / "training" / "checkpoints" / "train").glob("checkpoint_2*"))
    # Of 18 the last two, and those that were being made when the process died.
    assert 2 <= len(kept) <= 5


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("local_ray")
def test_rows_without_a_picture_are_counted_and_told(tmp_path: Path, capsys, monkeypatch) -> None:
    training_input(tmp_path / "in", broken=range(0, 40, 4))
    # Relative paths, which mean something else to the processes that train.
    monkeypatch.chdir(tmp_path)
    assert main(arguments(Path("in"), Path("out"), "--epochs", "1")) == 0
    content = manifest(tmp_path / "out")
    by_place = {entry["where"]: entry for entry in content["skipped"]}
    assert sum(entry["rows"] for entry in content["skipped"]) == 10
    assert {entry["reason"] for entry in content["skipped"]} == {"image_undecodable"}
    metrics = pq.read_table(tmp_path / "out" / "metrics.parquet")
    trained = pc.sum(metrics["samples"]).as_py()
    assert trained == content["rows"] - by_place["training, all epochs"]["rows"]
    assert r"image\_undecodable" in (tmp_path / "out" / "README.md").read_text()
    capsys.readouterr()


class TestWrongRequests:
    """Each ends before any work, with one line."""

    @pytest.mark.parametrize(
        ("more", "told"),
        [
            (["--truth", "colours"], "no column 'colours'"),
            (["--batch-size", "1", "--num-workers", "2"], "fewer rows per step than --num-workers 2"),
            (["--shape", "width=3"], "--shape width=3: wanted NAME=N"),
            (["--lora"], "lora needs a trained model"),
            (["--push-to-hub", "a b"], "not a name for a hub"),
            (["--vocabulary", "nowhere.txt"], "nowhere.txt"),
            (["--model", "bundled:catalog-vilt"], "--shape is for --model scratch only"),
        ],
    )
    def test_end_with_one_line(self, source: Path, tmp_path: Path, capsys, more: list[str], told: str) -> None:
        assert main(arguments(source, tmp_path / "out", *more)) == 2
        line = capsys.readouterr().err
        assert told in line
        assert line.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_an_input_without_answers(self, tmp_path: Path, capsys) -> None:
        pq.write_table(table(8), tmp_path / "rows.parquet")
        assert main(arguments(tmp_path / "rows.parquet", tmp_path / "out")) == 2
        assert "no column with right answers" in capsys.readouterr().err

    @pytest.mark.usefixtures("local_ray")
    def test_one_answer_only(self, tmp_path: Path, capsys) -> None:
        rows = table(40).append_column("answer", pa.array(["red"] * 40))
        pq.write_table(rows, tmp_path / "rows.parquet")
        assert main(arguments(tmp_path / "rows.parquet", tmp_path / "out")) == 2
        assert "only one answer to learn, 'red'" in capsys.readouterr().err
        assert json.loads((tmp_path / "out" / "_vqa_ray" / "run.json").read_text())["job"] == "finetune"


def test_a_training_begun_with_the_former_default_goes_on_with_it(tmp_path: Path) -> None:
    from vqa_ray.jobs.finetune.request import as_begun
    from vqa_ray.jobs.finetune.spec import FinetuneSpec
    from vqa_ray.runs.record import RunRecord

    spec = FinetuneSpec(input="in", output=str(tmp_path), model="scratch")
    assert as_begun(spec).min_answer_count is None
    command = {**spec.command(), "min_answer_count": 9}
    record = RunRecord("a", "finetune", "2026-11-01T00:00:00Z", command, {}, {}, {})
    (tmp_path / "_vqa_ray").mkdir()
    record.write(str(tmp_path / "_vqa_ray" / "run.json"))
    assert as_begun(spec).min_answer_count == 9
    assert as_begun(spec.model_copy(update={"min_answer_count": 2})).min_answer_count == 2
