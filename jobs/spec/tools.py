"""The specs of the commands beside the jobs: of tables, pages, models and schemas."""

from __future__ import annotations

from typing import ClassVar, Literal

from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import DeviceGroup, LoggingGroup


class BrowseSpec(LoggingGroup, DeviceGroup):
    """Show an index or the results of a run as a local web page. Nothing is written; Ctrl-C ends it."""

    group: ClassVar[str] = "Page"

    what: str = option(
        "An index, or a run of answer, tag, caption or retrieve.", unit="INDEX_OR_RESULTS", argument=True
    )
    tags: str | None = option("Run of tag over the same images, to filter by.", None, unit="URI", group="Input")
    index: str | None = option(
        "Index of the same images, whose thumbnails are shown for the rows of a run.",
        None,
        unit="URI",
        group="Input",
    )
    model: str | None = option("Model of the index, if it has moved.", None, unit="MODEL", group="Model")
    verify_model: str | None = option("Model that answers questions about hits.", None, unit="MODEL", group="Model")
    host: str = option("Address to listen at; anyone who can reach it sees the page.", "127.0.0.1", unit="ADDRESS")
    port: int = option("Port to listen at; 0 for any free port.", 8765, unit="PORT", ge=0, le=65_535)
    allow_host: list[str] = option(
        "Additional host name under which browsers may open the page. Repeatable.", [], unit="NAME"
    )
    allow_http: bool = option("Also show and verify images at http:// and https:// URIs.", False, group="Input")
    max_upload: int = option("Largest image file that the page accepts to search by.", 16, unit="MIB", ge=1, le=1024)
    timeout: float = option("Longest time of a search.", 120.0, unit="SECONDS", ge=1)


class CalibrateSpec(LoggingGroup):
    """Fit thresholds and probabilities to a labelled sample, and print what precision and recall to expect."""

    group: ClassVar[str] = "Calibration"

    run: str | None = option("A finished run of retrieve (--ask-all) or tag; with --labels.", None, unit="RUN")
    labels: str | None = option(
        "CSV, TSV, JSON Lines or Parquet: image_id, and a column per question text or attribute name.",
        None,
        unit="FILE",
    )
    evaluation: str | None = option(
        "Evaluation of a run of retrieve (one question) or tag, instead of --run and --labels.", None, unit="DIR"
    )
    output: str = option("Calibration file to write, for --calibration.", unit="FILE")
    encoding: str | None = option(
        "Encoding of CSV or JSON labels, e.g. cp1252. Default: UTF-8, -16 or -32, detected.",
        None,
        unit="NAME",
        group="Input",
    )
    target: str = option("What thresholds aim at: f1, precision=0..1 or recall=0..1.", "f1", unit="TARGET")
    method: Literal["isotonic", "temperature"] = option(
        "How scores become probabilities: steps of any shape, or one number, for fewer than some 200 labels.",
        "isotonic",
    )


class CatalogSpec(LoggingGroup):
    """Render product images with known truth: category, colour, pattern and what is printed on them."""

    group: ClassVar[str] = "Catalogue"

    count: int = option("Number of products.", unit="N")
    output: str = option("Empty directory or prefix to write to (path, s3://, gs://).", unit="URI")
    seed: int = option("Seed of the catalogue; the same seed gives the same files.", 0, unit="N")
    format: str = option("One of parquet, webdataset, jsonl, images.", "parquet", unit="FORMAT")
    rows_per_shard: int = option("Products per file (tar, Parquet or JSON Lines).", 200, unit="N")
    questions: int = option("Questions per product, one row each; 0 for one row per product.", 0, unit="N")
    captions: int = option("Captions per product, in the column caption; a list if several.", 0, unit="N")


class SchemaSpec(LoggingGroup):
    """Check a schema of `answer --schema`, and write it as JSON Schema or as the taxonomy of `tag`."""

    schema_of: str = option(
        "A JSON Schema, tags.yaml, MODULE:CLASS of a pydantic model, or one shipped: document, chart.",
        unit="SCHEMA",
        argument=True,
    )
    output: str | None = option(
        "File to write: *.json a JSON Schema, *.yaml a taxonomy. Default: print the JSON Schema.", None, unit="URI"
    )


class ExportSpec(LoggingGroup):
    """Write the rows of a run or an index as CSV or JSON Lines, or the labels of a run for annotation tools.

    Rows that failed are left out and counted.
    """

    group: ClassVar[str] = "Export"

    run: str = option("A finished run, or an index.", unit="RUN", argument=True)
    to: str = option(
        "Format: csv, jsonl, coco, label-studio, fiftyone, llava, hub, submission:BENCHMARK (vqa-v2, pope…).",
        unit="FORMAT",
    )
    output: str = option(
        "File to write or replace; fiftyone: a directory; hub: ORG/NAME of a data set, private if new.",
        unit="URI",
    )
    errors: bool = option("Also write failed rows (csv and jsonl).", False)


class ModelsSpec(LoggingGroup):
    """List the supported model families, or print one model's family, jobs, scores, limits, weights and vocabulary."""

    model: str | None = option(
        "A hub name, directory, URI or bundled:NAME. Default: list all families.",
        None,
        unit="MODEL",
        argument=True,
    )
    words: bool = option("Print every word of the answer vocabulary, one per line.", False)


class PublishSpec(LoggingGroup):
    """Commit the rows of a finished run to a table, once and as a whole; repeated, the command changes nothing.

    Rows that are gone from the input are left out; failed rows have their `status`, as in the run.
    """

    group: ClassVar[str] = "Publishing"

    run: str = option("A finished run.", unit="RUN", argument=True)
    to: str = option(
        "iceberg:CATALOG.NAMESPACE.TABLE, delta:URI, lance:URI or parquet:URI (a file per run).", unit="TABLE"
    )
    mode: Literal["merge", "append"] = option(
        "merge: replace the rows of earlier states of the run and rows with the same key; append: add all rows.",
        "merge",
    )
    by: list[str] = option(
        "Column of the key of a row. Repeatable. Default: row_id, and question_index where the rows have it.",
        [],
        unit="COLUMN",
    )
