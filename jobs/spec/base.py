"""What can be asked of every job, and of those that write a row per image: strict models that make the command lines.

A spec comes from a YAML file, from options, or from both (options win). Each field carries its help line, its unit
and whether it belongs to the command, that is, whether it decides the answers; where it does not (placement, logging)
it may change between a run and its resumption.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.retry_codes import Retry as Retry  # noqa: PLC0414  part of what this file offers
from vqa_ray.strict_yaml import StrictLoader
from vqa_ray.text_encoding import decode_text

Layout = Literal["rows", "nested"]
Format = Literal["parquet", "webdataset", "jsonl", "csv", "images", "vqa-v2", "hf"]


def option(
    help: str,
    default: Any = ...,
    *,
    unit: str = "",
    name: str = "",
    command: bool = True,
    since: bool = False,
    argument: bool = False,
    alias: str = "",
    **limits: Any,
) -> Any:
    """A field of a spec.

    Args:
        help: one line.
        default: its default; none makes it required.
        unit: of the value, shown as the metavar of the option.
        name: of the option where it differs from the field.
        command: whether it decides the answers.
        since: whether it is newer than runs that may be resumed: with its default it is left out of what is recorded.
        argument: whether it stands on the command line by its place, without a name.
        alias: another spelling of the option, `--license`.
        limits: pydantic's (`ge`, `le`, …).
    """
    extra: dict[str, JsonValue] = {
        "unit": unit,
        "option": name,
        "command": command,
        "since": since,
        "argument": argument,
        "alias": alias,
    }
    return Field(default, description=help, json_schema_extra=extra, **limits)


def _range(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Workers = Annotated[str, BeforeValidator(_range), Field(pattern=r"^[1-9]\d*(-[1-9]\d*)?$")]


def bounds(workers: str) -> tuple[int, int]:
    """(min, max) of `Workers`."""
    low, _, high = workers.partition("-")
    return int(low), int(high or low)


class JobSpec(BaseModel):
    """What every job shares."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    input: str = option("Where the images are: a file, a directory or a prefix (path, s3://, gs://).", unit="URI")
    output: str = option("Run directory to write to; the same command again resumes it.", unit="URI", command=False)
    model: str = option("Model: org/name@revision, a directory or URI, bundled:NAME, or fake: for a try.", unit="MODEL")
    input_format: Format | None = option("Format of the input; guessed from its names without.", None)
    columns: dict[str, str] = option(
        "Ours=theirs, for columns or directories: question=prompt. Repeatable.", {}, unit="A=B", name="column"
    )
    image_root: str | None = option(
        "Where relative image references are: a directory or prefix, which no reference may leave.",
        None,
        unit="URI",
        since=True,
    )
    encoding: str | None = option(
        "Encoding of text files (CSV, JSON): cp1252, say; without, UTF-8, or UTF-16 as their first bytes say.",
        None,
        unit="NAME",
        since=True,
    )
    limit: int | None = option("Stop after so many input rows, for a try.", None, unit="ROWS", ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] | None = option(
        "Precision of the model; the device's best without.", None
    )
    fast_decode: bool = option("Decode large JPEG photos at reduced scale: faster, pixels differ slightly.", False)
    allow_http: bool = option("Also fetch images from http:// and https:// URIs.", False)
    max_image_bytes: int = option("Larger encoded images are errors.", 64 * 2**20, unit="BYTES", ge=1)
    max_image_pixels: int = option("Larger images are errors.", 100_000_000, unit="PIXELS", ge=1)
    max_error_fraction: float = option(
        "Exit with 3 when a larger fraction of the rows failed.", 0.1, unit="0..1", ge=0, le=1, command=False
    )
    num_gpus: float | None = option(
        "GPUs of each actor: 0.5 to share one, 2 to spread a large model; 1 where there are any, else 0.",
        None,
        unit="GPUS",
        ge=0,
        command=False,
    )
    address: str | None = option(
        "Ray cluster to join (also RAY_ADDRESS); without, a local Ray is started.", None, unit="ADDRESS", command=False
    )
    wait_for_cluster: bool = option(
        "Start although the cluster is too small now, because it grows by itself.", False, command=False
    )
    wait: bool = option("Wait while another process writes to the output, instead of refusing.", False, command=False)
    no_progress_timeout_s: float = option(
        "Fail when nothing has moved for so long.", 1800.0, unit="SECONDS", gt=0, command=False
    )
    quiet: bool = option("Print warnings and errors only.", False, command=False)
    log_format: Literal["text", "json"] = option("Form of the messages on standard error.", "text", command=False)

    def command(self) -> dict[str, Any]:
        """The fields that decide the result."""
        fields = type(self).model_fields
        names = {
            name
            for name, field in fields.items()
            if extra_of(field)["command"] and not (extra_of(field)["since"] and getattr(self, name) == field.default)
        }
        return self.model_dump(mode="json", include=names)


class RunSpec(JobSpec):
    """What `answer`, `tag`, `caption` and `retrieve` share."""

    keep: list[str] = option(
        "An input column, or one of directories (split=test), to carry through; NEW=COLUMN. Repeatable.",
        [],
        unit="[NEW=]COLUMN",
    )
    rows_per_file: int | None = option(
        "Rows per output file, which is also what a kill can cost; chosen from the input without.",
        None,
        unit="ROWS",
        ge=1,
        command=False,
    )
    gallery: str | None = option(
        "HTML page to write at the end: images with their results.", None, unit="FILE", command=False
    )
    update: bool = option("Also take in files that were added to the input since the run began.", False, command=False)
    batch_size: int | None = option(
        "Rows per model call; 32 on CPUs, 256 on GPUs.", None, unit="ROWS", ge=1, command=False
    )
    num_actors: Workers | None = option(
        "Processes that hold the model: 4, or 1-8 to grow; all that fit without.", None, unit="N|MIN-MAX", command=False
    )
    device: str | None = option("Device of the model: cpu, cuda; the best found without.", None, command=False)
    compile: bool = option("Compile the model (CUDA only): slower start, faster run.", False, command=False)

    def actors(self) -> tuple[int, int] | None:
        """(min, max) of `num_actors`."""
        return None if self.num_actors is None else bounds(self.num_actors)


S = TypeVar("S", bound=BaseModel)


def load(kind: type[S], file: str | None, options: Mapping[str, Any]) -> S:
    """A spec from a YAML file, from options, or both.

    Args:
        kind: which spec.
        file: the YAML file, a mapping of field names to values.
        options: field → value of the options that were given; they win over the file.

    Raises:
        RequestError: an unknown key (the nearest known one is named), a missing or a wrong value.
    """
    values: dict[str, Any] = _read(file) if file else {}
    for key in values:
        if key not in kind.model_fields:
            near = difflib.get_close_matches(str(key), kind.model_fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(kind.model_fields))}"
            raise RequestError(f"{file}: unknown key {key!r}{hint}")
    try:
        return kind.model_validate({**values, **options})
    except ValidationError as error:
        raise RequestError(_told(kind, error, file, options)) from error


