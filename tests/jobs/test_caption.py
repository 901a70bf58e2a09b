"""`vqa-ray caption`, and what generative models add to `answer` and `tag`: contexts, boxes, ways of asking."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.helpers.coloured import NAMES, images_input, parquet_input, picture, table
from tests.helpers.tiny import save_tiny_vilt
from tests.helpers.tiny_chat import save_tiny_chat
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray import schema
from vqa_ray.jobs.runtime.summary import summary_lines
from vqa_ray.jobs.spec.images import CaptionSpec
from vqa_ray.runs.directory import RunDirectory

pytestmark = pytest.mark.usefixtures("local_ray")

TURNS = [{"question": "is it red?", "answer": "no"}, {"question": "why? " * 150, "answer": "because"}]


@pytest.fixture(scope="module")
def vilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vilt(tmp_path_factory.mktemp("vilt"))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_chat(tmp_path_factory.mktemp("qwen"), "qwen2_vl")


def test_rows_in_are_captioned_rows_out(tmp_path: Path) -> None:
    source, output = images_input(tmp_path / "in", 20), tmp_path / "out"
    assert run_here("caption", source, output) == 0
    captioned = rows(output)
    assert captioned.schema.equals(schema.CAPTION)
    assert captioned["caption"].to_pylist() == [f"a {NAMES[number % len(NAMES)]} picture" for number in range(20)]
    told = manifest(output)
    assert (told["rows"], told["ok"], told["images"], told["questions"], told["findings"]) == (20, 20, 20, 0, [])
    (part,) = output.glob("part-*.parquet")
    assert schema.metadata_of(pq.read_schema(part))["job"] == "caption"


def test_captions_go_on_from_the_prompt_and_keep_columns(tmp_path: Path) -> None:
    source, output = parquet_input(tmp_path / "in", 8), tmp_path / "out"
    assert run_here("caption", source, output, "--prompt", "a photo of a", "--keep", "colour") == 0
    captioned = rows(output)
    assert captioned.schema.names == [*schema.CAPTION.names, "colour"]
    assert captioned["caption"].to_pylist() == [
        f"a photo of a {each} picture" for each in captioned["colour"].to_pylist()
    ]
    assert run_here("caption", source, output, "--prompt", "a drawing of") == 2


def test_texts_that_are_cut_are_marked_and_counted(tmp_path: Path) -> None:
    source = images_input(tmp_path / "in", 6)
    assert run_here("caption", source, tmp_path / "cut", "--max-new-tokens", "2") == 0
    cut = rows(tmp_path / "cut")
    assert cut["finish_reason"].to_pylist() == ["length"] * 6
    assert set(cut["warning"].to_pylist()) == {"text cut at 2 tokens; --max-new-tokens allows more"}
    content = manifest(tmp_path / "cut")
    assert (content["cut_at_limit"], content["model"]["max_new_tokens"]) == (6, 2)
    assert "  6 captions were cut at 2 tokens; --max-new-tokens allows more" in summary_lines(content, "out")
    assert run_here("caption", source, tmp_path / "whole") == 0
    assert rows(tmp_path / "whole")["finish_reason"].to_pylist() == ["stop"] * 6
    content = manifest(tmp_path / "whole")
    assert (content["cut_at_limit"], content["model"]["max_new_tokens"]) == (0, 256)
    assert not any("cut" in line for line in summary_lines(content, "out"))


def test_failed_rows_are_told_and_captioned_again(tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out"
    lines = [{"row_id": number, "image_uri": f"images/{number}.jpg"} for number in range(12)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "images").mkdir()
    for number in range(12):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(b"no image" if number == 3 else picture(number))
    (tmp_path / "images" / "5.jpg").unlink()
    assert run_here("caption", source, output) == 3
    assert manifest(output)["errors"] == {"image_missing": 1, "image_undecodable": 1}
    before = rows(output).to_pylist()
    assert [row["caption"] is None for row in before] == [row["status"] == "error" for row in before]
    (tmp_path / "images" / "5.jpg").write_bytes(picture(5))
    assert run_here("caption", source, output, "--retry-failed", "image_missing") == 0
    after = rows(output).to_pylist()
    assert [row["row_id"] for row in after] == list(range(12))
    assert (after[5]["caption"], after[5]["attempt"]) == (f"a {NAMES[5 % len(NAMES)]} picture", 2)
    assert after[3]["error_code"] == "image_undecodable"


def test_a_deleted_part_is_captioned_again(tmp_path: Path) -> None:
    source, output = parquet_input(tmp_path / "in", 40), tmp_path / "out"
    small = ("--rows-per-file", "8", "--batch-size", "8")
    assert run_here("caption", source, output, *small) == 0
    layout = RunDirectory(str(output))
    Path(layout.part_files()[0].uri).unlink()
    Path(layout.manifest).unlink()
    assert run_here("caption", source, output, *small) == 0
    assert rows(output)["row_id"].to_pylist() == list(range(40))
    assert 0 < manifest(output)["timing"]["rows_here"] < 40


def test_a_question_may_be_about_several_images(tmp_path: Path, qwen: Path) -> None:
    pairs = [(0, 1), (1, 0), (2, 2), (0, 1)]
    given = [{"images": [picture(a), picture(b)], "question": "which is red?"} for a, b in pairs]
    given[2]["images"] = [picture(2), b"no image"]
    pq.write_table(pa.Table.from_pylist(given), tmp_path / "in.parquet")
    answer = ("answer", tmp_path / "in.parquet", tmp_path / "out", "--model", str(qwen), "--max-new-tokens", "4")
    assert run_here(*answer, "--max-error-fraction", "1") == 0
    answered = rows(tmp_path / "out").to_pylist()
    assert [row["status"] for row in answered] == ["ok", "ok", "error", "ok"]
    assert answered[2]["error_message"].startswith("image 2 of 2: not an image")
    assert answered[0]["answer"] == answered[3]["answer"]
    assert answered[0]["answer_score"] != answered[1]["answer_score"], "the order of the images matters"


def test_several_images_are_refused_by_models_and_jobs_of_one(
    tmp_path: Path, vilt: Path, qwen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"images": ["a.jpg", "b.jpg"], "question": "why?"}) + "\n")
    for job, model in (("answer", vilt), ("caption", qwen)):
        assert run_here(job, source, tmp_path / "out", "--model", str(model)) == 2
        told = f"vqa-ray {job}: {source}: column 'images' holds several images a row; only `answer` by a chat model"
        assert told in capsys.readouterr().err


def test_boxes_of_a_rotated_photo_are_in_its_upright_pixels(tmp_path: Path) -> None:
    """Red on white, 400 × 200 pixels as stored, turned by EXIF: red is below y=50 and left of x=180 when upright."""
    image = Image.new("RGB", (200, 400), "white")
    image.paste((220, 30, 30), (0, 50, 180, 400))
    exif = Image.Exif()
    exif[274] = 6
    buffer = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", exif=exif, quality=95)
    pq.write_table(pa.table({"image": [buffer.getvalue()], "question": ["what colour?"]}), tmp_path / "in.parquet")
    for job, told in (("caption", "a red picture"), ("answer", "red")):
        output = tmp_path / job
        assert run_here(job, tmp_path / "in.parquet", output, "--model", "fake:boxes") == 0
        (row,) = rows(output).to_pylist()
        assert row[job] == told
        (box,) = row["boxes"]
        assert box["label"] == "red"
        # 64 pixels for 400: each edge is within one of them.
        assert [box[edge] for edge in ("x0", "y0", "x1", "y1")] == pytest.approx([0, 50, 180, 400], abs=6.5)


def test_a_context_is_answered_after_and_its_oldest_turns_are_dropped(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    given = table(4).to_pylist()
    contexts = [None, TURNS[:1], [*TURNS, *TURNS[1:]], None]
    questions = ["is it big?"] * 4
    whole = [
        row | {"image": picture(0), "question": question, "context": context, "caption": "x"}
        for row, question, context in zip(given, questions, contexts, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(whole), source)
    assert run_here("answer", source, tmp_path / "out", "--keep", "context", "--keep", "caption") == 0
    answered = rows(tmp_path / "out").to_pylist()
    assert [row["warning"] for row in answered] == [None, None, "2 of 3 earlier turns left out", None]
    scores = [row["answer_score"] for row in answered]
    assert scores[0] == scores[3]
    assert len(set(scores)) == 3
    assert (answered[1]["context"], answered[1]["caption"]) == (TURNS[:1], "x")
    assert run_here("answer", source, tmp_path / "alone", "--ignore-context") == 0
    assert rows(tmp_path / "alone")["answer_score"].to_pylist() == [scores[0]] * 4


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_context_is_refused_by_a_model_of_closed_vocabulary(tmp_path: Path, vilt: Path, capsys, format: str) -> None:
    source = tmp_path / f"in.{format}"
    line = {"image_uri": "a.jpg", "question": "why?", "context": TURNS}
    if format == "parquet":
        pq.write_table(pa.Table.from_pylist([line]), source)
    else:
        source.write_text(json.dumps(line))
    assert run_here("answer", source, tmp_path / "out", "--model", str(vilt)) == 2
    assert capsys.readouterr().err == (
        f"vqa-ray answer: {source}: brings earlier turns in column 'context', and vilt ({vilt}) answers each question "
        "by itself; use a generative model, or --ignore-context\n"
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("caption",), "model {}: vilt does not caption; models that do are blip-2 (Blip2ForConditionalGeneration), "),
        (("answer", "--prompt-template", "lavis"), "--prompt-template: model {}: vilt: it takes no prompt"),
        (("tag", "--prompt-template", "lavis"), "--prompt-template: model {}: vilt: it takes no prompt"),
        (("answer", "--num-beams", "3"), "--num-beams: model {}: vilt chooses among the answers of its vocabulary"),
        (("answer", "--max-new-tokens", "3"), "--max-new-tokens: model {}: vilt chooses among"),
        (("answer", "--engine", "vllm"), "--engine vllm: model {}: vilt is not a chat model, which vLLM is for"),
        (("answer", "--num-gpus", "2"), "--num-gpus 2: model {}: vilt is never spread over several GPUs"),
    ],
)
def test_what_a_closed_vocabulary_cannot_do_is_refused(
    tmp_path: Path, vilt: Path, capsys, argv: tuple[str, ...], message: str
) -> None:
    command, *more = argv
    source = parquet_input(tmp_path / "in", 2)
    assert run_here(command, source, tmp_path / "out", "--model", str(vilt), *more) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"vqa-ray {command}: " + message.format(vilt))
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("command", "more", "message"),
    [
        ("answer", ("--prompt-template", "what?"), "prompt template 'what?': holds {} 0 times; wanted is a text that"),
        ("answer", ("--prompt-template", "{} {}"), "prompt template '{} {}': holds {} 2 times; wanted is a text that"),
        ("answer", ("--num-beams", "0"), "--num-beams: input should be greater than or equal to 1, given 0"),
        ("caption", ("--prompt", ""), "--prompt: is empty"),
        ("caption", ("--keep", "caption"), "under another name: --keep input_caption=caption"),
        ("caption", ("--question", "why?"), "no such option: --question"),
    ],
)
def test_wrong_requests(tmp_path: Path, capsys, command: str, more: tuple[str, ...], message: str) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(table(2).append_column("caption", pa.array(["x", "y"])), source)
    assert run_here(command, source, tmp_path / "out", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ways_of_asking_make_another_run(tmp_path: Path, capsys) -> None:
    source, output = parquet_input(tmp_path / "in", 4), tmp_path / "out"
    assert run_here("answer", source, output, "--prompt-template", "Q: {} A:") == 0
    assert json.loads((output / "_vqa_ray" / "run.json").read_text())["command"]["prompt_template"] == "Q: {} A:"
    assert run_here("answer", source, output) == 2
    assert "--prompt-template: Q: {} A: → not given" in capsys.readouterr().err
    plain = CaptionSpec.model_validate({"input": "i", "output": "o", "model": "fake:"}).command()
    assert not {"max_new_tokens", "num_beams"} & set(plain)


def test_a_bound_of_pixels_is_part_of_the_run(tmp_path: Path, qwen: Path, capsys) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "large.jpg").write_bytes(picture(0, (120, 90)))
    argv = ("--model", str(qwen), "--max-new-tokens", "4")
    assert run_here("caption", source, output, *argv, "--max-pixels", "784") == 0
    assert run_here("caption", source, tmp_path / "whole", *argv) == 0
    assert rows(output)["caption"].to_pylist() != rows(tmp_path / "whole")["caption"].to_pylist()
    assert run_here("caption", source, output, *argv) == 2
    assert "--max-pixels: 784 → not given" in capsys.readouterr().err
    assert run_here("caption", source, tmp_path / "no", "--max-pixels", "9") == 2
    assert "--max-pixels 9: model fake: its image processor decides the size" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "--engine vllm: vLLM is not installed here; install vqa-ray[vllm] on every node that has GPUs"),
        (("--num-beams", "2"), "--engine vllm: --num-beams 2: vLLM takes the likeliest token each time"),
        (("--engine-option", "max_model_len"), "--engine-option max_model_len: wanted KEY=VALUE"),
        (("--num-gpus", "1.5"), "--engine vllm: --num-gpus 1.5: an engine of vLLM needs whole GPUs"),
        (("--prompt-template", "lavis"), "--prompt-template: model {}: qwen2_vl: its chat template says how it is"),
    ],
)
def test_vllm_is_refused_in_one_line_where_it_cannot_work(
    tmp_path: Path, qwen: Path, capsys, more: tuple[str, ...], message: str
) -> None:
    source = parquet_input(tmp_path / "in", 2)
    argv = ("--model", str(qwen), "--engine", "vllm", *more)
    assert run_here("answer", source, tmp_path / "out", *argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("vqa-ray answer: " + message.format(qwen))
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()
