"""The command `vqa-ray`. Only the command that is called is imported, so that help is quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from vqa_ray.errors import RequestError, VqaRayError, one_line

# Command → its one line in the list of commands. The function of that name in `jobs.<command>` is it.
COMMANDS = {
    "answer": "Ask questions of images; one answered row per input row.",
    "caption": "Describe images in a sentence; one captioned row per image.",
    "tag": "Tag images with the choices of a taxonomy.",
    "retrieve": "Find the images that fit an expression of questions.",
    "index": "Embed images, and keep an index of them up to date.",
    "calibrate": "Fit thresholds and probabilities to a labelled sample.",
    "search": "Find the images of an index that are most like a text or an image.",
    "browse": "Search an index, or look through results, on a local page.",
    "catalog": "Render a catalogue of product images with known truth.",
    "finetune": "Train ViLT on questions and answers of your own.",
    "demo": "Tag and question a small rendered catalogue.",
}
FAILED, REFUSED = 1, 2
# What Typer makes of Ctrl-C.
_INTERRUPTED = 130
_USAGE_ERROR: type[Exception] = typer.BadParameter.__base__ or typer.BadParameter


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 all good, 1 failed, 2 a wrong request, 3 finished with too many failed rows.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given and given[0] in COMMANDS else None
    app = _app(name)
    if name is None and not {"--help", "-h", "--version"} & set(given):
        return _unknown(given)
    try:
        code = app(args=_with_values(given), prog_name="vqa-ray", standalone_mode=False)
    except _USAGE_ERROR as error:
        return _say(f"vqa-ray {name}: {one_line(error.format_message())}", REFUSED)  # type: ignore[attr-defined]
    except RequestError as error:
        lines = [f"vqa-ray {name}: {one_line(error, 2000)}", *error.excerpt.splitlines()]
        return _say("\n".join(lines), REFUSED)
    except VqaRayError as error:
        return _say(f"vqa-ray {name}: {one_line(error, 2000)}", FAILED)
    if code == _INTERRUPTED:
        return _say(f"vqa-ray {name}: interrupted; the same command goes on from here", FAILED)
    return int(code or 0)


def _app(name: str | None) -> Any:
    app = typer.Typer(
        help="Ask questions of millions of images on a Ray cluster; typed, resumable answers as Parquet.",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_version)
    for command, line in COMMANDS.items():
        function = _imported(command) if command == name else _stub
        app.command(command, **({} if command == name else {"help": line}))(function)
    return app


def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and leave.", is_eager=True),
) -> None:
    """Ask questions of millions of images on a Ray cluster; typed, resumable answers as Parquet."""
    if version:
        from vqa_ray import __version__

        typer.echo(__version__)
        raise typer.Exit


def _imported(command: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(importlib.import_module(f"jobs.{command}"), command)
    return function


def _stub() -> None:
    """Stands for a command that was not called."""


def _with_values(arguments: list[str]) -> list[str]:
    """`--retry-failed` without a value means all of them."""
    filled = []
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        filled.append("--retry-failed=all" if argument == "--retry-failed" and following.startswith("-") else argument)
    return filled


def _unknown(given: list[str]) -> int:
    known = ", ".join(COMMANDS)
    if not given:
        return _say(f"vqa-ray: wanted a command: {known}; see vqa-ray --help", REFUSED)
    return _say(f"vqa-ray: unknown command {given[0]!r}; known are {known}", REFUSED)


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
