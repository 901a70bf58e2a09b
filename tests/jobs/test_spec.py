"""Specs: the examples, the fields, and what makes a command another one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.jobs.commands import ROOT
from vqa_ray.errors import RequestError
from vqa_ray.jobs.commands import COMMANDS, imported
from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.field import group_of
from vqa_ray.jobs.spec.images import AnswerSpec, CaptionSpec, TagSpec
from vqa_ray.jobs.spec.load import load
from vqa_ray.jobs.spec.options import SpecVariant, typer_function
from vqa_ray.jobs.spec.retry_codes import Retry

FULL = {"input": "in", "output": "out", "model": "fake:"}


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_examples_are_valid(file: Path) -> None:
    assert file.read_text().startswith(f"# vqa-ray {file.stem} --spec {file.name}\n")
    load(imported(COMMANDS[file.stem].spec), str(file), {})


def test_options_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(FULL | {"top_k": 2, "quiet": True}))
    spec = load(AnswerSpec, str(file), {"top_k": 7, "output": "elsewhere"})
    assert (spec.input, spec.output, spec.top_k, spec.quiet) == ("in", "elsewhere", 7, True)


def test_every_field_has_one_line_of_help_that_the_command_shows() -> None:
    seen: dict[str, str] = {}
    for kind in (AnswerSpec, TagSpec, CaptionSpec):
        options = typer_function(kind, print, None).__signature__.parameters
        assert set(options) == {*kind.model_fields, "spec"}
        for name, field in kind.model_fields.items():
            assert field.description
            assert "\n" not in field.description
            assert len(field.description) <= 100
            seen[name] = field.description
    assert len(set(seen.values())) == len(seen)


def test_an_option_that_chooses_another_form_is_not_required() -> None:
    for command in COMMANDS.values():
        if command.variant is not None:
            variant = SpecVariant(command.variant.option, imported(command.variant.spec))
            options = typer_function(imported(command.spec), print, variant).__signature__.parameters  # type: ignore[attr-defined]
            (info,) = options[variant.option].annotation.__metadata__
            assert variant.kind.model_fields[variant.option].description == info.help


def test_the_options_of_updates_stand_together_in_the_help() -> None:
    for kind in (AnswerSpec, TagSpec, CaptionSpec):
        found = [name for name in kind.model_fields if group_of(name, kind) == "Updates"]
        assert sorted(found) == sorted(["update", "forget", "max_gone", *["taxonomy_changed"] * (kind is TagSpec)])


def test_placement_and_logging_do_not_make_another_command() -> None:
    plain = load(AnswerSpec, None, FULL)
    moved = {
        "output": "elsewhere",
        "batch_size": 7,
        "num_actors": "1-4",
        "num_gpus": 0.5,
        "device": "cuda",
        "compile": True,
        "address": "auto",
        "quiet": True,
        "log_format": "json",
        "rows_per_file": 3,
        "max_error_fraction": 0.5,
    }
    assert load(AnswerSpec, None, FULL | moved).command() == plain.command()
    deciding = {
        "top_k": 2,
        "question": ["a"],
        "keep": ["b"],
        "dtype": "float32",
        "fast_decode": True,
        "prompt_template": "lavis",
        "max_new_tokens": 5,
        "num_beams": 2,
        "engine": "vllm",
        "ignore_context": True,
    }
    for name, value in deciding.items():
        changed = load(AnswerSpec, None, FULL | {name: value}).command()
        assert changed != plain.command()
        assert changed[name] == value


def test_options_that_came_later_leave_the_record_of_a_plain_command_as_it_was() -> None:
    recorded = {
        "input": "in",
        "model": "fake:",
        "input_format": None,
        "columns": {},
        "keep": [],
        "limit": None,
        "dtype": None,
        "fast_decode": False,
        "allow_http": False,
        "max_image_bytes": 64 * 2**20,
        "max_image_pixels": 100_000_000,
    }
    assert load(TagSpec, None, FULL).command() == recorded | {"tags": None}
    assert load(AnswerSpec, None, FULL).command() == recorded | {"question": [], "top_k": 5}


@pytest.mark.parametrize(("given", "actors"), [(3, (3, 3)), ("2", (2, 2)), ("1-8", (1, 8)), (None, None)])
def test_number_of_actors(given: object, actors: object) -> None:
    assert load(AnswerSpec, None, FULL | {"num_actors": given}).actors() == actors


@pytest.mark.parametrize("given", ["0", "8-", "many", -1, True])
def test_wrong_number_of_actors(given: object) -> None:
    with pytest.raises(RequestError, match="--num-actors: "):
        load(AnswerSpec, None, FULL | {"num_actors": given})


def test_retry_codes() -> None:
    assert Retry.parse("all").codes is None
    assert Retry.parse("image_missing, model_error").names() == ["image_missing", "model_error"]


def test_a_value_that_stands_twice_in_a_list_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(FULL | {"keep": ["a", "b", "a"]}))
    with pytest.raises(RequestError, match=r"spec\.yaml: keep: 'a' is given twice"):
        load(AnswerSpec, str(file), {})


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("question: [a]\nquestion: [b]\n")
    with pytest.raises(RequestError, match="not YAML: line 2: 'question' occurs twice"):
        load(AnswerSpec, str(file), FULL)
    file.write_text("model: fake:\n")
    with pytest.raises(RequestError, match=r"not YAML: line 1: .*a value with a colon needs quotes"):
        load(AnswerSpec, str(file), {})


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (AnswerSpec, {"num_actors": "4-2"}, "--num-actors: the smaller number comes first in a range, given '4-2'"),
        (AnswerSpec, {"num_actors": "many"}, "--num-actors: wanted a number or a range such as 2-8, given 'many'"),
        (IndexSpec, {"update": False}, "--update: an index always takes in what was added to its input"),
    ],
)
def test_values_that_contradict_themselves_are_refused(
    kind: type[RunSpec], wrong: dict[str, Any], message: str
) -> None:
    given = {name: value for name, value in FULL.items() if name in kind.model_fields}
    with pytest.raises(RequestError, match=re.escape(message)):
        load(kind, None, given | wrong)
