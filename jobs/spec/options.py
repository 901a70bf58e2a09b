"""Command-line options made from the fields of a spec: one list of fields, one source of help and limits."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.field import Spec, extra_of, group_of, option_name
from vqa_ray.jobs.spec.load import load

_SPEC = Annotated[
    str,
    typer.Option(
        help="YAML file of these options by name; options on the command line win.",
        metavar="FILE",
        rich_help_panel="Input",
    ),
]


class SpecVariant(NamedTuple):
    """Another form of a command: its spec, and the field of that spec whose option chooses it."""

    option: str
    kind: type[Spec]


def typer_function(kind: type[Spec], run: Callable[[Any], None], variant: SpecVariant | None) -> Callable[..., None]:
    """Make the function of a Typer command whose options are the fields of a spec.

    Args:
        kind: the spec.
        run: called with the spec, an instance of `kind` or of the variant's kind.
        variant: another form of the command.
    """

    def called(**options: Any) -> None:
        file = options.pop("spec")
        given = {name: value for name, value in options.items() if value not in (None, [])}
        chosen = kind
        if variant is not None and variant.option in given:
            chosen = variant.kind
            _check_variant(given, variant, kind)
        run(load(chosen, file, {name: _value(chosen, name, value) for name, value in given.items()}))

    fields = sorted(kind.model_fields.items(), key=_order)
    parameters = [_parameter(kind, name, field) for name, field in fields]
    if variant is not None:
        # Required by the other form, never by the command.
        chooser = variant.kind.model_fields[variant.option]
        parameters.append(_parameter(variant.kind, variant.option, chooser, note=""))
    parameters.append(inspect.Parameter("spec", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_SPEC))
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    called.__doc__ = inspect.getdoc(kind)
    return called


def _check_variant(given: dict[str, Any], variant: SpecVariant, kind: type[Spec]) -> None:
    """Refuse an option of the command that its other form lacks."""
    for name in given:
        if name not in variant.kind.model_fields:
            fields = sorted(variant.kind.model_fields.items(), key=_order)
            allowed = (option_name(each, variant.kind) for each, _ in fields if each != variant.option)
            raise RequestError(
                f"{option_name(name, kind)}: does not go with {option_name(variant.option, variant.kind)}, which takes "
                f"{', '.join(allowed)}"
            )


def _order(item: tuple[str, FieldInfo]) -> int:
    """Order options: required ones first, then those that affect the result, placement and logging last."""
    return 0 if item[1].is_required() else 1 if extra_of(item[1])["affects_result"] else 2


def _parameter(kind: type[Spec], name: str, field: FieldInfo, note: str | None = None) -> inspect.Parameter:
    shape, extra = _plain(field.annotation), extra_of(field)
    annotation: Any
    if extra["argument"]:
        taken = list[str] if shape in (list, tuple) else shape
        annotation = Annotated[taken | None, typer.Argument(help=field.description, metavar=extra["unit"])]
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    option = option_name(name, kind)
    info = typer.Option(
        f"{option}/{option.replace('--', '--no-')}" if shape is bool else option,
        *([extra["alias"]] if extra["alias"] else []),
        help=(field.description or "") + (_note(field) if note is None else note),
        metavar=extra["unit"] or ("TEXT" if shape in (str, list, dict) else None),
        show_default=False,
        rich_help_panel=group_of(name, kind),
    )
    annotation = Annotated[(list[str] if shape in (list, dict) else shape) | None, info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _note(field: FieldInfo) -> str:
    if field.is_required():
        return " [required]"
    default = field.get_default(call_default_factory=True)
    return "" if default in (None, "", [], {}, False) else f" [default: {default}]"


def _plain(annotation: Any) -> Any:
    """Reduce the annotation of a field to the type of its option: without None, without pydantic's annotations."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _plain(next(part for part in get_args(annotation) if part is not type(None)))
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin is Literal or origin is None:
        return annotation
    return origin


def _value(kind: type[Spec], name: str, value: Any) -> Any:
    if _plain(kind.model_fields[name].annotation) is not dict:
        return value
    pairs: dict[str, str] = {}
    for text in value:
        ours, equals, theirs = text.partition("=")
        if not (equals and ours and theirs):
            unit = extra_of(kind.model_fields[name])["unit"]
            raise RequestError(f"{option_name(name, kind)}: wanted {unit}, given {text!r}")
        if ours in pairs:
            raise RequestError(f"{option_name(name, kind)}: {ours!r} is given twice, as {pairs[ours]!r} and {theirs!r}")
        pairs[ours] = theirs
    return pairs
