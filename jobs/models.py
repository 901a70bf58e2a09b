"""`vqa-ray models`: which models are supported, and what one of them can do, without running it."""

from __future__ import annotations

import typer

from vqa_ray.jobs.spec.tools import ModelsSpec
from vqa_ray.models.description import describe_model, list_families, words_of

# Words of a vocabulary that are printed without --words.
_SOME_WORDS = 20


def run(spec: ModelsSpec) -> None:
    """Print the list of families, one model's card, or its vocabulary."""
    if spec.model is None:
        lines = list_families()
    else:
        words = words_of(spec.model) if spec.words else None
        lines = describe_model(spec.model, _SOME_WORDS) if words is None else words
    typer.echo("\n".join(lines))
