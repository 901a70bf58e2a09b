"""The rules of the house: who may import whom, how light the library is, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("vqa_ray", "pipelines", "jobs")
LINES = 300
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# Torch and transformers are loaded where models are.
HEAVY = {"torch", "transformers"}
HEAVY_PLACES = ("vqa_ray/models/", "vqa_ray/training/")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it is imported when the file is) of every import of a file."""
    tree = ast.parse(path.read_text("utf-8"))
    late = {
        node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef) or _only_for_types(outer)
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: relative import"
            module = node.module or ""
            # `from vqa_ray import schema` imports vqa_ray.schema.
            inner = [f"{module}.{alias.name}" for alias in node.names] if module in PACKAGES else [module]
            yield from ((each, node not in late) for each in inner)


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def under(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_go_one_way(path: Path) -> None:
    package = name(path).split("/")[0]
    pipelines, jobs = "vqa_ray.pipelines", "vqa_ray.jobs"
    forbidden = {"vqa_ray": ("ray", pipelines, jobs), "pipelines": (jobs,), "jobs": ()}[package]
    found = [module for module, _ in imports(path) if under(module, *forbidden)]
    assert not found, f"{name(path)} imports {found}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_tests_and_benchmarks_are_not_imported(path: Path) -> None:
    assert not [module for module, _ in imports(path) if under(module, "tests", "benchmarks")]


@pytest.mark.parametrize("file", ["vqa_ray/errors.py", "vqa_ray/schema.py"])
def test_errors_and_schema_import_nothing_of_ours(file: str) -> None:
    assert not [module for module, _ in imports(ROOT / file) if under(module, *PACKAGES)]


@pytest.mark.parametrize("path", sorted((ROOT / "vqa_ray").rglob("*.py")), ids=name)
def test_torch_and_transformers_stay_where_models_are(path: Path) -> None:
    if name(path).startswith(HEAVY_PLACES):
        return
    at_import = [module for module, at_once in imports(path) if at_once and under(module, *HEAVY)]
    assert not at_import, f"{name(path)} imports {at_import}"


@pytest.mark.parametrize("path", sorted((ROOT / "vqa_ray").rglob("*.py")), ids=name)
def test_only_stages_know_models_and_nobody_knows_stages(path: Path) -> None:
    place = name(path)
    # Verifying hits runs the stages of `retrieve` in its own process.
    if place.startswith(("vqa_ray/stages/", "vqa_ray/training/stages/", "vqa_ray/index/search/verify.py")):
        return
    assert not [module for module, _ in imports(path) if under(module, "vqa_ray.stages")]


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").rglob("*.py")), ids=name)
def test_pipelines_only_compose(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Lambda), f"{name(path)}:{node.lineno}: lambda"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [each for each in ast.walk(node) if each is not node and isinstance(each, ast.FunctionDef)]
            assert not inner, f"{name(path)}:{node.lineno}: local function"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{name(path)}:{node.lineno}: print"


def test_the_library_is_light() -> None:
    code = (
        "import sys, time; begun = time.perf_counter(); import vqa_ray; seconds = time.perf_counter() - begun;"
        "heavy = {'ray', 'torch', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules); print(seconds, *heavy)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert all(heavy == [] for _, *heavy in runs)
    assert min(float(seconds) for seconds, *_ in runs) < 0.3


def test_stages_are_imported_without_ray_and_torch() -> None:
    code = (
        "import sys, vqa_ray.stages.answer, vqa_ray.stages.decode, vqa_ray.stages.fetch, vqa_ray.stages.read;"
        "assert not {'ray', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
