"""The inputs of a search: its query, the verification of candidates, pictures of the hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vqa_ray.errors import RequestError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.index.reader import Index
from vqa_ray.index.search import query
from vqa_ray.index.search.scoring import Query
from vqa_ray.index.search.verify import Verification
from vqa_ray.index.source_images import SourceImages
from vqa_ray.jobs.runtime.answer_cache import cache_of
from vqa_ray.jobs.runtime.calibration import read_calibration
from vqa_ray.jobs.runtime.endpoint import endpoint_of
from vqa_ray.jobs.runtime.image_limits import image_limits
from vqa_ray.jobs.runtime.model import engine_of, open_checkpoint
from vqa_ray.jobs.runtime.predicate import parse_checked
from vqa_ray.jobs.search.spec import SearchSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.endpoint.probe import require_answer
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.storage.uri import redacted_uri


def verification_from_spec(spec: SearchSpec) -> Verification | None:
    """Build the verification of candidates, checked against the model that answers; None where there is none.

    Raises:
        RequestError: the expression does not parse, or the model cannot answer it.
    """
    if spec.verify is None or spec.verify_model is None:
        return None
    model = open_checkpoint(spec, spec.verify_model)
    model.family.require("score", spec.verify_model)
    endpoint = endpoint_of(spec, spec.verify_model, "--verify-model")
    options = ModelOptions.of(
        model,
        device=spec.device,
        dtype=spec.dtype,
        prompt_template=spec.prompt_template,
        endpoint=endpoint,
        cache=cache_of(spec),
        **engine_of(spec),
    )
    options.check()
    if endpoint is not None:
        options = replace(options, endpoint=require_answer(spec.verify_model, endpoint))
    calibration = read_calibration(spec.calibration, model)
    predicate = parse_checked(
        "--verify", spec.verify, model, calibration, spec.calibration, threshold=spec.threshold, combine=spec.combine
    )
    return Verification(options, predicate, image_limits(spec), spec.allow_http)


def query_of(spec: SearchSpec, model: Checkpoint) -> Query:
    """Embed the text and the image of a query. The image is read before the model is loaded.

    Raises:
        RequestError: the image cannot be read, or the model fails.
    """
    image, limits = None, image_limits(spec)
    if spec.image is not None:
        try:
            data = query.fetch_image(spec.image, limits, allow_http=spec.allow_http)
            image = query.decode_image(data, model.transform, limits)
        except RequestError as error:
            raise RequestError(f"--image {redacted_uri(spec.image)}: {error}") from error
    encoder = ModelOptions.of(model, device=spec.device, dtype=spec.dtype).load_encoder()
    return query.query_of(encoder, spec.text, image)


def pictures(spec: SearchSpec, index: Index, positions: Sequence[int]) -> list[bytes | None]:
    """Get a picture of each hit: its thumbnail or, where the index has none, the image itself if it is available."""
    found = index.thumbnails(positions)
    missing = [hit for hit, thumbnail in enumerate(found) if thumbnail is None]
    if missing:
        fetch = FetchImages(ImageFetcher(spec.max_image_bytes, allow_http=spec.allow_http))
        images = fetch(SourceImages(index).read([positions[hit] for hit in missing]))["image"]
        for hit, image in zip(missing, images, strict=True):
            found[hit] = image.as_py()
    return found
