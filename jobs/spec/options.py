"""Command-line options made from the fields of a spec: one list of fields, one source of help and limits."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime import logs
from vqa_ray.jobs.spec.base import Retry, extra_of, load, option_name

Runner = Callable[..., int]

# The groups of `--help`; what decides the result and stands in none of them is in the command's own group.
_GROUPS = {
    "Input": "input input_format columns image_root limit allow_http max_image_bytes max_image_pixels fast_decode",
    "Model": "model dtype device compile engine calibration prompt_template max_new_tokens num_beams",
    "Output": "output licence push_to_hub keep layout rows_per_file thumbnails gallery scores max_error_fraction",
    "Cluster": "address wait_for_cluster num_gpus num_actors num_workers gpus_per_worker batch_size max_failures "
    "no_progress_timeout_s",
    "Logging": "quiet log_format tensorboard",
}
_OWN_GROUPS = {
    "AnswerSpec": "Questions and answers",
    "RethresholdSpec": "Tags",
    "TagSpec": "Tags",
    "CaptionSpec": "Captions",
    "RetrieveSpec": "What to find",
    "IndexSpec": "Index",
    "SearchSpec": "Search",
    "FinetuneSpec": "Training",
}
_GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names.split()}

_SPEC = Annotated[
    str,
    typer.Option(help="YAML file with these options by name; options win.", metavar="FILE", rich_help_panel="Input"),
]
_RETRY = Annotated[
    str,
    typer.Option(
        help="Answer only the rows that failed, of these error codes or of all, as a new attempt.",
        metavar="[CODE,…]",
        rich_help_panel="Output",
    ),
]


@dataclass(frozen=True, slots=True)
class Variant:
    """Another form of a command, chosen by one option that the command's own spec lacks.

    Attributes:
        field: of `kind`; its option chooses the form.
        kind: the spec of the form, whose other fields are fields of the command, too.
        run: called with the spec; gives the exit code.
    """

    field: str
    kind: type[BaseModel]
    run: Runner

    def load(self, file: str | None, given: dict[str, Any], command: type[BaseModel]) -> BaseModel:
        """The spec of the form.

        Raises:
            RequestError: an option is given that does not go with it; see `vqa_ray.jobs.spec.base.load`.
        """
        for name in given:
            if name not in self.kind.model_fields:
                allowed = (option_name(each, command) for each in self.kind.model_fields if each != self.field)
                raise RequestError(
                    f"{option_name(name, command)}: does not go with {option_name(self.field, self.kind)}, which takes "
                    f"{', '.join(allowed)}"
                )
        return load(self.kind, file, given)


def command(
    kind: type[BaseModel], run: Runner, retries: bool = True, variant: Variant | None = None
) -> Callable[..., int]:
    """A Typer command whose options are the fields of `kind`.

    Args:
        kind: the spec.
        run: called with the spec, and where there are retries with what to retry (None: nothing); gives the exit code.
        retries: whether rows that failed can be answered again.
        variant: another form of the command.
    """

    def called(**options: Any) -> int:
        file, retry = options.pop("spec"), options.pop("retry_failed", None)
        chosen = options.pop(variant.field, None) if variant else None
        given = {name: _value(kind, name, value) for name, value in options.items() if value not in (None, [])}
        if variant is not None and chosen is not None:
            if retry is not None:
                raise RequestError(f"--retry-failed: does not go with {option_name(variant.field, variant.kind)}")
            other = variant.load(file, {variant.field: chosen, **given}, kind)
            logs.configure(getattr(other, "quiet", False), getattr(other, "log_format", "text"))
            return variant.run(other)
        spec = load(kind, file, given)
        logs.configure(getattr(spec, "quiet", False), getattr(spec, "log_format", "text"))
        return run(spec, None if retry is None else Retry.parse(retry)) if retries else run(spec)

    fields = sorted(kind.model_fields.items(), key=_order)
    parameters = [_parameter(kind, name, field) for name, field in fields]
    if variant is not None:
        parameters.append(_parameter(variant.kind, variant.field, variant.kind.model_fields[variant.field]))
    extra = [_keyword("spec", _SPEC), *([_keyword("retry_failed", _RETRY)] if retries else [])]
    called.__signature__ = inspect.Signature([*parameters, *extra], return_annotation=int)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in (*parameters, *extra)} | {"return": int}
    called.__doc__ = inspect.getdoc(kind)
    return called


def _order(item: tuple[str, FieldInfo]) -> int:
    """What must be given comes first, what decides the result next, placement and logging last."""
    return 0 if item[1].is_required() else 1 if extra_of(item[1])["command"] else 2


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _parameter(kind: type[BaseModel], name: str, field: FieldInfo) -> inspect.Parameter:
    shape = _plain(field.annotation)
    unit = extra_of(field)["unit"]
    default = field.get_default(call_default_factory=True)
    if extra_of(field)["argument"]:
        argument = typer.Argument(help=(field.description or ""), metavar=unit, show_default=False)
        return _keyword(name, Annotated[shape | None, argument])
    info = typer.Option(
        option_name(name, kind) + ("/" + option_name(name, kind).replace("--", "--no-") if shape is bool else ""),
        *([extra_of(field)["alias"]] if extra_of(field)["alias"] else []),
        help=(field.description or "") + _note(field, default),
        metavar=unit or ("TEXT" if shape in (str, list, dict) else None),
        show_default=False,
        rich_help_panel=_GROUP_OF.get(name) or _OWN_GROUPS.get(kind.__name__, "Options"),
    )
    kind_of_value = list[str] if shape in (list, dict) else shape
    return _keyword(name, Annotated[kind_of_value | None, info])


def _note(field: FieldInfo, default: Any) -> str:
    if field.is_required():
        return " [required]"
    return "" if default in (None, "", [], {}, False) else f" [default: {default}]"


def _plain(annotation: Any) -> Any:
    """The type of an option's value: without None, without pydantic's annotations."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _plain(next(part for part in get_args(annotation) if part is not type(None)))
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin is Literal or origin is None:
        return annotation
    return origin


def _value(kind: type[BaseModel], name: str, value: Any) -> Any:
    if _plain(kind.model_fields[name].annotation) is not dict:
        return value
    pairs = {}
    for text in value:
        ours, equals, theirs = text.partition("=")
        if not (equals and ours and theirs):
            raise RequestError(f"{option_name(name, kind)}: wanted OURS=THEIRS, given {text!r}")
        pairs[ours] = theirs
    return pairs
