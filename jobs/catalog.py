"""`vqa-ray catalog`: render the built-in product catalogue, with its truth, to try the other commands on."""

from __future__ import annotations

import typer

from vqa_ray.catalog.write import write_catalogue
from vqa_ray.jobs.spec.tools import CatalogSpec
from vqa_ray.runs.enclosing import refuse_inside_output


def run(spec: CatalogSpec) -> None:
    """Write the catalogue."""
    refuse_inside_output("--output", spec.output)
    shards = write_catalogue(
        spec.count,
        spec.seed,
        spec.output,
        spec.format,
        spec.rows_per_shard,
        questions=spec.questions,
        captions=spec.captions,
    )
    plural = "s" if len(shards) > 1 else ""
    typer.echo(f"{spec.count} products in {len(shards)} {spec.format} shard{plural} under {spec.output}")
