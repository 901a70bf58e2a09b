"""Pools of model actors on four logical GPUs, which Ray counts and nobody has: one Ray, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.coloured import jsonl_input

# Four pipelines and a command in one process.
pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What `logical_gpus` writes, and what it says on standard error."""
    directory = tmp_path_factory.mktemp("gpus")
    program = [
        sys.executable,
        "-m",
        "tests.pipelines.logical_gpus",
        str(jsonl_input(directory / "in", 12)),
        str(directory),
    ]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((directory / "found.json").read_text()), done.stderr


def gpus_of_actors(rows: list[dict[str, Any]], model: str = "model") -> dict[str, str]:
    """Actor → its GPUs, as Ray gave them; the actor sees those alone."""
    assert sorted(row["source_key"] for row in rows) == list(range(len(rows)))
    assert all(row[f"{model} visible"] == row[f"{model} gpus"] for row in rows)
    return {row[f"{model} actor"]: row[f"{model} gpus"] for row in rows}


def test_one_actor_a_gpu(recorded: tuple[dict[str, Any], str]) -> None:
    gpus = list(gpus_of_actors(recorded[0]["whole"]).values())
    assert sorted(gpus) == list("0123")


def test_two_actors_share_a_gpu(recorded: tuple[dict[str, Any], str]) -> None:
    assert sorted(gpus_of_actors(recorded[0]["halves"]).values()) == list("00112233")


def test_two_models_share_no_gpu(recorded: tuple[dict[str, Any], str]) -> None:
    rows = recorded[0]["two models"]
    first, second = (set(gpus_of_actors(rows, name).values()) for name in ("first", "second"))
    assert len(first) == len(second) == 2
    assert not first & second


def test_an_autoscaled_pool_keeps_to_its_bounds(recorded: tuple[dict[str, Any], str]) -> None:
    assert 1 <= len(gpus_of_actors(recorded[0]["autoscaled"])) <= 3


def test_a_command_gets_halves_of_gpus_and_is_refused_too_many(
    recorded: tuple[dict[str, Any], str],
) -> None:
    found, said = recorded
    assert (found["fits"], found["lacks"]) == (0, 2)
    assert "GPU 5 needed, 4 available" in said