def _read(file: str) -> dict[str, Any]:
    try:
        values = yaml.load(decode_text(Path(file).read_bytes()), StrictLoader)
    except OSError as error:
        raise RequestError(f"{file}: cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        hint = "; a value with a colon needs quotes" if "mapping values" in str(error.problem) else ""
        raise RequestError(f"{file}: not YAML: {line}{error.problem}{hint}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RequestError(f"{file}: wanted a mapping of names to values, got {type(values).__name__}")
    return values


def _told(kind: type[BaseModel], error: ValidationError, file: str | None, options: Mapping[str, Any]) -> str:
    first = error.errors()[0]
    if not first["loc"]:
        return str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][0])
    where = option_name(name, kind) if name in options or not file else f"{file}: {name}"
    if first["type"] == "missing":
        return f"{where}: is required"
    given = first["input"] if len(first["loc"]) > 1 else options.get(name, first["input"])
    return f"{where}: {first['msg'].lower()}, given {given!r}"


def option_name(field: str, kind: type[BaseModel]) -> str:
    """The option of a field: `--max-image-bytes`; `INDEX` of one that stands by its place."""
    extra = extra_of(kind.model_fields[field])
    return str(extra["unit"]) if extra["argument"] else "--" + (extra["option"] or field).replace("_", "-")


def extra_of(field: Any) -> dict[str, Any]:
    """What `option` said of a field beside pydantic's."""
    return dict(field.json_schema_extra or {})
