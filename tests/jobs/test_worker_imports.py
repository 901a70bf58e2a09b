"""What a worker imports: the library alone, wherever the command runs, and nothing that reads results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.coloured import parquet_input
from tests.jobs.commands import DEADLINE_S, ROOT, arguments
from tests.jobs.finetune import test_command as finetune

# Every process of a command reads it at its start.
RECORDER = '''
import os
import sys


class Recorder:
    """Writes down the modules of ours that a process imports."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "vqa_ray":
            kind = "worker" if any("default_worker.py" in word for word in sys.orig_argv) else "driver"
            with open(f"{os.environ['RECORDED_IMPORTS']}/{kind}-{os.getpid()}", "a") as file:
                file.write(f"{name}\\n")


sys.meta_path.insert(0, Recorder)
'''


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A directory with somebody else's packages of the names that our folders have."""
    directory = tmp_path / "foreign"
    for name in ("jobs", "pipelines", "tests", "benchmarks"):
        (directory / name).mkdir(parents=True)
        (directory / name / "__init__.py").write_text(f"raise ImportError('a foreign package {name}')\n")
    return directory


def imported_by_workers(argv: list[str], directory: Path, tmp_path: Path) -> list[set[str]]:
    """Run a command in a directory; the modules of ours that each of its worker processes imported."""
    hook, recorded = tmp_path / "hook", tmp_path / "recorded"
    hook.mkdir()
    recorded.mkdir()
    (hook / "sitecustomize.py").write_text(RECORDER)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(hook))),
        "RECORDED_IMPORTS": str(recorded),
    }
    command = [sys.executable, "-m", "vqa_ray.jobs.cli", *argv]
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert any("vqa_ray.jobs.cli" in file.read_text().splitlines() for file in recorded.glob("driver-*"))
    return [set(file.read_text().splitlines()) for file in recorded.glob("worker-*")]


def check(modules: set[str]) -> None:
    others = ("jobs", "pipelines", "report", "index", "browse")
    assert not [name for name in modules if name.split(".")[1:2] and name.split(".")[1] in others]


@pytest.mark.timeout(400)
def test_a_worker_of_inference_imports_the_library_alone(foreign: Path, tmp_path: Path) -> None:
    argv = arguments("tag", parquet_input(tmp_path / "in", 8), tmp_path / "out")
    workers = imported_by_workers(argv, foreign, tmp_path)
    assert any("vqa_ray.stages.tag" in modules for modules in workers)
    assert any("vqa_ray.stages.decode" in modules for modules in workers)
    for modules in workers:
        check(modules)


@pytest.mark.timeout(400)
def test_a_worker_of_training_imports_the_library_alone(foreign: Path, tmp_path: Path) -> None:
    source = finetune.training_input(tmp_path / "in")
    argv = finetune.arguments(source, tmp_path / "out", "--epochs", "1", "--batch-size", "60")
    workers = imported_by_workers(argv, foreign, tmp_path)
    assert any("vqa_ray.training.loop" in modules for modules in workers)
    assert any("vqa_ray.training.stages.read_scheduled" in modules for modules in workers)
    for modules in workers:
        check(modules)
