"""`vqa-ray demo`: render a small catalogue, tag it, ask questions of it, search it, and show what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqa_ray.errors import RunError

if TYPE_CHECKING:
    from vqa_ray.jobs.demo.summary import Step

MODEL, ENCODER = "bundled:catalog-vilt", "bundled:catalog-clip"
# What is searched for, and what the hits are asked.
TEXT = "a red mug with a dog"
VERIFY = '"what is it?" = "mug" and "what colour is it?" = "red" and "is there a dog?"'
_LARGEST_COUNT = 100_000
_STEPS = 7


def demo(
    *,
    output: Annotated[str, typer.Option(help="Directory for everything; made if it is missing.")] = "./vqa-ray-demo",
    count: Annotated[int, typer.Option(help="How many products.", min=1, max=_LARGEST_COUNT)] = 600,
    seed: Annotated[int, typer.Option(help="Which catalogue; the bundled model saw other seeds.", min=0)] = 7,
    model: Annotated[str, typer.Option(help="Which model answers; fake: needs no weights.")] = MODEL,
    encoder: Annotated[str, typer.Option(help="Which dual encoder indexes; fake: needs no weights.")] = ENCODER,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the summary only.")] = False,
) -> int:
    """Render products, tag them, ask questions of them, measure the answers, and search them."""
    from vqa_ray.jobs.demo import directory
    from vqa_ray.jobs.demo.evaluate import measures, search_result
    from vqa_ray.jobs.demo.inputs import write_shards
    from vqa_ray.jobs.demo.page import read_hits, read_results, write_page
    from vqa_ray.jobs.demo.summary import summary
    from vqa_ray.jobs.runtime.admission import now
    from vqa_ray.jobs.runtime.cluster.connect import connect_ray
    from vqa_ray.models.load import describe
    from vqa_ray.runs.lock import OutputLock
    from vqa_ray.taxonomy.file import default_taxonomy

    describe(model)
    describe(encoder).kind.require("embed", encoder)
    place = directory.claim(output)
    with OutputLock(str(place), now()):
        directory.clear(place)
        steps: list[Step] = []
        with _timed(steps, f"rendering {count:,} products", f"rendered {count:,} products", directory.PRODUCTS):
            shards = write_shards(count, seed, str(place / directory.PRODUCTS))
        with ExitStack() as stack:
            with _timed(steps, "starting Ray", "started Ray"):
                stack.enter_context(connect_ray(None))
            with _timed(steps, "tagging every image", f"tagged by {model}", directory.TAGS):
                _tag(place, model, quiet)
            with _timed(steps, "asking five questions of every image", f"answered by {model}", directory.ANSWERS):
                _answer(place, model, quiet)
            with _timed(steps, "indexing every image", f"indexed by {encoder}", directory.INDEX):
                _index(place, encoder, quiet)
        with _timed(steps, f'searching for "{TEXT}"', f'searched for "{TEXT}"', directory.HITS_PAGE):
            _search(place, model)
        with _timed(steps, "measuring and drawing the gallery", "measured and drawn", directory.GALLERY):
            taxonomy = default_taxonomy()
            judged = read_results(place, shards)
            measured = measures(judged, taxonomy)
            write_page(place, shards, judged, measured, taxonomy=taxonomy, model=model)
            found = search_result(judged, read_hits(place))
        typer.echo("\n".join(summary(place, steps, judged, measured, found=found, model=model)))
        return 0


@contextmanager
def _timed(steps: list[Step], doing: str, done: str, where: str = "") -> Iterator[None]:
    """Announce a step on standard error, and add it to `steps` with its duration when it is done."""
    from vqa_ray.jobs.demo.summary import Step
    from vqa_ray.jobs.runtime.logs import console

    print(f"[{len(steps) + 1}/{_STEPS}] {doing} …", file=console())
    begun = time.monotonic()
    yield
    steps.append(Step(done, time.monotonic() - begun, where))


def _request(place: Path, output: str, model: str, quiet: bool) -> dict[str, object]:
    from vqa_ray.jobs.demo.directory import PRODUCTS

    # A demo of one product has more damaged rows than sound ones, and that is no failure.
    limits = {"max_error_fraction": 1.0}
    return {"input": str(place / PRODUCTS), "output": str(place / output), "model": model, "quiet": quiet, **limits}


def _tag(place: Path, model: str, quiet: bool) -> None:
    from vqa_ray.jobs import tag
    from vqa_ray.jobs.demo.directory import TAGS
    from vqa_ray.jobs.spec.images import TagSpec

    _succeeded(tag.run(TagSpec.model_validate(_request(place, TAGS, model, quiet)), None), place / TAGS)


def _answer(place: Path, model: str, quiet: bool) -> None:
    from vqa_ray.jobs import answer
    from vqa_ray.jobs.demo.directory import ANSWERS
    from vqa_ray.jobs.spec.images import AnswerSpec

    request = AnswerSpec.model_validate(_request(place, ANSWERS, model, quiet))
    _succeeded(answer.run(request, None), place / ANSWERS)


def _index(place: Path, encoder: str, quiet: bool) -> None:
    from vqa_ray.jobs.demo.directory import INDEX
    from vqa_ray.jobs.index import command as index
    from vqa_ray.jobs.index.spec import IndexSpec

    request = IndexSpec.model_validate(_request(place, INDEX, encoder, quiet))
    _succeeded(index.run(request, None), place / INDEX)


def _search(place: Path, model: str) -> None:
    from vqa_ray.jobs.demo.directory import HITS, HITS_PAGE, INDEX, TAGS
    from vqa_ray.jobs.search import command as search
    from vqa_ray.jobs.search.spec import SearchSpec

    found = {"output": str(place / HITS), "gallery": str(place / HITS_PAGE), "top_k": 12, "candidates": 100}
    asked = {"text": TEXT, "verify": VERIFY, "verify_model": model, "tags": str(place / TAGS), "quiet": True}
    _succeeded(search.run(SearchSpec.model_validate({"index": str(place / INDEX), **asked, **found})), place / HITS)


def _succeeded(code: int, output: Path) -> None:
    if code != 0:
        raise RunError(f"{output}: the run ended with exit code {code}")


if __name__ == "__main__":
    from vqa_ray.jobs.cli import main

    sys.exit(main(["demo", *sys.argv[1:]]))
