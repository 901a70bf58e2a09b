"""`vqa-ray instruct --print-prompts`."""

from __future__ import annotations

import typer

from vqa_ray.instruct.prompts import shipped_prompts
from vqa_ray.jobs.spec.instruct import PrintPromptsSpec


def run(spec: PrintPromptsSpec) -> None:
    """Print the shipped prompts file."""
    del spec
    typer.echo(shipped_prompts(), nl=False)
