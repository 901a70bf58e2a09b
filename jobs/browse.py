"""`vqa-ray browse`: a local page to search an index, and to look through the results of a run."""

from __future__ import annotations

import logging

import typer

from vqa_ray.browse.dataset import open_collection
from vqa_ray.browse.search import Finder, VerifierConfig
from vqa_ray.browse.server import Server, Settings
from vqa_ray.browse.templates import check
from vqa_ray.counted import counted
from vqa_ray.errors import RequestError, one_line
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.index.reader import Index
from vqa_ray.index.search.query import encoder_of
from vqa_ray.jobs.runtime.listener import address_of, is_loopback, listen
from vqa_ray.jobs.runtime.predicate import parse_checked
from vqa_ray.jobs.runtime.signals import STOP
from vqa_ray.jobs.spec.tools import BrowseSpec
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.named_device import named_device
from vqa_ray.predicates.predicate import Predicate

logger = logging.getLogger(__name__)

_MIB = 2**20


def run(spec: BrowseSpec) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        KeyboardInterrupt: a signal ended it.
    """
    check()
    if spec.device not in (None, "cpu"):
        named_device(spec.device)
    listener = listen(spec.host, spec.port)
    with listener:
        collection = open_collection(spec.what, tags=spec.tags, index=spec.index, allow_http=spec.allow_http)
        limits = ImageLimits(max_image_bytes=spec.max_upload * _MIB)
        finder = None
        if collection.index is not None:
            finder = _finder(spec, collection.index, limits)
        elif spec.model is not None or spec.verify_model is not None:
            option = "--model" if spec.model is not None else "--verify-model"
            raise RequestError(
                f"{option}: {spec.what} is no index but the results of {collection.job}, which needs no model"
            )
        settings = Settings([*spec.allow_host, spec.host], limits, spec.timeout)
        server = Server(collection, finder, can_verify=spec.verify_model is not None, settings=settings)
        if not is_loopback(listener):
            logger.warning("Everyone who reaches this machine can see this page and search by it; it has no password.")
        address = address_of(spec.host, listener)
        typer.echo(f"{counted(len(collection), 'row')} of {spec.what} at {address} (Ctrl-C ends it)")
        server.run(listener)
    if STOP.received is not None:
        raise KeyboardInterrupt


def _finder(spec: BrowseSpec, index: Index, limits: ImageLimits) -> Finder | None:
    """Build the searcher; None, with a warning, if the index's model is not available and no option names one."""
    verifier = None if spec.verify_model is None else _verifier(spec, spec.verify_model)
    try:
        encoder = encoder_of(index.version, spec.model)
    except RequestError as error:
        if spec.model is not None or verifier is not None:
            raise
        logger.warning("%s", one_line(error, 2000))
        logger.warning("The page can be searched for words only.")
        return None
    return Finder(index, ModelOptions.of(encoder, device=spec.device), limits, verifier)


def _verifier(spec: BrowseSpec, reference: str) -> VerifierConfig:
    model = Checkpoint.open(reference)
    model.family.require("score", reference)

    def parse(text: str) -> Predicate:
        return parse_checked("verify", text, model, None, None, threshold=0.5, combine="min-max")

    return VerifierConfig(ModelOptions.of(model, device=spec.device), parse, spec.allow_http)
