"""`vqa-ray watch`: the progress of a run, from its directory."""

from __future__ import annotations

import logging
import time

import typer

from vqa_ray.errors import RequestError
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.jobs.runtime.listener import address_of, is_loopback, listen
from vqa_ray.jobs.runtime.signals import STOP
from vqa_ray.jobs.watch.live_page import serve
from vqa_ray.jobs.watch.spec import WatchSpec
from vqa_ray.report.live_report import live_text
from vqa_ray.report.plots import check_plots
from vqa_ray.report.templates import environment
from vqa_ray.runs.directory import RunDirectory, require_directory
from vqa_ray.runs.run_state import RunState, read_state
from vqa_ray.storage.filesystem import exists
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.storage.uri import join, redacted_uri

logger = logging.getLogger(__name__)

_UNWATCHED = ("finetune",)


def run(spec: WatchSpec) -> None:
    """Print the state, and serve its page until Ctrl-C.

    Raises:
        KeyboardInterrupt: a signal ended it.
    """
    require_directory(spec.run, spec.run, "the --output of a run (there is none while a command lists its input)")
    state = _state(spec.run)
    if state.record.job in _UNWATCHED:
        page = redacted_uri(join(spec.run, "training.html"))
        raise RequestError(
            f"{spec.run}: a run of {state.record.job}, which writes a page of its own at its end: {page}"
        )
    typer.echo(live_text(state))
    if spec.once:
        return
    check_plots()
    environment("vqa_ray.report", "the page of a run")
    with listen(spec.host, spec.port) as listener:
        if not is_loopback(listener):
            logger.warning("Everyone who reaches this machine can see this page; it has no password.")
        typer.echo(f"{spec.run} at {address_of(spec.host, listener)} (Ctrl-C ends it)")
        serve(listener, lambda: _state(spec.run), [*spec.allow_host, spec.host])
    if STOP.received is not None:
        raise KeyboardInterrupt


def _state(uri: str) -> RunState:
    try:
        return read_state(
            uri, time.time(), None if exists(RunDirectory(uri).record) else IndexDirectory(uri).last_run()
        )
    except store_failures() as error:
        raise RequestError(f"{uri}: cannot be read: {store_reason(error, named=True)}") from error
