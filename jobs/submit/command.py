"""`vqa-ray submit`: check a command here, run it on a cluster."""

from __future__ import annotations

import logging
import shlex
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer

from vqa_ray import __version__
from vqa_ray.durations import duration
from vqa_ray.errors import RequestError
from vqa_ray.jobs import typer_app
from vqa_ray.jobs.commands import COMMANDS
from vqa_ray.jobs.spec.groups import LoggingGroup
from vqa_ray.jobs.submit import attempts
from vqa_ray.jobs.submit.client import connect
from vqa_ray.jobs.submit.follow import Follower, stop
from vqa_ray.jobs.submit.local_paths import PRINTED, files_to_send
from vqa_ray.jobs.submit.package import runtime_environment
from vqa_ray.jobs.submit.spec import SubmitSpec
from vqa_ray.storage.uri import redacted_uri

logger = logging.getLogger(__name__)

# They show a page or ask a person, or write where this command runs.
_NOT_SUBMITTED = ("browse", "review", "watch", "demo", "submit")
_OWN_OPTIONS = ("--package", "--runtime-env", "--env", "--no-wait", "--list", "--stop", "--logs")


def run(spec: SubmitSpec) -> None:
    """Submit and follow a job, or list, stop or show submitted ones."""
    if spec.job:
        _submit(spec)
        return
    client = connect(spec.address)
    if spec.list_jobs:
        typer.echo("\n".join(_table(attempts.attempts(client))))
    elif spec.stop is not None:
        stop(client, attempts.find(client, "--stop", spec.stop).id)
    elif spec.logs is not None:
        job = attempts.find(client, "--logs", spec.logs).id
        follower = Follower(client, job)
        follower.follow() if spec.wait else follower.show()


def _submit(spec: SubmitSpec) -> None:
    name = spec.job[0]
    if name in _NOT_SUBMITTED:
        raise RequestError(f"{name}: runs where it is called; wanted a command that reads and writes files")
    line, address = _without(spec.job, "--address")
    _refuse_own_options(line)
    _refuse_other_text(line)
    job = typer_app.parse(line, COMMANDS)
    if job is None:
        return
    if getattr(job, "address", None):
        raise RequestError(f"{_value(line, '--spec')}: address: stands in the way of submit; give it as --address")
    if address and spec.address and address != spec.address:
        raise RequestError(f"--address: given twice, as {spec.address!r} and {address!r}; wanted once")
    files = _files(line, job)
    output = getattr(job, "output", None)
    metadata = {"vqa-ray": __version__, "command": name}
    if isinstance(output, str) and output not in PRINTED:
        base = attempts.base_id(name, [output.rstrip("/")])
        metadata["output"] = redacted_uri(output)
    else:
        base = attempts.base_id(name, line)
    with tempfile.TemporaryDirectory(prefix="vqa-ray-submit-") as scratch:
        environment = runtime_environment(spec.runtime_env, spec.package, spec.env, files, Path(scratch))
        client = connect(spec.address or address)
        entrypoint = shlex.join(["python", "-m", "vqa_ray.jobs", *line])
        job_id, is_new = attempts.submit(client, base, attempts.JobRequest(entrypoint, environment, metadata))
    logger.info("%s %s at %s", job_id, "is submitted" if is_new else "is under way already", redacted_uri(client.url))
    if spec.wait:
        Follower(client, job_id).follow()


def _files(line: Sequence[str], job: LoggingGroup) -> list[str]:
    """List the files of a command to send along, with those of a command that it takes."""
    inner = list(getattr(job, "job", ()))
    own = line[: len(line) - len(inner)] if inner and list(line[-len(inner) :]) == inner else line
    files = files_to_send(job, _value(own, "--spec"))
    # `plan` parses it again where it runs; what is wrong with it is told here.
    taken = typer_app.parse(inner, COMMANDS) if inner else None
    return files if taken is None else sorted({*files, *_files(inner, taken)})


def _refuse_other_text(line: Sequence[str]) -> None:
    """Refuse bytes that are no text: the Jobs API takes JSON."""
    for word in line:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise RequestError(f"{word.encode('utf-8', 'backslashreplace').decode()}: is not UTF-8") from None


def _refuse_own_options(line: Sequence[str]) -> None:
    """Refuse options of submit behind the command, where `--no-wait` would be the command's own."""
    for word in line[1:]:
        option = word.partition("=")[0]
        if option in _OWN_OPTIONS:
            raise RequestError(
                f"{option}: is of submit and stands before the command: vqa-ray submit {option} … {line[0]} …"
            )


def _without(line: Sequence[str], option: str) -> tuple[list[str], str | None]:
    """Take an option out of a command line; give the rest and its last value.

    Raises:
        RequestError: the option stands at the end, without a value.
    """
    rest: list[str] = []
    value = None
    words = iter(line)
    for word in words:
        if word == option:
            value = next(words, None)
            if value is None:
                raise RequestError(f"{option}: wanted a value behind it")
        elif word.startswith(f"{option}="):
            value = word.partition("=")[2]
        else:
            rest.append(word)
    return rest, value


def _value(line: Sequence[str], option: str) -> str | None:
    return _without(line, option)[1]


def _table(jobs: Sequence[attempts.Attempt]) -> list[str]:
    """Lay out the jobs, the last first."""
    rows = [("ID", "STATUS", "EXIT", "STARTED (UTC)", "TOOK", "OUTPUT")]
    for each in reversed(jobs):
        details = each.details
        code = details.driver_exit_code
        metadata = details.metadata or {}
        rows.append(
            (
                each.id,
                str(details.status.value),
                "" if code is None else str(code),
                _time(details.start_time),
                _took(details.start_time, details.end_time),
                metadata.get("output", ""),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _time(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _took(start: int | None, end: int | None) -> str:
    return "" if start is None else duration((end or datetime.now(UTC).timestamp() * 1000) / 1000 - start / 1000)
