"""The second model of a job: its options, opened and checked before any work."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
import yaml
from pydantic import BaseModel

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.model import open_model
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.endpoint_group import BudgetGroup
from vqa_ray.jobs.spec.field import Spec, extra_of
from vqa_ray.jobs.spec.groups import (
    CalibrationGroup,
    DeviceGroup,
    EngineGroup,
    GenerationGroup,
    PrecisionGroup,
    PromptGroup,
)
from vqa_ray.jobs.spec.instruct import InstructSpec
from vqa_ray.jobs.spec.load import load
from vqa_ray.jobs.spec.second_group import CascadeGroup, SecondOpinionGroup
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.endpoint.family import ENDPOINT
from vqa_ray.models.registry import Task
from vqa_ray.stages import usage
from vqa_ray.stages.opinions import ColumnScore, Condition, Opinions, Outcome, with_opinions
from vqa_ray.strict_yaml import StrictLoader

_OPTION = "--second-option"
_GROUPS: tuple[type[Spec], ...] = (
    *(DeviceGroup, PrecisionGroup, PromptGroup, GenerationGroup, EngineGroup, BudgetGroup, CalibrationGroup),
)
_PLACEMENT = ("num_actors", "num_gpus", "batch_size", "compile")


@dataclass(frozen=True, slots=True)
class OpenedSecond:
    """The second model of a command.

    Attributes:
        spec: of the command, with the second model and its options in place of the first one's.
        model: the model, opened.
        options: its options that were given.
        condition: when it is asked.
        decides: whether its outcome stands where it is asked.
    """

    spec: RunSpec
    model: Checkpoint
    options: Mapping[str, Any]
    condition: Condition
    decides: bool

    def opinions(self, value: str, score: Callable[[Outcome], float | None] | None = None) -> Opinions:
        """Give the rule by which outcomes of a column are joined; without `score`, `VALUE_score` holds its score."""
        return Opinions(value, score or ColumnScore(f"{value}_score"), self.condition, self.decides)

    @property
    def recorded(self) -> dict[str, Any]:
        """The entries of a record that tell another second model, or other options of it, apart."""
        fields = type(self.spec).model_fields
        deciding = {name: value for name, value in self.options.items() if extra_of(fields[name])["affects_result"]}
        return {"second_fingerprint": self.model.fingerprint, **({"second_option": deciding} if deciding else {})}


def open_second(spec: CascadeGroup, task: Task) -> OpenedSecond | None:
    """Open the second model of a spec; None where it names none.

    Raises:
        RequestError: an option without the one that it belongs to, an option that the second model does not take, or a
            model that cannot do what the job needs.
    """
    agree = spec.agree if isinstance(spec, SecondOpinionGroup) else None
    if agree is not None and (spec.then or spec.cascade):
        raise RequestError("--agree: does not go with --cascade and --then; give the one or the others")
    if spec.cascade is not None and spec.then is None:
        raise RequestError(f"--cascade {spec.cascade!r}: needs --then, the model that decides these rows")
    if spec.then is not None and spec.cascade is None:
        raise RequestError(f"--then {spec.then}: needs --cascade, the condition on which it is asked: 'score < 0.6'")
    condition = Condition() if spec.cascade is None else Condition.parse(spec.cascade)
    reference = spec.then or agree
    if reference is None:
        if spec.second_option:
            raise RequestError(f"{_OPTION}: needs a second model, of --then or --agree")
        return None
    assert isinstance(spec, RunSpec)
    return _opened(spec, spec.second_option, reference, task, condition, decides=agree is None)


def open_verifier(spec: InstructSpec) -> OpenedSecond | None:
    """Open the model that judges the conversations of a spec; None where it names none.

    Raises:
        RequestError: see `open_second`.
    """
    if spec.agree is not None:
        return _opened(spec, spec.second_option, spec.agree, "score", Condition(), decides=False)
    if spec.second_option:
        raise RequestError(f"{_OPTION}: needs a second model, of --agree")
    return None


def _opened(
    spec: RunSpec, options: Mapping[str, Any], reference: str, task: Task, condition: Condition, *, decides: bool
) -> OpenedSecond:
    given = _options(type(spec), options)
    second = _second_spec(spec, reference, given)
    try:
        model = open_model(second, task)
    except RequestError as error:
        raise RequestError(f"{'--then' if decides else '--agree'}: {error}") from error
    return OpenedSecond(second, model, given, condition, decides=decides)


def has_boxes(model: Checkpoint, second: OpenedSecond | None) -> bool:
    """Tell whether a model of a job can point at things."""
    return model.family.has_boxes or (second is not None and second.model.family.has_boxes)


def with_usage(form: pa.Schema, model: Checkpoint, second: OpenedSecond | None = None) -> pa.Schema:
    """Add what an endpoint takes to the schema of a job of which a model is behind one."""
    models = [model, *([second.model] if second else [])]
    return usage.with_usage(form) if any(each.family == ENDPOINT for each in models) else form


def with_second(form: pa.Schema, second: OpenedSecond | None, value: str) -> pa.Schema:
    """Add the columns of two opinions to the schema of a job that has a second model.

    Raises:
        RequestError: an attribute of a taxonomy has a column of such a name.
    """
    if second is None:
        return form
    fields = with_opinions(list(form), value)
    twice = [name for name, times in Counter(field.name for field in fields).items() if times > 1]
    if twice:
        raise RequestError(f"--tags: column {twice[0]!r} is one of a run with two models; rename the attribute")
    return pa.schema(fields)


def _allowed(kind: type[BaseModel]) -> set[str]:
    fields = {name for group in _GROUPS for name in group.model_fields} | {*_PLACEMENT}
    return fields.intersection(kind.model_fields) - {"model"}


def _options(kind: type[RunSpec], options: Mapping[str, Any]) -> dict[str, Any]:
    """Read the options of the second model."""
    allowed = sorted(_allowed(kind))
    given: dict[str, Any] = {}
    for key, value in options.items():
        name = key.removeprefix("--").replace("-", "_")
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(allowed)}"
            raise RequestError(f"{_OPTION} {key}={value}: no option of a model; {hint}")
        try:
            is_written = isinstance(value, str) and not _takes_text(kind.model_fields[name].annotation)
            given[name] = yaml.load(value, StrictLoader) if is_written else value
        except yaml.YAMLError as error:
            raise RequestError(f"{_OPTION} {key}={value}: the value cannot be read as YAML") from error
    return given


def _second_spec(spec: RunSpec, reference: str, given: Mapping[str, Any]) -> RunSpec:
    """Return a spec with the second model in place of the first, and with its options."""
    kind = type(spec)
    own = {*_allowed(kind), *SecondOpinionGroup.model_fields}
    # What was not given stays so: options that need each other ask which were.
    inherited = {name: value for name, value in spec if name in spec.model_fields_set - own}
    try:
        return load(kind, None, {**inherited, **given, "model": reference})
    except RequestError as error:
        raise RequestError(f"{_OPTION}: {error}") from error


def _takes_text(annotation: Any) -> bool:
    """Tell whether a field takes text; the value of another one is written as in YAML."""
    if get_origin(annotation) is list:
        return False
    return annotation is str or get_origin(annotation) is Literal or any(map(_takes_text, get_args(annotation)))
