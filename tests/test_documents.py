"""What the documents name is there: options, error codes, files, tests, and the sections that links lead to."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from vqa_ray.errors import ErrorCode
from vqa_ray.jobs.commands import COMMANDS, imported
from vqa_ray.jobs.spec.field import extra_of, option_name

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Of Typer, and of other programs.
_FOREIGN = {"--help", "--version", "--install-completion", "--spec", "--check", "--follow", "--directory", "--shm-size"}
_FOREIGN |= {"--generation-config", "--logprobs-mode", "--structured-outputs-config"}
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_TEST = re.compile(r"((?:\w+/)*test_\w+\.py)(?:::(\w+))?")
_PLACE = re.compile(r"`((?:vqa_ray|jobs|pipelines|benchmarks|deploy|examples|tests)/[\w/.-]+)`")
_LINK = re.compile(r"\]\(([^)\s:#]*)(?:#([\w-]+))?\)")

page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@cache
def options() -> frozenset[str]:
    """All options of all commands."""
    found = set(_FOREIGN)
    for command in COMMANDS.values():
        specs = [command.spec, *([command.variant.spec] if command.variant else [])]
        for kind in map(imported, specs):
            fields = kind.model_fields.items()
            names = {option_name(name, kind) for name, _ in fields} | {
                str(extra_of(field)["alias"]) for _, field in fields
            }
            found |= names | {name.replace("--", "--no-", 1) for name in names}
    return frozenset(found)


@cache
def sections(file: Path) -> frozenset[str]:
    """The anchors of a page, as MkDocs and GitHub make them."""
    titles = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.M)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles)


@cache
def texts_of_tests() -> dict[str, str]:
    """Path from the root → text of each file of tests."""
    return {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in ROOT.glob("tests/**/test_*.py")}


@page
def test_options_exist(page: Path) -> None:
    assert set(_OPTION.findall(page.read_text("utf-8"))) <= options()


@page
def test_tests_and_files_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    assert not [place for place in _PLACE.findall(text) if not (ROOT / place).exists()]
    for name, function in _TEST.findall(text):
        texts = [content for file, content in texts_of_tests().items() if f"/{file}".endswith(f"/{name}")]
        assert any(f"def {function}" in content for content in texts), (name, function)


@page
def test_links_lead_somewhere(page: Path) -> None:
    for place, section in _LINK.findall(page.read_text("utf-8")):
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), place
        assert not section or target.suffix != ".md" or section in sections(target), (place, section)


def test_every_error_code_of_a_row_is_described() -> None:
    text = (ROOT / "docs" / "formats.md").read_text("utf-8")
    table = text[text.index("Error codes:") : text.index("What a score means")]
    # The command stops before a row without a budget is written.
    assert set(re.findall(r"`([a-z_]+)`", table)) >= {*ErrorCode} - {ErrorCode.BUDGET_SPENT}
