"""`vqa-ray report`: one self-contained page about a run, an evaluation or a comparison."""

from __future__ import annotations

import time

import pyarrow as pa
import typer

from vqa_ray.comparison.record import RECORD as COMPARISON
from vqa_ray.comparison.record import Comparison
from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.output_file import check_page
from vqa_ray.jobs.spec.pages import ReportSpec
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.report.comparison_report import comparison_report
from vqa_ray.report.evaluation_report import evaluation_report
from vqa_ray.report.plots import check_plots
from vqa_ray.report.report_page import Report, write_report
from vqa_ray.report.run_report import run_report
from vqa_ray.runs.directory import RunDirectory, require_directory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.filesystem import exists
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.storage.uri import join, redacted_uri


def run(spec: ReportSpec) -> None:
    """Write the page, and print where it is."""
    check_page(spec.output, "--output")
    check_plots()
    begun = time.monotonic()
    report = _report(spec)
    try:
        size = write_report(spec.output, report)
    except store_failures() as error:
        raise RequestError(f"--output {redacted_uri(spec.output)}: cannot be written: {store_reason(error)}") from error
    typer.echo(f"{spec.output}: {size / 1e6:.1f} MB in {time.monotonic() - begun:.1f} s")


def _report(spec: ReportSpec) -> Report:
    require_directory(spec.what, spec.what, "a run, or a directory of evaluate or compare")
    try:
        record = RunRecord.read(RunDirectory(spec.what).record)
        if record is not None:
            return run_report(spec.what, record, allow_http=spec.allow_http)
        evaluation = EvaluationRecord.read(spec.what)
        if evaluation is not None:
            return evaluation_report(spec.what, evaluation, allow_http=spec.allow_http)
        if exists(join(spec.what, COMPARISON)):
            return comparison_report(spec.what, Comparison.read(spec.what), allow_http=spec.allow_http)
    except store_failures(pa.ArrowException) as error:
        raise RequestError(f"{spec.what}: cannot be read: {store_reason(error, named=True)}") from error
    raise RequestError(f"{spec.what}: neither a run nor a directory of evaluate or compare")
