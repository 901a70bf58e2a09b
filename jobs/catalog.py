"""`vqa-ray catalog`: render the built-in product catalogue, with its truth, to try the other commands on."""

from __future__ import annotations

from typing import Annotated

import typer


def catalog(
    *,
    count: Annotated[int, typer.Option(help="how many products")],
    output: Annotated[str, typer.Option(help="an empty directory or prefix: a path, s3://…, gs://…")],
    seed: Annotated[int, typer.Option(help="which catalogue; the same seed gives the same files")] = 0,
    format: Annotated[str, typer.Option(help="one of parquet, webdataset, jsonl, images")] = "parquet",
    rows_per_shard: Annotated[
        int, typer.Option(help="products in one file (a tar, a Parquet or JSON Lines file)")
    ] = 200,
    questions: Annotated[int, typer.Option(help="questions per product, a row each; 0: one row per product")] = 0,
    captions: Annotated[
        int, typer.Option(help="descriptions per product, in the column caption; a list if several")
    ] = 0,
) -> None:
    """Render product images with known truth: category, colour, pattern and what is printed on them."""
    from vqa_ray.catalog.write import write_catalogue

    shards = write_catalogue(count, seed, output, format, rows_per_shard, questions=questions, captions=captions)
    typer.echo(f"{count} products in {len(shards)} {format} shard{'s' if len(shards) > 1 else ''} under {output}")
