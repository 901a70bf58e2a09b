"""`import vqa_ray`: light, complete, and seen by type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import vqa_ray

HEAVY = "{'ray', 'torch', 'transformers', 'pyarrow', 'numpy', 'pandas', 'PIL', 'pydantic'}"


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, vqa_ray; dir(vqa_ray); vqa_ray.RowError; print(*{HEAVY} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_a_callable_loads_no_model_and_no_engine_before_its_first_batch() -> None:
    code = "import sys, vqa_ray; vqa_ray.Answer('bundled:catalog-vilt'); print(*{'ray', 'torch'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.mark.parametrize("name", vqa_ray.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(vqa_ray, name)
    assert name in dir(vqa_ray)
    assert name == "__version__" or (value.__doc__ and value.__module__.startswith("vqa_ray"))


def test_type_checkers_and_programs_see_the_same_names() -> None:
    tree = ast.parse(Path(vqa_ray.__file__).read_text("utf-8"))
    (for_types,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {}
    for node in for_types.body:
        assert isinstance(node, ast.ImportFrom)
        imported |= {alias.name: str(node.module) for alias in node.names}
    assert set(vqa_ray.__all__) == {*imported, "__version__"}
    for name, module in imported.items():
        assert getattr(vqa_ray, name) is getattr(import_module(module), name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ask'"):
        vqa_ray.ask  # noqa: B018  The access is the test.
