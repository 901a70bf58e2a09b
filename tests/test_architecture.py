"""The rules of the house: who may import whom, how light the library is, how long a file may be.

docs/decisions/0013-one-house.md says why. A module is named as it is imported: `vqa_ray.jobs` and `vqa_ray.pipelines`
are links to the folders at the top.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("vqa_ray", "pipelines", "jobs")
LINES = 300
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

# The library from the ground up: a package imports those of earlier lines, and files of its own.
LAYERS = (
    (
        "errors",
        "schema",
        "types",
        "keys",
        "text",
        "process",
        "child_process",
        "strict_yaml",
        "text_encoding",
        "former_names",
        "format_names",
        "counted",
        "durations",
        "json_lines",
    ),
    ("storage", "evaluation", "conversation"),
    ("predicates",),
    ("images", "taxonomy", "runs", "catalog", "cache", "row_text", "instruct"),
    ("readers", "structured"),
    ("models", "judging"),
    ("stages", "calibration", "comparison", "grouping"),
    ("training",),
    ("report", "export", "publish"),
    ("index",),
    ("browse", "api"),
    ("review",),
)
GROUND = LAYERS[0]
# Every worker imports these; the others read what workers have written.
READER_HALF = ("report", "index", "browse", "export", "review", "comparison", "publish")
# Independent of each other within their package.
FAMILIES = ("blip", "chat", "encoders", "endpoint", "fake", "florence2", "vilt")
TRAININGS = ("vqa", "contrastive")
# What several packages may call a file: a role within a job, a training, a model family; or a family's own name.
ROLES = {
    *("__init__", "command", "spec", "evaluate", "publish", "retry", "summary", "directory"),
    *("task", "trainer", "network", "initialise", "lora", "shape", "batch", "validate", "export", "model", "file"),
    *("clip", "siglip", "blip", "blip2", "instructblip", "vilt", "vllm"),
}
# Torch and transformers are loaded where models are.
HEAVY = ("torch", "transformers")
HEAVY_PLACES = ("vqa_ray.models", "vqa_ray.training")


class Import(NamedTuple):
    """An import statement: what it imports, and where it stands."""

    module: str
    place: Literal["top", "function", "types"]


def module_of(path: Path) -> str:
    """The name by which a file is imported."""
    name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    return name if name.split(".")[0] == "vqa_ray" else f"vqa_ray.{name}"


MODULES = {module_of(path): path for path in FILES}
LIBRARY = [module for module in MODULES if not module.startswith(("vqa_ray.jobs", "vqa_ray.pipelines"))]


@cache
def imports(module: str) -> tuple[Import, ...]:
    """The imports of a module, of ours by the module that holds the name."""
    return tuple(_imports(MODULES[module]))


def _imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text("utf-8"))
    places: dict[ast.AST, Literal["function", "types"]] = {}
    for outer in ast.walk(tree):
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
            places |= dict.fromkeys(ast.walk(outer), "function")
        elif _only_for_types(outer):
            places |= dict.fromkeys(ast.walk(outer), "types")
    for node in ast.walk(tree):
        place = places.get(node, "top")
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, place) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(inner if inner in MODULES else str(node.module), place)


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def under(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def package_of(module: str) -> str:
    """The package of the library, or file on its ground, that a module belongs to."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", MODULES)
def test_file_is_read_in_one_sitting(module: str) -> None:
    lines = len(MODULES[module].read_text("utf-8").splitlines())
    assert lines <= LINES


@pytest.mark.parametrize("module", MODULES)
def test_jobs_know_pipelines_and_pipelines_know_the_library(module: str) -> None:
    forbidden = ("ray", "vqa_ray.pipelines", "vqa_ray.jobs")
    if under(module, "vqa_ray.pipelines"):
        forbidden = ("vqa_ray.jobs",)
    elif under(module, "vqa_ray.jobs"):
        forbidden = ()
    assert not [each.module for each in imports(module) if under(each.module, *forbidden)]


@pytest.mark.parametrize("module", MODULES)
def test_ours_are_imported_at_the_top_of_a_file(module: str) -> None:
    late = [each.module for each in imports(module) if each.place == "function" and under(each.module, "vqa_ray")]
    assert late == [], f"imported within functions: {late}"


