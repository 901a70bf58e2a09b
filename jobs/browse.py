"""`vqa-ray browse`: a local page to search an index, and to look through the results of a run."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vqa_ray.errors import RequestError, one_line
from vqa_ray.jobs.runtime.signals import STOP

if TYPE_CHECKING:
    from vqa_ray.browse.search import Finder, VerifierConfig
    from vqa_ray.images.decode import ImageLimits
    from vqa_ray.index.reader import Index
    from vqa_ray.predicates.predicate import Predicate

logger = logging.getLogger(__name__)

_MIB = 2**20


def browse(
    *,
    what: Annotated[
        str, typer.Argument(metavar="INDEX_OR_RESULTS", help="An index, or a run of answer, tag, caption or retrieve.")
    ],
    tags: Annotated[str | None, typer.Option(help="Run of tag over the same images, to narrow by.")] = None,
    index: Annotated[
        str | None, typer.Option(help="Index of the same images, whose thumbnails are the pictures of a run.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The index's model, where it has moved.")] = None,
    verify_model: Annotated[str | None, typer.Option(help="Model that answers questions about hits.")] = None,
    device: Annotated[str | None, typer.Option(help="Device of the models: cpu, cuda; the best found without.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; others than this machine's own open it.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen at; 0 for any that is free.", min=0, max=65_535)] = 8765,
    allow_host: Annotated[list[str] | None, typer.Option(help="Name that browsers may ask by. Repeatable.")] = None,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Show and verify images of http:// and https:// too.")
    ] = False,
    max_upload: Annotated[int, typer.Option(help="Largest image to search by, in MiB.", min=1, max=1024)] = 16,
    timeout: Annotated[float, typer.Option(help="How long a search is waited for, in seconds.", min=1)] = 120.0,
) -> int:
    """Show an index or the results of a run as a local web page. Nothing is written; Ctrl-C ends it."""
    from vqa_ray.browse.dataset import open_collection
    from vqa_ray.browse.server import Server, Settings
    from vqa_ray.browse.templates import check
    from vqa_ray.images.decode import ImageLimits
    from vqa_ray.jobs.runtime import logs

    logs.configure(False, "text")
    check()
    listener = _listen(host, port)
    with listener:
        collection = open_collection(what, tags=tags, index=index, allow_http=allow_http)
        limits = ImageLimits(max_image_bytes=max_upload * _MIB)
        finder = None
        if collection.index is not None:
            asking = None if verify_model is None else _asking(verify_model, device, allow_http)
            finder = _finder(collection.index, model, device, limits, asking)
        elif model is not None or verify_model is not None:
            option = "--model" if model is not None else "--verify-model"
            raise RequestError(f"{option}: {what} is no index but the results of {collection.kind}; nothing is asked")
        settings = Settings([*(allow_host or ()), host], limits, timeout)
        server = Server(collection, finder, can_verify=verify_model is not None, settings=settings)
        shown = f"[{host}]" if ":" in host else host
        if not _is_loopback(listener):
            logger.warning("Everyone who reaches this machine can see this page and search by it; it has no password.")
        typer.echo(
            f"{len(collection):,} rows of {what} at http://{shown}:{listener.getsockname()[1]}/ (Ctrl-C ends it)"
        )
        server.run(listener)
    return 0 if STOP.received is None else STOP.exit_code


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything is read.

    Raises:
        RequestError: the address or the port cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except socket.gaierror as error:
        raise RequestError(f"--host {host}: no such address: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RequestError(f"--port {port}: another program listens there; another port, or 0 for any") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise RequestError(f"--port {port}: not allowed; those from 1024 on are") from error
        raise RequestError(f"--host {host} --port {port}: {error.strerror}") from error
    return listener


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _finder(
    index: Index, model: str | None, device: str | None, limits: ImageLimits, asking: VerifierConfig | None
) -> Finder | None:
    """What searches the index; None, and a warning, where its model is not to be had and none was named."""
    from vqa_ray.browse.search import Finder
    from vqa_ray.index.search.query import encoder_of
    from vqa_ray.models.load import ModelOptions

    try:
        encoder = encoder_of(index.version, model)
    except RequestError as error:
        if model is not None or asking is not None:
            raise
        logger.warning("%s", one_line(error, 2000))
        logger.warning("The page can be searched for words only.")
        return None
    return Finder(index, encoder, ModelOptions(encoder.reference, device), limits, asking)


def _asking(reference: str, device: str | None, allow_http: bool) -> VerifierConfig:
    from vqa_ray.browse.search import VerifierConfig
    from vqa_ray.jobs.runtime.predicate import predicate_of
    from vqa_ray.models.load import ModelOptions, describe

    info = describe(reference)
    info.kind.require("score", reference)

    def parse(text: str) -> Predicate:
        return predicate_of("verify", text, info, None, None, threshold=0.5, combine="min-max")

    return VerifierConfig(ModelOptions(reference, device), parse, info.kind.is_generative, allow_http)


if __name__ == "__main__":
    from vqa_ray.jobs.cli import main

    sys.exit(main(["browse", *sys.argv[1:]]))
