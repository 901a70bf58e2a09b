"""`vqa-ray models`: which models are supported, and what one of them can do, without running it."""

from __future__ import annotations

from typing import Annotated

import typer

# Words of a vocabulary that are printed without --words.
_SOME_WORDS = 20


def models(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="a hub name, directory, URI or bundled:NAME; without, the list"),
    ] = None,
    *,
    words: Annotated[
        bool, typer.Option("--words", help="print every word of its answer vocabulary, one a line")
    ] = False,
) -> None:
    """List the supported model families, or print one model's family, jobs, scores, limits, weights and vocabulary."""
    from vqa_ray.models import description as card

    if model is None:
        typer.echo("\n".join(card.list_families()))
        return
    vocabulary = card.words_of(model) if words else None
    typer.echo("\n".join(card.describe_model(model, _SOME_WORDS) if vocabulary is None else vocabulary))