@pytest.mark.parametrize("module", MODULES)
def test_no_file_is_known_by_its_old_import_name(module: str) -> None:
    assert not [
        each.module for each in imports(module) if under(each.module, "jobs", "pipelines", "tests", "benchmarks")
    ]


@pytest.mark.parametrize("module", LIBRARY)
def test_layers_of_the_library_go_one_way(module: str) -> None:
    if module in ("vqa_ray", "vqa_ray.__main__"):
        return
    level = {package: number for number, layer in enumerate(LAYERS) for package in layer}
    own = package_of(module)
    assert own in level, f"{own} has no place in LAYERS"
    up = []
    for each in imports(module):
        other = package_of(each.module) if under(each.module, "vqa_ray") else own
        grounded = own in GROUND and other in GROUND
        if other not in ("", own) and not grounded and level[other] >= level[own]:
            up.append(each.module)
    assert up == [], f"{module} imports {up}"


def test_errors_and_schema_import_nothing_of_ours() -> None:
    for module in ("vqa_ray.errors", "vqa_ray.schema"):
        assert not [each.module for each in imports(module) if under(each.module, "vqa_ray")]


def test_files_do_not_import_each_other_in_a_circle() -> None:
    """Leave out, again and again, what imports nothing of what is left; a circle is what stays."""
    left = {
        module: {each.module for each in imports(module) if each.place == "top" and each.module in MODULES}
        for module in MODULES
    }
    while free := [module for module, needed in left.items() if not needed & left.keys()]:
        for module in free:
            del left[module]
    assert left == {}, f"a circle among {sorted(left)}"


@pytest.mark.parametrize("module", LIBRARY)
def test_workers_do_not_import_what_reads_results(module: str) -> None:
    if package_of(module) in (*READER_HALF, "api", ""):
        return
    readers = [f"vqa_ray.{package}" for package in (*READER_HALF, "api")]
    assert not [each.module for each in imports(module) if under(each.module, *readers)]


@pytest.mark.parametrize(
    ("package", "parts"),
    [
        pytest.param("vqa_ray.models", FAMILIES, id="models"),
        pytest.param("vqa_ray.training", TRAININGS, id="training"),
    ],
)
def test_families_do_not_know_each_other(package: str, parts: tuple[str, ...]) -> None:
    for part in parts:
        others = [f"{package}.{other}" for other in parts if other != part]
        for module in (module for module in MODULES if under(module, f"{package}.{part}")):
            assert not [each.module for each in imports(module) if under(each.module, *others)], module


def test_commands_do_not_know_each_other() -> None:
    jobs = [module for module in MODULES if module.startswith("vqa_ray.jobs.")]
    commands = {module.split(".")[2] for module in jobs} - {
        "runtime",
        "spec",
        "cli",
        "typer_app",
        "commands",
        "__main__",
    }
    for module in jobs:
        own = module.split(".")[2]
        # The demo runs other commands, and a command line names them all.
        if own in ("demo", "cli", "typer_app", "__main__"):
            continue
        others = [f"vqa_ray.jobs.{command}" for command in commands - {own}]
        assert not [each.module for each in imports(module) if under(each.module, *others)], module


def test_a_basename_occurs_once_in_a_package() -> None:
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for path in FILES:
        first, *rest = path.relative_to(ROOT).parts
        room = f"vqa_ray.{rest[0]}" if first == "vqa_ray" and len(rest) > 1 else first
        names[room][path.stem] += 1
    twice = {room: [stem for stem, n in found.items() if n > 1 and stem not in ROLES] for room, found in names.items()}
    assert {room: stems for room, stems in twice.items() if stems} == {}


@pytest.mark.parametrize("module", LIBRARY)
def test_torch_and_transformers_stay_where_models_are(module: str) -> None:
    if not under(module, *HEAVY_PLACES):
        assert not [each.module for each in imports(module) if each.place == "top" and under(each.module, *HEAVY)]


@pytest.mark.parametrize("module", [module for module in MODULES if under(module, "vqa_ray.pipelines")])
def test_pipelines_only_compose(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Lambda), f"{module}:{node.lineno}: lambda"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [each for each in ast.walk(node) if each is not node and isinstance(each, ast.FunctionDef)]
            assert not inner, f"{module}:{node.lineno}: local function"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{module}:{node.lineno}: print"


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
