"""The results of the demo, read from Parquet, and its gallery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vqa_ray.jobs.demo.directory import ANSWERS, GALLERY, HITS, TAGS
from vqa_ray.jobs.demo.evaluate import DemoScores, demo_cards, display_order, is_sound, join_results
from vqa_ray.jobs.demo.inputs import SCHEMA, read_rows
from vqa_ray.report.gallery import DEFAULT_CARDS, Fact, Header, Measure, write_gallery
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.part_files import read_columns
from vqa_ray.taxonomy.taxonomy import Taxonomy


def read_results(folder: Path, shards: Sequence[str]) -> list[DemoScores]:
    """Read every input row (without its image) and its results."""
    tagged, answered = (
        list(read_rows([entry.uri for entry in RunDirectory(str(folder / name)).part_files()]))
        for name in (TAGS, ANSWERS)
    )
    products = list(read_rows(shards, [name for name in SCHEMA.names if name != "image"]))
    return join_results(products, tagged, answered)


def read_hits(folder: Path) -> list[str]:
    """Read the image_id of each hit of the search, best first."""
    hits: list[str] = read_columns(str(folder / HITS), ["image_id"])["image_id"].to_pylist()
    return hits


def write_page(
    folder: Path,
    shards: Sequence[str],
    scores: Sequence[DemoScores],
    measurements: Sequence[Measure],
    *,
    taxonomy: Taxonomy,
    model: str,
) -> None:
    """Write the gallery; only the images that it shows are in memory."""
    shown = display_order(scores)[:DEFAULT_CARDS]
    wanted = {each.product["image_id"] for each in shown}
    rows = read_rows(shards, ["image_id", "image"])
    images = {row["image_id"]: row["image"] for row in rows if row["image_id"] in wanted}
    facts = {
        "images": len(scores),
        "tags given": sum(len(each.tagged["tags"] or ()) for each in scores),
        "questions answered": sum(len(each.answers) for each in scores),
        "images with an error": sum(not is_sound(each) for each in scores),
    }
    header = Header(
        title="vqa-ray demo",
        about=f"Model {model}: tags of rendered products and a few damaged rows, and answers to questions about them.",
        total=len(scores),
        facts=tuple(Fact(name, f"{value:,}") for name, value in facts.items()),
        measures=tuple(measurements),
    )
    write_gallery(str(folder / GALLERY), header, demo_cards(shown, images, taxonomy))
