"""`vqa-ray demo`: render a small catalogue, tag it, ask questions of it, search it, and show the results."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path

import typer

from vqa_ray.errors import RunError
from vqa_ray.jobs import report, tag
from vqa_ray.jobs.answer import command as answer
from vqa_ray.jobs.demo import directory
from vqa_ray.jobs.demo.evaluate import measures, search_result
from vqa_ray.jobs.demo.inputs import write_shards, write_truth
from vqa_ray.jobs.demo.page import read_hits, read_results, write_page
from vqa_ray.jobs.demo.spec import DemoSpec
from vqa_ray.jobs.demo.summary import Step, summary
from vqa_ray.jobs.evaluate import command as evaluate
from vqa_ray.jobs.evaluate.spec import EvaluateSpec
from vqa_ray.jobs.index import command as index
from vqa_ray.jobs.index.spec import IndexSpec
from vqa_ray.jobs.runtime import logs
from vqa_ray.jobs.runtime.admission import now
from vqa_ray.jobs.runtime.cluster.connect import connect_ray
from vqa_ray.jobs.runtime.output_lock import output_lock
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.search import command as search
from vqa_ray.jobs.search.spec import SearchSpec
from vqa_ray.jobs.spec.images import AnswerSpec, TagSpec
from vqa_ray.jobs.spec.pages import ReportSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.taxonomy.file import default_taxonomy

# The query of the search, and the questions that verify its hits.
TEXT = "a red mug with a dog"
VERIFY = '"what is it?" = "mug" and "what colour is it?" = "red" and "is there a dog?"'
_STEPS = 8


def run(spec: DemoSpec) -> None:
    """Run the steps of the demo, and print its summary.

    Raises:
        RunError: the rows of a step are not sound.
    """
    model, encoder = spec.model, spec.encoder
    Checkpoint.open(model).family.require("score", model)
    Checkpoint.open(model).family.require("answer", model)
    Checkpoint.open(encoder).family.require("embed", encoder)
    folder = directory.claim(spec.output)
    with output_lock(str(folder), now()):
        directory.clear(folder)
        steps: list[Step] = []
        with _timed(
            steps, f"rendering {spec.count:,} products", f"rendered {spec.count:,} products", directory.PRODUCTS
        ):
            shards = write_shards(spec.count, spec.seed, str(folder / directory.PRODUCTS))
        with ExitStack() as stack:
            with _timed(steps, "starting Ray", "started Ray"):
                stack.enter_context(connect_ray(None))
            with _timed(steps, "tagging every image", f"tagged by {model}", directory.TAGS):
                _tag(folder, model, spec.quiet)
            with _timed(steps, "asking five questions of every image", f"answered by {model}", directory.ANSWERS):
                _answer(folder, model, spec.quiet)
            with _timed(steps, "indexing every image", f"indexed by {encoder}", directory.INDEX):
                _index(folder, encoder, spec.quiet)
        with _timed(steps, f'searching for "{TEXT}"', f'searched for "{TEXT}"', directory.HITS_PAGE):
            _search(folder, model)
        with _timed(steps, "judging every answer by the truth", "judged, with a report", directory.REPORT):
            _report(folder, shards)
        with _timed(steps, "measuring and drawing the gallery", "measured and drawn", directory.GALLERY):
            taxonomy = default_taxonomy()
            scores = read_results(folder, shards)
            measurements = measures(scores, taxonomy)
            write_page(folder, shards, scores, measurements, taxonomy=taxonomy, model=model)
            found = search_result(scores, read_hits(folder))
        typer.echo("\n".join(summary(folder, steps, scores, measurements, found=found, model=model)))


@contextmanager
def _timed(steps: list[Step], doing: str, done: str, where: str = "") -> Iterator[None]:
    """Announce a step on standard error, and add it to `steps` with its duration when it is done."""
    print(f"[{len(steps) + 1}/{_STEPS}] {doing} …", file=logs.console())
    begun = time.monotonic()
    yield
    steps.append(Step(done, time.monotonic() - begun, where))


def _request(folder: Path, output: str, model: str, quiet: bool) -> dict[str, object]:
    # A demo of one product has more damaged rows than sound ones, and that is no failure.
    limits = {"max_error_fraction": 1.0}
    return {
        "input": str(folder / directory.PRODUCTS),
        "output": str(folder / output),
        "model": model,
        "quiet": quiet,
        **limits,
    }


def _tag(folder: Path, model: str, quiet: bool) -> None:
    _check(tag.run(TagSpec.model_validate(_request(folder, directory.TAGS, model, quiet))))


def _answer(folder: Path, model: str, quiet: bool) -> None:
    _check(answer.run(AnswerSpec.model_validate(_request(folder, directory.ANSWERS, model, quiet))))


def _index(folder: Path, encoder: str, quiet: bool) -> None:
    _check(index.run(IndexSpec.model_validate(_request(folder, directory.INDEX, encoder, quiet))))


def _search(folder: Path, model: str) -> None:
    query = {"text": TEXT, "verify": VERIFY, "verify_model": model, "top_k": 12, "candidates": 100}
    written = {"output": str(folder / directory.HITS), "gallery": str(folder / directory.HITS_PAGE)}
    tables = {"index": str(folder / directory.INDEX), "tags": str(folder / directory.TAGS)}
    with logs.warnings_only():
        search.run(SearchSpec.model_validate(tables | query | written))


def _report(folder: Path, shards: Sequence[str]) -> None:
    write_truth(shards, str(folder / directory.TRUTH))
    output = str(folder / directory.EVALUATION)
    sides = {"predictions": str(folder / directory.ANSWERS), "truth": str(folder / directory.TRUTH)}
    request = {"protocol": "exact-match", "by": ["kind"], "output": output, "quiet": True}
    with logs.warnings_only(), redirect_stdout(io.StringIO()):
        evaluate.run(EvaluateSpec.model_validate(sides | request))
        report.run(ReportSpec.model_validate({"what": output, "output": str(folder / directory.REPORT)}))


def _check(result: RunResult) -> None:
    if result.integrity_errors:
        raise RunError(f"{result.output}: {result.integrity_errors[0]}")
