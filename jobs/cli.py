"""The command `vqa-ray`: from arguments to an exit code.

Imports next to nothing, so that signals are heeded from the beginning; `vqa_ray.jobs.typer_app` makes the options.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from vqa_ray.errors import (
    DriftError,
    OutageError,
    OutputTakenOverError,
    RequestError,
    SubmittedJobError,
    TooManyErrors,
    VqaRayError,
    one_line,
)
from vqa_ray.jobs.commands import COMMANDS, imported
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.runtime.signals import STOP, describe, leave
from vqa_ray.jobs.runtime.store_failures import describe_store_failure, is_store_failure

FAILED, REFUSED, TOO_MANY_ERRORS, OUTAGE = 1, 2, 3, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command. None: those of this process, which is the command's alone and ends with it.

    Returns:
        The exit code: 0 all good, 1 failed, 2 a wrong request, 3 finished with too many failed rows or too much drift,
        4 a store of images was down for too long, 128 + N stopped by signal N.
    """
    if arguments is not None:
        return _run(list(arguments))
    _open_closed_streams()
    # Progress bars of other packages: this one logs lines of its own.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    given = sys.argv[1:]
    STOP.describe_end = lambda number: _stopped(given, number)
    STOP.install()
    try:
        code = _run(given)
    except (KeyboardInterrupt, SystemExit):
        # Only a signal makes this an ordinary end.
        if STOP.received is None:
            raise
        code = _say(*_stopped(given, STOP.received))
    return leave(code)


def _open_closed_streams() -> None:
    """Open the null device for standard streams that the caller has closed (`>&-`), for which Python has None.

    The next file that is opened would have their numbers, and child processes would write into it.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY), encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def exit_code(result: RunResult | None) -> int:
    """Give 0 for all good, 1 where rows are missing or doubled, 3 where too many rows failed."""
    if result is None:
        return 0
    if result.integrity_errors:
        return FAILED
    return TOO_MANY_ERRORS if result.has_too_many_errors else 0


def _run(given: list[str]) -> int:
    name = given[0] if given and given[0] in COMMANDS else None
    try:
        result = imported("typer_app").call(given, name, COMMANDS)
    except KeyboardInterrupt:
        return _say_stopped(given)
    except VqaRayError as error:
        if STOP.received is not None and not isinstance(error, OutputTakenOverError):
            return _say_stopped(given)
        excerpt = getattr(error, "excerpt", "").splitlines()
        return _say("\n".join([f"{_prefix(name)}: {one_line(error, 2000)}", *excerpt]), _code_of(error))
    except Exception as error:
        # A store may refuse anywhere; everything else is a fault of the program, with its traceback.
        if not is_store_failure(error):
            raise
        return _say(f"{_prefix(name)}: {describe_store_failure(error)}", REFUSED)
    code = exit_code(result)
    return _say_stopped(given) if code and STOP.received is not None else code


def _code_of(error: VqaRayError) -> int:
    if isinstance(error, SubmittedJobError):
        return error.exit_code
    if isinstance(error, TooManyErrors | DriftError):
        return TOO_MANY_ERRORS
    if isinstance(error, OutageError):
        return OUTAGE
    return REFUSED if isinstance(error, RequestError) else FAILED


def _say_stopped(given: Sequence[str]) -> int:
    return _say(*_stopped(given, signal.SIGINT if STOP.received is None else STOP.received))


def _stopped(given: Sequence[str], number: int) -> tuple[str, int]:
    """Give the line that says why the command was interrupted, and the exit code."""
    name = given[0] if given and given[0] in COMMANDS else None
    if STOP.has_lost_output:
        return f"{_prefix(name)}: another process has taken over the output; what this one finished is kept", FAILED
    resumes = name is not None and COMMANDS[name].resumes
    hint = "; the same command goes on from here" if resumes else ""
    return f"{_prefix(name)}: stopped by {describe(number)}{hint}", 128 + number


def _prefix(name: str | None) -> str:
    return "vqa-ray" if name is None else f"vqa-ray {name}"


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
