"""Vectors of a query by the encoder of an index."""

from __future__ import annotations

from vqa_ray.errors import RequestError, RowError, one_line
from vqa_ray.images.decoder import ImageLimits, decode_for
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.index.search.scoring import Query
from vqa_ray.index.version import Version
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.protocols import Encoder
from vqa_ray.types import Image, ImageTransform


def encoder_of(version: Version, reference: str | None = None) -> Checkpoint:
    """Return the model that an index is searched with: the one it was built with.

    Args:
        version: of the index.
        reference: where that model is; where it was when the index was built, without.

    Raises:
        RequestError: no model is there, or another one; both are named.
    """
    built = version.model
    where = reference or str(built["reference"])
    try:
        model = Checkpoint.open(where)
    except RequestError as error:
        hint = "" if reference else "; the index was built with it: --model names where it is now"
        raise RequestError(f"{error}{hint}") from error
    model.family.require("embed", where)
    if model.fingerprint != built["fingerprint"]:
        raise RequestError(
            f"the index was built with model {built['reference']} ({built['fingerprint']}), {where} is another "
            f"({model.fingerprint}); their vectors cannot be compared"
        )
    shape = model.shape
    if (shape.vectors, shape.dimension) != (version.vectors, version.dimension):
        raise RequestError(
            f"the index was built with model {built['reference']} and holds {version.vectors} × {version.dimension} "
            f"numbers per image, model {where} makes {shape.vectors} × {shape.dimension}"
        )
    return model


def fetch_image(uri: str, limits: ImageLimits, *, allow_http: bool = False) -> bytes:
    """Return the bytes of an image to search by.

    Raises:
        RequestError: the image cannot be fetched; the message begins with the error code.
    """
    try:
        return ImageFetcher(limits.max_image_bytes, allow_http=allow_http).fetch(uri)
    except RowError as error:
        raise RequestError(str(error)) from error


def decode_image(data: bytes, transform: ImageTransform, limits: ImageLimits) -> Image:
    """Return an image to search by, of the size that the encoder wants: uint8 (H, W, 3).

    Raises:
        RequestError: the image cannot be decoded; the message begins with the error code.
    """
    try:
        return decode_for(data, limits, transform)
    except RowError as error:
        raise RequestError(str(error)) from error


def query_of(encoder: Encoder, text: str | None = None, image: Image | None = None) -> Query:
    """Encode a text, an image or both.

    Args:
        encoder: of the index.
        text: to search for; None for none.
        image: uint8 (H, W, 3) of the size that the encoder wants.

    Raises:
        RequestError: the model fails on them.
    """
    try:
        return Query(
            None if text is None else encoder.encode_texts([text])[0],
            None if image is None else encoder.encode_images([image])[0],
        )
    except Exception as error:
        # A model may raise anything on an input it cannot take.
        raise RequestError(f"the model cannot embed the query: {one_line(repr(error))}") from error
