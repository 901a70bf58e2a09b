"""`vqa-ray review`: a person's verdicts on a sample of a run, given on a local page or in another tool."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer

from vqa_ray.browse.dataset import Collection, open_collection
from vqa_ray.browse.templates import check
from vqa_ray.errors import RequestError, one_line
from vqa_ray.jobs.runtime.listener import address_of, is_loopback, listen
from vqa_ray.jobs.runtime.output_file import check_file
from vqa_ray.jobs.runtime.recorded_taxonomy import recorded_taxonomy
from vqa_ray.jobs.runtime.signals import STOP
from vqa_ray.jobs.spec.pages import ReviewSpec
from vqa_ray.judging.record import EvaluationRecord
from vqa_ray.review import fiftyone, label_studio
from vqa_ray.review.annotations import Annotation, labels_of
from vqa_ray.review.items import TAG, Items
from vqa_ray.review.label_file import LabelFile, only_writer
from vqa_ray.review.pictures import ReviewPictures
from vqa_ray.review.server import ReviewServer
from vqa_ray.review.session import Review, user_name
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.store_errors import refused

logger = logging.getLogger(__name__)

_READERS: Mapping[str, Callable[[Any], Iterator[Annotation]]] = {
    "label-studio": label_studio.annotations_of,
    "fiftyone": fiftyone.annotations_of,
}


def run(spec: ReviewSpec) -> None:
    """Serve the page until Ctrl-C, or import the verdicts of a file.

    Raises:
        KeyboardInterrupt: a signal ended it.
    """
    check_file("--output", spec.output)
    with only_writer(spec.output):
        if spec.import_file is not None and spec.origin is not None:
            _import(spec, spec.import_file, spec.origin)
        else:
            _serve(spec)


def _open(spec: ReviewSpec) -> Collection:
    with refused(f"{spec.run}: cannot be read"):
        evaluation = EvaluationRecord.read(spec.run)
    if evaluation is not None:
        raise RequestError(
            f"{spec.run}: is an evaluation; review takes the run that it judged: {evaluation.predictions}"
        )
    collection = open_collection(spec.run, index=spec.index, allow_http=spec.allow_http)
    for note in collection.notes:
        logger.warning("%s: %s", spec.run, note)
    return collection


def _serve(spec: ReviewSpec) -> None:
    check()
    with listen(spec.host, spec.port) as listener:
        collection = _open(spec)
        items = Items(collection, _questions(spec.run))
        strategy = spec.strategy or ("random" if spec.by is None else "stratified")
        sample = items.sample(strategy, spec.sample, spec.seed, spec.by)
        by = f" by {spec.by or TAG}" if strategy in ("stratified", "diverse") else ""
        words = f"{strategy}{by}, {len(sample):,} of {len(items):,}, seed {spec.seed}"
        review = Review(sample, LabelFile.open(spec.output), words, spec.reviewer or user_name())
        pictures = ReviewPictures(collection, spec.output)
        server = ReviewServer(collection, items, review, pictures, [*spec.allow_host, spec.host])
        if not is_loopback(listener):
            logger.warning("Everyone who reaches this machine can give verdicts on this page; it has no password.")
        done = review.progress
        typer.echo(
            f"{done.done:,} of {done.total:,} reviewed ({words}); at {address_of(spec.host, listener)} (Ctrl-C ends it)"
        )
        server.run(listener)
    if STOP.received is not None:
        raise KeyboardInterrupt


def _import(spec: ReviewSpec, uri: str, origin: str) -> None:
    with refused(f"--import {uri}: cannot be read"):
        data = read_bytes(uri)
    items = Items(_open(spec), _questions(spec.run))
    try:
        found = labels_of(
            _READERS[origin](json.loads(data)),
            items,
            f"imported from {origin}",
            spec.reviewer or user_name(),
            absent_is_wrong=origin == "fiftyone",
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise RequestError(f"--import {uri}: not an export of {origin}: {one_line(error)}") from error
    deleted = f", {found.deleted:,} of them wrong: their labels were deleted" if found.deleted else ""
    left_out = "".join(f"; {count:,} left out: {reason}" for reason, count in found.left_out.items())
    if not found.labels:
        raise RequestError(f"--import {uri}: holds no verdict on {spec.run}{left_out}")
    LabelFile.open(spec.output).add(*found.labels)
    typer.echo(f"{len(found.labels):,} verdicts{deleted} → {spec.output}{left_out}")


def _questions(run: str) -> dict[str, str]:
    """Return attribute → question of a run of `tag`; of choices that are each a question of their own, none."""
    record = RunRecord.read(RunDirectory(run).record)
    if record is None or record.job != "tag":
        return {}
    try:
        attributes = recorded_taxonomy(record, run).attributes
    except RequestError as error:
        logger.warning("%s; attributes are asked for by their names", one_line(error))
        return {}
    return {each.name: each.question for each in attributes if each.mode == "choices"}
