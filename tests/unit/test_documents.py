"""Documents that speak of the code: the picture of the layers, the version, the pages of the site."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import vqa_ray
from tests.test_architecture import LAYERS

ROOT = Path(__file__).parents[2]


def test_the_picture_shows_the_layers_in_their_order() -> None:
    picture = (ROOT / "docs" / "images" / "architecture.svg").read_text("utf-8")
    heights: dict[str, list[float]] = {}
    for height, text in re.findall(r'<text [^>]*y="([\d.]+)"[^>]*font-weight="bold"[^>]*>([^<]+)</text>', picture):
        heights.setdefault(text, []).append(float(height))
    # The ground is files, of which it shows some; all above are packages, each layer over the one before.
    rows = [{max(heights[name]) for name in layer} for layer in LAYERS[1:]]
    assert all(len(row) == 1 for row in rows)
    assert [max(row) for row in rows] == sorted((max(row) for row in rows), reverse=True)
    assert {"jobs", "pipelines", "vqa_ray", "errors", "schema"} <= heights.keys()


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "vqa_ray.__version__"}
    released = re.findall(r"^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert released[0] == vqa_ray.__version__


def _pages(entries: list[object]) -> list[str]:
    found: list[str] = []
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += _pages(value) if isinstance(value, list) else [str(value)]
    return found


def test_every_page_is_in_the_contents_of_the_site() -> None:
    pages = _pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert there == set(pages)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_to_files_lead_somewhere(name: str) -> None:
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / name).read_text("utf-8"))
    assert [path for path in linked if not (ROOT / path).exists()] == []
    mentioned = re.findall(r"`((?:vqa_ray|tests|jobs|docs)/[\w/.-]+\.\w+)`", (ROOT / name).read_text("utf-8"))
    assert [path for path in mentioned if not (ROOT / path).exists()] == []


def test_each_line_of_the_threat_model_has_its_test() -> None:
    lines = (ROOT / "docs" / "security.md").read_text("utf-8").splitlines()
    threats = [line for line in lines if line.startswith("| ") and not line.endswith("| test |")]
    assert [line for line in threats if "::test_" not in line] == []
    named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", "\n".join(lines))
    assert len(named) >= len(threats) > 30
    there = {path: (ROOT / path).read_text("utf-8") for path, _ in named}
    assert [f"{path}::{name}" for path, name in named if f"def {name}(" not in there[path]] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_commands_of_make_are_there(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / name).read_text("utf-8"), re.M)) <= targets
