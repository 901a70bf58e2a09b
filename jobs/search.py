"""`vqa-ray search`: the images of an index that are most like a text or an image, verified by a VQA model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jobs.options import command
from jobs.search_spec import SearchSpec
from vqa_ray.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vqa_ray.images import ImageLimits
    from vqa_ray.models.load import ModelInfo
    from vqa_ray.retrieval.index import Index
    from vqa_ray.retrieval.scoring import Query
    from vqa_ray.retrieval.verify import Check


def run(spec: SearchSpec) -> int:
    """Search, and print or write what was found; gives the exit code."""
    from jobs import logs, search_output
    from jobs.search_told import Outcome
    from vqa_ray.retrieval.index import open_index
    from vqa_ray.retrieval.query import encoder_of
    from vqa_ray.retrieval.results import Ranked, settled, table_of
    from vqa_ray.retrieval.rows import KnownRows
    from vqa_ray.retrieval.search import search as search_index
    from vqa_ray.retrieval.verify import Verifier

    logs.configure(spec.quiet, spec.log_format)
    check = check_of(spec)
    index = open_index(spec.index)
    model = encoder_of(index.version, spec.model)
    if not index.version.ok:
        raise RequestError(f"{spec.index}: nothing to search: none of its {len(index):,} rows has a vector")
    rows = KnownRows(index, spec.tags)
    filter = None if spec.filter is None else rows.matching(spec.filter)
    query = query_of(spec, model)
    hits = search_index(index, query, top_k=spec.wanted, filter=filter, exact=True if spec.exact else None)
    ranked, verified = Ranked(hits.positions, hits.scores), None
    if check is not None and len(hits.positions):
        verified = Verifier(check, index)(hits.positions.tolist(), spec.top_k)
        ranked = settled(hits.positions, hits.scores, verified, spec.top_k)
    table = table_of(ranked, rows.take(ranked.positions))
    outcome = Outcome(spec, index, model, rows.tagged, hits, verified, table)
    search_output.write(outcome, spec.output)
    if spec.gallery is not None:
        search_output.write_page(outcome, pictures(spec, index, ranked.positions.tolist()), spec.gallery)
    outcome.tell()
    return 0


def check_of(spec: SearchSpec) -> Check | None:
    """What candidates are asked, checked against the model that is to answer; None where nothing is.

    Raises:
        RequestError: the expression does not parse, or the model cannot answer it.
    """
    from jobs.predicate import predicate_of
    from jobs.work import read_calibration
    from vqa_ray.models.load import ModelOptions, describe
    from vqa_ray.retrieval.verify import Check

    if spec.verify is None or spec.verify_model is None:
        return None
    model = describe(spec.verify_model)
    model.kind.require("score", spec.verify_model)
    options = ModelOptions(spec.verify_model, spec.device, spec.dtype, prompt_template=spec.prompt_template)
    options.check(model.kind)
    calibration = read_calibration(spec.calibration, model)
    predicate = predicate_of(
        "--verify", spec.verify, model, calibration, spec.calibration, threshold=spec.threshold, combine=spec.combine
    )
    return Check(options, predicate, model.kind.is_generative, limits_of(spec), spec.allow_http)


def query_of(spec: SearchSpec, model: ModelInfo) -> Query:
    """The vectors of what is looked for. The image is read before the model is loaded.

    Raises:
        RequestError: the image cannot be read, or the model fails.
    """
    from vqa_ray.models.load import load_encoder, load_transform
    from vqa_ray.retrieval import query
    from vqa_ray.storage import shown_uri

    image, limits = None, limits_of(spec)
    if spec.image is not None:
        try:
            data = query.fetch_image(spec.image, limits, allow_http=spec.allow_http)
            image = query.decode_image(data, load_transform(model.reference), limits)
        except RequestError as error:
            raise RequestError(f"--image {shown_uri(spec.image)}: {error}") from error
    encoder = load_encoder(model.reference, device=spec.device, dtype=spec.dtype)
    return query.query_of(encoder, spec.text, image)


def pictures(spec: SearchSpec, index: Index, positions: Sequence[int]) -> list[bytes | None]:
    """A picture of each hit: its thumbnail or, where the index has none, the image itself if it can be had."""
    from vqa_ray.stages.fetch import FetchImages

    found = index.thumbnails(positions)
    missing = [place for place, thumbnail in enumerate(found) if thumbnail is None]
    if missing:
        fetch = FetchImages(limits_of(spec), allow_http=spec.allow_http)
        images = fetch(index.images([positions[place] for place in missing]))["image"]
        for place, image in zip(missing, images, strict=True):
            found[place] = image.as_py()
    return found


def limits_of(spec: SearchSpec) -> ImageLimits:
    """What an image may cost."""
    from vqa_ray.images import ImageLimits

    return ImageLimits(max_image_bytes=spec.max_image_bytes, max_image_pixels=spec.max_image_pixels)


search = command(SearchSpec, run, retries=False)

if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["search", *sys.argv[1:]]))
