"""The Typer application of `vqa-ray`: its commands, `--help` in groups, `--version`, completion of the shell.

The options of a command are made from its spec. The module that runs it is imported once the spec is valid, so help and
refusals of wrong options are quick.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from vqa_ray import __version__
from vqa_ray.errors import RequestError, one_line
from vqa_ray.jobs.commands import Command, imported
from vqa_ray.jobs.runtime import logs
from vqa_ray.jobs.runtime.result import RunResult
from vqa_ray.jobs.spec.field import Spec, option_name
from vqa_ray.jobs.spec.groups import LoggingGroup
from vqa_ray.jobs.spec.options import SpecVariant, typer_function
from vqa_ray.process import gc_paused

_USAGE_ERROR: type[Exception] = typer.BadParameter.__base__ or typer.BadParameter
_PACKAGES = ("ray", "torch", "transformers", "pyarrow")
# In the order of `--help`; the groups of a command's own options come between.
_FIRST_GROUPS, _LAST_GROUPS = ("Arguments", "Input", "Model"), ("Output", "Cluster", "Logging", "Options")
# How many commands a message names that have an option.
_COMMANDS_TOLD = 4
# What click returns for a command that was interrupted.
_ABORTED = 130
_COMPLETION = "_VQA_RAY_COMPLETE"
# The variables in which shells pass the typed line: Bash, and all others.
_TYPED = ("_TYPER_COMPLETE_ARGS", "COMP_WORDS")

# What becomes of a valid spec, given with the module that runs it.
Handler = Callable[[LoggingGroup, str], None]


class GroupedCommand(TyperCommand):
    """A command whose `--help` shows the options by group, as plain text of any width.

    Its options take one value, once; what would keep the last of several in silence is refused.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Typer does, after the check of what was given twice or without content."""
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in order:
            if getattr(parameter, "multiple", False) or getattr(parameter, "is_flag", False):
                continue
            if order.count(parameter) > 1:
                raise RequestError(f"{_name(parameter)}: given {order.count(parameter)} times; wanted once")
            if values.get(parameter.name or "") == "":
                raise RequestError(f"{_name(parameter)}: is empty; wanted a value, or leave the option out")
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            given = values.get(getattr(error.param, "name", None) or "")
            if error.param is None or given is None:
                raise
            message = error.message.removeprefix("Value error, ").partition(", unable to parse")[0].rstrip(".")
            shown = "" if repr(given) in message else f", given {given!r}"
            raise RequestError(f"{_name(error.param)}: {message[:1].lower()}{message[1:]}{shown}") from None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in _FIRST_GROUPS}
        last: dict[str, list[tuple[str, str]]] = {name: [] for name in _LAST_GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                group = _group_of(parameter)
                (last if group in last else groups).setdefault(group, []).append(record)
        for title, records in (groups | last).items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def call(given: Sequence[str], name: str | None, commands: Mapping[str, Command]) -> RunResult | None:
    """Parse `given` and run the command `name`, one of `commands` or None.

    Returns:
        The result of the run; None for a command that makes none.

    Raises:
        KeyboardInterrupt: the command was interrupted.
        RequestError: the command line is wrong.
    """
    completing = bool(os.environ.get(_COMPLETION))
    if completing:
        name = _typed(commands)
    elif name is None:
        given = given or ["--help"]
        if given[0] == "--version":
            typer.echo("\n".join(versions()))
            return None
        if not _of_all_commands(given[0]):
            raise RequestError(_unknown(given[0], commands))
    results: list[RunResult | None] = []

    def run(spec: LoggingGroup, module: str) -> None:
        logs.configure(spec.quiet, spec.log_format)
        # Thousands of modules are made meanwhile, and nothing to collect.
        with gc_paused():
            command = imported(module)
        results.append(command.run(spec))

    _invoke(given, name, commands, run)
    return results[0] if results else None


def parse(line: Sequence[str], commands: Mapping[str, Command]) -> LoggingGroup | None:
    """Parse the line of a command, its name first, as the command itself would; run nothing.

    Returns:
        The spec; None where the line asks for help, which is printed.

    Raises:
        RequestError: the line is wrong.
    """
    if line[0] not in commands:
        raise RequestError(_unknown(line[0], commands))
    specs: list[LoggingGroup] = []
    _invoke(line, line[0], commands, lambda spec, _: specs.append(spec))
    return specs[0] if specs else None


def _invoke(given: Sequence[str], name: str | None, commands: Mapping[str, Command], handle: Handler) -> None:
    try:
        code = _app(name, commands, handle)(args=_with_values(given), prog_name="vqa-ray", standalone_mode=False)
    except _USAGE_ERROR as error:
        raise RequestError(_usage(error, commands)) from None
    if code == _ABORTED:
        raise KeyboardInterrupt


def versions() -> list[str]:
    """Lines of `--version`: of this package, of Python, and of the packages that matter. Imports none of them."""
    lines = [f"vqa-ray {__version__}", f"python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            lines.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{package} is not installed")
    return lines


def nearest(wrong: str, known: Sequence[str]) -> str:
    """`; did you mean X?` where a known word is like the wrong one, else empty."""
    found = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def _app(name: str | None, commands: Mapping[str, Command], handle: Handler) -> typer.Typer:
    app = typer.Typer(
        help="Ask questions of millions of images on a Ray cluster; typed, resumable answers as Parquet.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_version)
    for each, command in commands.items():
        if each == name:
            settings = {"allow_interspersed_args": not command.takes_command}
            app.command(each, cls=GroupedCommand, context_settings=settings)(_function(command, handle))
        else:
            app.command(each, cls=GroupedCommand, help=command.summary)(_stub)
    return app


def _version(version: bool = typer.Option(False, "--version", help="Print versions and leave.")) -> None:
    """Ask questions of millions of images on a Ray cluster; typed, resumable answers as Parquet."""


def _function(command: Command, handle: Handler) -> Callable[..., None]:
    """Make the Typer function of a command; it gives the spec and the module that runs it to `handle`."""
    modules: dict[type[Spec], str] = {imported(command.spec): command.module}
    variant = None
    if command.variant is not None:
        variant = SpecVariant(command.variant.option, imported(command.variant.spec))
        modules[variant.kind] = command.variant.module
    return typer_function(imported(command.spec), lambda spec: handle(spec, modules[type(spec)]), variant)


def _stub() -> None:
    """Stand for a command that was not called."""


def _name(parameter: Any) -> str:
    return str(parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar)


def _group_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    return str(getattr(parameter, "rich_help_panel", None) or "Options")


def _typed(commands: Mapping[str, Command]) -> str | None:
    """Find the command on the line that a shell wants completed."""
    words = next((os.environ[name] for name in _TYPED if name in os.environ), "").split()
    return next((word for word in words[1:] if word in commands), None)


def _of_all_commands(option: str) -> bool:
    return option.partition("=")[0] in ("--help", "-h", "--install-completion", "--show-completion")


def _with_values(arguments: Sequence[str]) -> list[str]:
    """`--retry-failed` without a value means all of them."""
    filled = []
    for argument, following in zip(arguments, [*arguments, "--"][1:], strict=True):
        filled.append("--retry-failed=all" if argument == "--retry-failed" and following.startswith("-") else argument)
    return filled


def _unknown(word: str, commands: Mapping[str, Command]) -> str:
    known = ", ".join(commands)
    if word.startswith("-"):
        if meant := nearest(word, ("--version", "--help")):
            return f"no such option: {word}{meant}"
        return f"{word}: options follow the command: vqa-ray COMMAND {word}; commands are {known}"
    return f"unknown command {word!r}{nearest(word, list(commands))}; known are {known}"


def _usage(error: Any, commands: Mapping[str, Command]) -> str:
    """Say in one line what is wrong with a command line."""
    message = one_line(error.format_message(), 1000).replace("Value error, ", "")
    option, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    # Only the error of an unknown option has guesses of its own.
    if option is None or context is None or not hasattr(error, "possibilities"):
        return message
    known = [name for parameter in context.command.get_params(context) for name in parameter.opts]
    hint = _elsewhere(option, commands) or nearest(option, known)
    return f"no such option: {option}{hint}; see {context.command_path} --help"


def _elsewhere(option: str, commands: Mapping[str, Command]) -> str:
    """`; it is one of A, B` where other commands have the option, else empty."""
    found = []
    for name, command in commands.items():
        spec = imported(command.spec)
        if option in {option_name(field, spec) for field in spec.model_fields}:
            found.append(name)
    more = f" and {len(found) - _COMMANDS_TOLD} more" if len(found) > _COMMANDS_TOLD else ""
    return f"; it is one of {', '.join(found[:_COMMANDS_TOLD])}{more}" if found else ""
