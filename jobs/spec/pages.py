"""The specs of the commands that make pages of results: `report` and `review`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import LoggingGroup
from vqa_ray.review.sample import Strategy


class ReportSpec(LoggingGroup):
    """Write one HTML page about a run, an evaluation or a comparison: numbers, plots, tables, image cards.

    The page needs no network and no script.
    """

    group: ClassVar[str] = "Report"

    what: str = option(
        "A run of answer, tag, caption or retrieve, or a directory of evaluate or compare.",
        unit="RESULTS",
        argument=True,
    )
    output: str = option("HTML file to write or replace.", unit="FILE")
    allow_http: bool = option("Also show images at http:// and https:// URIs.", False, group="Input")


class ReviewSpec(LoggingGroup):
    """Judge a sample of a run's answers on a local page: right, wrong, or another answer. Ctrl-C ends it.

    The same command goes on with the verdicts that the file holds.
    """

    group: ClassVar[str] = "Review"

    run: str = option("A run of answer, tag, caption or retrieve.", unit="RUN", argument=True)
    output: str = option("JSON Lines file of the verdicts, for evaluate, calibrate and finetune.", unit="FILE")
    sample: int = option("Answers to review.", 200, unit="N", ge=1)
    strategy: Strategy | None = option(
        "random; stratified, rare tags as often as frequent ones; uncertain, low scores more often; diverse, both. "
        "Default: random, or stratified with --by.",
        None,
        unit="STRATEGY",
    )
    by: str | None = option(
        "Strata: tag (a value of an attribute, or an answer), question, or a column of the run. Default: tag.",
        None,
        unit="COLUMN",
    )
    seed: int = option("Seed of the sample.", 0, unit="N", ge=0)
    reviewer: str | None = option(
        "Your name, for the file; --import keeps the names that it holds. Default: the name of the user.",
        None,
        unit="NAME",
    )
    import_file: str | None = option(
        "Take the verdicts from this file, which another tool exported, instead of showing a page.",
        None,
        unit="FILE",
        name="import",
        group="Input",
    )
    origin: Literal["label-studio", "fiftyone"] | None = option(
        "Tool that exported --import: label-studio (JSON) or fiftyone (labels.json).",
        None,
        unit="TOOL",
        name="from",
        group="Input",
    )
    index: str | None = option("Index of the same images, whose thumbnails are shown.", None, unit="URI", group="Input")
    allow_http: bool = option("Also show images at http:// and https:// URIs.", False, group="Input")
    host: str = option("Address to listen at; anyone who can reach it can give verdicts.", "127.0.0.1", unit="ADDRESS")
    port: int = option("Port to listen at; 0 for any free port.", 8766, unit="PORT", ge=0, le=65_535)
    allow_host: list[str] = option(
        "Additional host name under which browsers may open the page. Repeatable.", [], unit="NAME"
    )

    @model_validator(mode="after")
    def _check_together(self) -> ReviewSpec:
        if (self.import_file is None) != (self.origin is None):
            raise ValueError("--import and --from go together: the file, and the tool that wrote it")
        if self.by is not None and self.strategy in ("random", "uncertain"):
            raise ValueError(f"--by {self.by}: goes with --strategy stratified or diverse, not {self.strategy}")
        return self
