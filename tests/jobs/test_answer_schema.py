"""`vqa-ray answer --schema`: typed columns, whatever fills them, and what is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pyarrow as pa
import pytest

from tests.helpers.pictures import photo
from tests.helpers.tiny_chat import save_chat, tiny_chat
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.errors import RequestError
from vqa_ray.jobs.answer.objects import check_model
from vqa_ray.jobs.cli import main
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.structured.parse import parse_schema
from vqa_ray.taxonomy.file import load_taxonomy

CLOSED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "blue"], "description": "what colour is it?"},
        "new": {"type": "boolean"},
        "labels": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1},
        "size": {"type": "object", "properties": {"unit": {"enum": ["cm", "in"]}}, "required": ["unit"]},
    },
    "required": ["colour", "new", "labels", "size"],
}
OPEN: dict[str, Any] = {
    "type": "object",
    "properties": {**CLOSED["properties"], "pieces": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["colour", "new", "pieces"],
}


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2-VL with room for a long prompt."""
    model, processor = tiny_chat("qwen2_vl")
    model.config.text_config.max_position_embeddings = 2048
    return save_chat(tmp_path_factory.mktemp("qwen"), model, processor)


def write_pictures(directory: Path) -> Path:
    directory.mkdir()
    for number in range(3):
        photo(56, 56, number).save(directory / f"{number}.png")
    return directory


def write_schema(directory: Path, document: object = CLOSED) -> str:
    file = directory / "schema.json"
    file.write_text(json.dumps(document))
    return str(file)


@pytest.mark.usefixtures("local_ray")
def test_a_model_that_scores_fills_closed_fields(tmp_path: Path) -> None:
    source, output = write_pictures(tmp_path / "in"), tmp_path / "out"
    assert run_here("answer", source, output, "--schema", write_schema(tmp_path)) == 0
    found = duckdb.sql(f"select colour, colour_score, size.unit, size_score.unit, labels[1] from '{output}/*.parquet'")
    assert len(found) > 1
    assert {colour for colour, *_ in found.fetchall()} <= {"red", "blue"}
    table = rows(output)
    assert table.schema.field("labels_score").type == pa.list_(pa.float32())
    for text in table["object_json"].to_pylist():
        jsonschema.validate(json.loads(text), CLOSED)
    assert manifest(output)["job"] == "fill"
    # The same command finds it finished; another schema is another run.
    assert run_here("answer", source, output, "--schema", write_schema(tmp_path)) == 0
    assert run_here("answer", source, output, "--schema", write_schema(tmp_path, OPEN)) == 2


@pytest.mark.usefixtures("local_ray")
def test_a_model_that_writes_is_held_to_the_schema_and_cut_objects_are_answered_again(
    tmp_path: Path, qwen: Path
) -> None:
    source, output = write_pictures(tmp_path / "in"), tmp_path / "out"
    options = ("--model", str(qwen), "--schema", write_schema(tmp_path, OPEN), "--num-actors", "1")
    assert run_here("answer", source, tmp_path / "cut", *options, "--max-new-tokens", "20") == 3
    cut = rows(tmp_path / "cut")
    assert set(cut["error_code"].to_pylist()) == {"schema_unfinished"}
    assert set(cut["finish_reason"].to_pylist()) == {"length"}
    assert all(text.startswith('{"colour":"') for text in cut["object_json"].to_pylist())
    assert cut["colour"].null_count == cut.num_rows

    assert run_here("answer", source, output, *options) == 0
    table = rows(output)
    for row in table.to_pylist():
        jsonschema.validate(json.loads(row["object_json"]), OPEN)
        assert 0 < row["colour_score"] <= 1
        assert 0 < row["pieces_score"] <= 1
    assert run_here("answer", source, output, *options, "--retry-failed", "schema_unfinished") == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--layout", "nested"), "vqa-ray answer: --layout: does not go with --schema"),
        (("--num-beams", "4"), "vqa-ray answer: --num-beams: does not go with --schema"),
        (
            ("--question", "a?", "--question", "b?"),
            "vqa-ray answer: --question: with --schema, one text at most is wanted: the words that ask for the object",
        ),
        (
            ("--question", "a?"),
            "vqa-ray answer: --question: model fake is asked by the fields of --schema; describe them there",
        ),
        (
            ("--keep", "colour"),
            "vqa-ray answer: --keep colour: the output has a column 'colour' of its own; keep yours under another "
            "name: --keep input_colour=colour",
        ),
    ],
)
def test_what_does_not_go_with_a_schema_is_refused(
    more: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("image_uri,colour\na.png,red\n")
    options = ("--schema", write_schema(tmp_path), *more)
    assert run_here("answer", tmp_path / "in.csv", tmp_path / "out", *options) == 2
    assert capsys.readouterr().err.strip() == message
    assert not (tmp_path / "out").exists()


def test_what_the_tokenizer_cannot_write_is_refused(qwen: Path) -> None:
    document = {"type": "object", "properties": {"a": {"enum": ["x", "end<|im_end|>"]}}}
    with pytest.raises(RequestError, match=r'field .a.: the tokenizer of model .* cannot write "end<|im_end|>"'):
        check_model(parse_schema(document, "s.json"), Checkpoint.open(str(qwen)), "s.json")


def test_a_tokenizer_without_bytes_cannot_write_every_text(tmp_path: Path, qwen: Path) -> None:
    tokenizer = json.loads((qwen / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    # The second byte of an ö.
    vocabulary["gone"] = vocabulary.pop("¶")
    for file in qwen.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    checkpoint = Checkpoint.open(str(tmp_path))
    assert check_model(parse_schema({"type": "object", "properties": {"a": {"enum": ["rot"]}}}, "s"), checkpoint, "s")
    with pytest.raises(RequestError, match=r'field .a.: the tokenizer of model .* cannot write "gr\wn"'):
        check_model(parse_schema({"type": "object", "properties": {"a": {"enum": ["grön"]}}}, "s"), checkpoint, "s")


def test_schemas_and_taxonomies_are_written_as_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tags = tmp_path / "tags.yaml"
    tags.write_text(
        'attributes:\n- {name: colour, question: "what colour is it?", choices: {red: "bright red", blue: blue}}\n'
        '- {name: motif, question: "is there a {choice}?", choices: [cat, dog], mode: yes_no, multi: true}\n'
    )
    schema, back = tmp_path / "schema.json", tmp_path / "back.yaml"
    assert main(["schema", str(tags), "--output", str(schema)]) == 0
    assert main(["schema", str(schema), "--output", str(back)]) == 0
    assert load_taxonomy(str(back)) == load_taxonomy(str(tags))
    assert main(["schema", str(schema)]) == 0
    assert json.loads(capsys.readouterr().out.partition("back.yaml\n")[2]) == json.loads(schema.read_text())
    assert main(["schema", write_schema(tmp_path), "--output", str(back)]) == 2
    assert main(["schema", str(schema), "--output", str(tmp_path / "schema.txt")]) == 2
