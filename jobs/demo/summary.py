"""The summary at the end of the demo."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from vqa_ray.jobs.demo.directory import GALLERY, HITS_PAGE, INDEX, REPORT, TAGS
from vqa_ray.jobs.demo.evaluate import DemoScores, SearchResult, error_counts
from vqa_ray.report.gallery import Measure


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the demo: its duration, and its result within the demo's directory, if there is one."""

    name: str
    duration_s: float
    where: str


def summary(
    folder: Path,
    steps: Sequence[Step],
    scores: Sequence[DemoScores],
    measurements: Sequence[Measure],
    *,
    found: SearchResult,
    model: str,
) -> list[str]:
    """Write lines for a person: the results, their quality, and the next commands."""
    read = f'import pandas; print(pandas.read_parquet("{folder / TAGS}")[["image_id", "tags", "error_code"]])'
    index, tags = shlex.quote(str(folder / INDEX)), shlex.quote(str(folder / TAGS))
    program = _program()
    guesses = " (fake: only guesses, so these mean nothing)" if model == "fake:" else ""
    return [
        "",
        f"vqa-ray demo: {sum(step.duration_s for step in steps):.0f} s",
        *(_step_line(step, folder) for step in steps),
        "",
        "Damaged rows become typed errors and leave their neighbours intact",
        *(f"  {rows:5,}    {code}" for code, rows in error_counts(scores).items()),
        "",
        f"Measured against the known truth{guesses}",
        *(f"  {100 * each.value:5.1f} %  {each.name:<34} of {each.n:,}" for each in measurements),
        "",
        _describe_search(found),
        "",
        "Look at it",
        f"  {(folder / REPORT).resolve().as_uri()}",
        f"  {(folder / GALLERY).resolve().as_uri()}",
        f"  {(folder / HITS_PAGE).resolve().as_uri()}",
        "Search it",
        f"  {program} search {index} --text 'a striped blue t-shirt'",
        f"  {program} browse {index} --tags {tags} --verify-model {model}",
        "Read it",
        f"  {shlex.quote(sys.executable)} -c {shlex.quote(read)}",
        "",
        "Next: your own photos (PHOTOS: a folder, s3://bucket/prefix, a tar, or Parquet with an image column)",
        f"  {program} answer --input PHOTOS --question 'is there a dog?' --model dandelin/vilt-b32-finetuned-vqa \\",
        "      --output my-answers",
        f"  {program} tag --input PHOTOS --tags tags.yaml --model dandelin/vilt-b32-finetuned-vqa --output my-tags",
        f"      (a tags.yaml to start from: {resources.files('vqa_ray.catalog').joinpath('tags.yaml')})",
    ]


def _program() -> str:
    """Return the words that run this program from the user's shell: its name, or where it lies if that is not found."""
    beside = Path(sys.executable).with_name("vqa-ray")
    found = shutil.which("vqa-ray")
    if found is not None and Path(found).resolve() == beside.resolve():
        return "vqa-ray"
    return shlex.quote(str(beside)) if beside.is_file() else f"{shlex.quote(sys.executable)} -m vqa_ray"


def _describe_search(found: SearchResult) -> str:
    if found.existing == 0:
        return "The search: there is no red mug with a dog among so few products; --count 600 has six"
    return f"The search for red mugs with a dog: {found.hits} hits, {found.right} of them right; {found.existing} exist"


def _step_line(step: Step, folder: Path) -> str:
    where = str(folder / step.where) if step.where else ""
    return f"  {step.duration_s:5.1f} s  {step.name:<34} {where}".rstrip()
