"""The fields of a spec: what the command line and a run's record need to know of each beside its type."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.fields import FieldInfo


class Spec(BaseModel):
    """The options of a command, or a group of them that several commands share.

    Attributes:
        group: the section of `--help` for the fields that the class declares.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    group: ClassVar[str] = "Options"


def option(
    help: str,
    default: Any = ...,
    *,
    unit: str = "",
    name: str = "",
    group: str = "",
    affects_result: bool = True,
    omit_default_from_fingerprint: bool = False,
    argument: bool = False,
    alias: str = "",
    **limits: Any,
) -> Any:
    """Declare a field of a spec.

    Args:
        help: one line.
        default: its default; none makes it required.
        unit: of the value, shown as the metavar of the option.
        name: of the option where it differs from the field.
        group: the section of `--help` where it is not that of the class.
        affects_result: whether the value decides the result; if not, it may change between a run and its resumption.
        omit_default_from_fingerprint: omit the field from the record of a run when it has its default, so that runs
            recorded before the option existed can still resume.
        argument: whether it is given by position, without a name.
        alias: another spelling of the option, `--license`.
        limits: pydantic's (`ge`, `le`, …).
    """
    extra: dict[str, JsonValue] = {
        "unit": unit,
        "option": name,
        "group": group,
        "affects_result": affects_result,
        "omit_default": omit_default_from_fingerprint,
        "argument": argument,
        "alias": alias,
    }
    return Field(default, description=help, json_schema_extra=extra, **limits)


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """Read the arguments of `option` that pydantic does not know."""
    assert isinstance(field.json_schema_extra, dict)
    return dict(field.json_schema_extra)


def option_name(field: str, kind: type[BaseModel]) -> str:
    """Name the option of a field: `--max-image-bytes`; `INDEX` where it is given by position."""
    extra = extra_of(kind.model_fields[field])
    return str(extra["unit"]) if extra["argument"] else "--" + (extra["option"] or field).replace("_", "-")


def group_of(field: str, kind: type[Spec]) -> str:
    """Name the section of `--help` for a field: its own, or that of the first class that declared it."""
    own = extra_of(kind.model_fields[field])["group"]
    if own:
        return str(own)
    declared = (cls for cls in reversed(kind.__mro__) if field in inspect.get_annotations(cls))
    first = next(declared)
    assert issubclass(first, Spec)
    return first.group
