"""The command `vqa-ray`: from arguments to an exit code.

Imports next to nothing, so that signals are heeded from the beginning; `vqa_ray.jobs.typer_app` makes the options.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from vqa_ray.jobs.runtime.signals import STOP, describe, leave

# Command → its one line in the list of commands. The function of that name in `jobs.<command>` is it.
COMMANDS = {
    "answer": "Ask questions of images; one answered row per input row.",
    "caption": "Describe images in a sentence; one captioned row per image.",
    "tag": "Tag images with the choices of a taxonomy.",
    "retrieve": "Find the images that fit an expression of questions.",
    "index": "Embed images, and keep an index of them up to date.",
    "calibrate": "Fit thresholds and probabilities to a labelled sample.",
    "search": "Find the images of an index most like a text or an image.",
    "browse": "Search an index, or look through results, on a local page.",
    "export": "Write a run or an index as CSV, JSON Lines, COCO, or for other tools.",
    "catalog": "Render a catalogue of product images with known truth.",
    "models": "List the supported models, or print what one of them can do.",
    "finetune": "Train ViLT on questions and answers of your own.",
    "demo": "Tag and question a small rendered catalogue.",
}
FAILED, REFUSED, TOO_MANY_ERRORS = 1, 2, 3
INTERRUPTED = 130
# The commands that the same command line resumes.
_RESUMABLE = {"answer", "caption", "tag", "retrieve", "index", "finetune"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command. None: those of this process, which is the command's alone and ends with it.

    Returns:
        The exit code: 0 all good, 1 failed, 2 a wrong request, 3 finished with too many failed rows, 128 + N stopped
        by signal N.
    """
    if arguments is not None:
        return _run(list(arguments))
    # Bars of other packages; what takes long is told in lines of our own.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    given = sys.argv[1:]
    STOP.message = lambda number: _stopped(given, number)
    STOP.install()
    try:
        code = _run(given)
    except (KeyboardInterrupt, SystemExit):
        # Not ours to let pass unless a signal is the reason.
        if STOP.received is None:
            raise
        code = _say(_stopped(given, STOP.received), STOP.exit_code)
    return leave(code)


def _run(given: list[str]) -> int:
    from vqa_ray.errors import RequestError, TooManyErrors, VqaRayError, one_line
    from vqa_ray.storage.store_errors import store_reason

    name = given[0] if given and given[0] in COMMANDS else None
    try:
        from vqa_ray.jobs import typer_app

        code = typer_app.call(given, name, COMMANDS)
    except VqaRayError as error:
        if STOP.received is None:
            excerpt = getattr(error, "excerpt", "").splitlines()
            line = f"{_prefix(name)}: {one_line(error, 2000)}"
            code = REFUSED if isinstance(error, RequestError) else FAILED
            return _say("\n".join([line, *excerpt]), TOO_MANY_ERRORS if isinstance(error, TooManyErrors) else code)
        code = STOP.exit_code
    except Exception as error:
        # What a store refuses, wherever it is noticed; everything else is a fault of the program, with its traceback.
        if not _of_storage(error):
            raise
        reason = f"{type(error).__name__}: {store_reason(error)}"
        return _say(f"{_prefix(name)}: a file or its store failed: {reason}", FAILED if _begun() else REFUSED)
    if STOP.received is not None and code:
        return _say(_stopped(given, STOP.received), STOP.exit_code)
    if code == INTERRUPTED:
        return _say(_stopped(given, INTERRUPTED - 128), INTERRUPTED)
    return code


def _stopped(given: Sequence[str], number: int) -> str:
    """The line that says that a signal ended the command."""
    name = given[0] if given and given[0] in COMMANDS else None
    goes_on = "; the same command goes on from here" if name in _RESUMABLE else ""
    return f"{_prefix(name)}: stopped by {describe(number)}{goes_on}"


def _of_storage(error: Exception) -> bool:
    """Whether an error is one of a file system or an object store; those of botocore are no OSErrors."""
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or package in ("botocore", "aiobotocore", "gcsfs", "adlfs", "azure")


def _begun() -> bool:
    """Whether the work on rows has begun: what Ray runs is imported then."""
    return "vqa_ray.jobs.runtime.execute" in sys.modules or "vqa_ray.jobs.finetune.train" in sys.modules


def _prefix(name: str | None) -> str:
    return "vqa-ray" if name is None else f"vqa-ray {name}"


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
