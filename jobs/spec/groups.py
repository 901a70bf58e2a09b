"""Groups of fields that several commands share; each is a section of `--help`, or a part of one."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from vqa_ray.format_names import Format
from vqa_ray.jobs.spec.field import Spec, option
from vqa_ray.predicates.predicate import Algebra

# In torch's words.
_DEVICES = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")


class LoggingGroup(Spec):
    """Messages on standard error."""

    group: ClassVar[str] = "Logging"

    quiet: bool = option("Print warnings and errors only.", False, affects_result=False)
    log_format: Literal["text", "json"] = option(
        "Format of the messages on standard error.", "text", affects_result=False
    )


class ImageGroup(Spec):
    """Limits of fetching and decoding images."""

    group: ClassVar[str] = "Input"

    allow_http: bool = option("Also fetch images from http:// and https:// URIs.", False)
    max_image_bytes: int = option(
        "Largest encoded image; a larger one becomes an error row.", 64 * 2**20, unit="BYTES", ge=1
    )
    max_image_pixels: int = option(
        "Largest image; a larger one becomes an error row.", 100_000_000, unit="PIXELS", ge=1
    )


class InputGroup(ImageGroup):
    """The input of a job."""

    group: ClassVar[str] = "Input"

    input: str = option(
        "File, directory or prefix (path, s3://, gs://), or a table: delta:URI, lance:URI, iceberg:NAME.",
        unit="URI",
    )
    input_format: Format | None = option(
        "Format of the input. Default: guessed from the names and contents of the files.", None
    )
    columns: dict[str, str] = option(
        "Read the column NAME from a COLUMN or directory of the input: question=prompt. Repeatable.",
        {},
        unit="NAME=COLUMN",
        name="column",
    )
    image_root: str | None = option(
        "Directory or prefix that relative image references start from; references out of it fail.",
        None,
        unit="URI",
        omit_default_from_fingerprint=True,
    )
    allow_local: list[str] = option(
        "Local directory outside of the input's that image references may lead to. Repeatable.",
        [],
        unit="DIR",
        affects_result=False,
    )
    encoding: str | None = option(
        "Encoding of CSV, JSON, sidecar and tag files, e.g. cp1252. Default: UTF-8, -16 or -32, detected.",
        None,
        unit="NAME",
        omit_default_from_fingerprint=True,
    )
    limit: int | None = option("Read only the first rows of the input, to try a command.", None, unit="ROWS", ge=1)
    fast_decode: bool = option(
        "Decode large JPEG photos at reduced scale: faster, with slightly different pixels.", False
    )


def _known_device(device: str) -> str:
    if not _DEVICES.fullmatch(device):
        raise ValueError("unknown device; wanted cpu, cuda or cuda:N")
    return device


class DeviceGroup(Spec):
    """The device of a model."""

    group: ClassVar[str] = "Model"

    device: Annotated[str, AfterValidator(_known_device)] | None = option(
        "Device of the model: cpu, cuda or cuda:N. Default: the best available.", None, affects_result=False
    )


class PrecisionGroup(Spec):
    """The precision of a model."""

    group: ClassVar[str] = "Model"

    dtype: Literal["float32", "bfloat16", "float16"] | None = option(
        "Precision of the model. Default: the best that the device has.", None
    )


class ModelGroup(PrecisionGroup):
    """The model of a job."""

    group: ClassVar[str] = "Model"

    model: str = option(
        "Model: org/name@revision, a directory or URI, bundled:NAME, openai:NAME, or fake: (no weights).",
        unit="MODEL",
    )


class PromptGroup(Spec):
    """The prompt of a generative model."""

    group: ClassVar[str] = "Model"

    prompt_template: str | None = option(
        "Prompt of a generative model: question, lavis, plain, or a text with {} for the question.",
        None,
        unit="STYLE|TEXT",
        omit_default_from_fingerprint=True,
    )


class QuestionGroup(Spec):
    """The wording of the questions of a published benchmark."""

    group: ClassVar[str] = "Model"

    question_template: str | None = option(
        "Wording of a benchmark's questions: {question}, {options}, {hint}. Default: the benchmark's own.",
        None,
        unit="TEXT",
        omit_default_from_fingerprint=True,
    )


class GenerationGroup(Spec):
    """Length and search of generated texts."""

    group: ClassVar[str] = "Model"

    max_new_tokens: int | None = option(
        "Most new tokens of a text. Default: 256; 20 for answers of BLIP and BLIP-2, 10 in style lavis.",
        None,
        unit="N",
        ge=1,
        omit_default_from_fingerprint=True,
    )
    num_beams: int | None = option(
        "Beams of the beam search; 1 is greedy and fastest. Default: 1; 5 in style lavis.",
        None,
        unit="N",
        ge=1,
        le=64,
        omit_default_from_fingerprint=True,
    )


class EngineGroup(Spec):
    """The engine that runs a chat model."""

    group: ClassVar[str] = "Model"

    engine: Literal["transformers", "vllm"] = option(
        "Engine that runs a chat model; vllm needs vqa-ray[vllm], and GPUs unless its build is for CPUs.",
        "transformers",
        omit_default_from_fingerprint=True,
    )
    engine_option: list[str] = option(
        "Argument of vLLM's engine, e.g. max_model_len=4096 or quantization=fp8. Repeatable.",
        [],
        unit="KEY=VALUE",
        omit_default_from_fingerprint=True,
    )
    lora: str | None = option(
        "LoRA adapter to put on the model: a directory, URI or hub name.",
        None,
        unit="[NAME=]DIR",
        omit_default_from_fingerprint=True,
    )
    max_pixels: int | None = option(
        "Largest area in which a chat model such as Qwen-VL sees an image: fewer image tokens, less detail.",
        None,
        unit="PIXELS",
        ge=1,
        omit_default_from_fingerprint=True,
    )


class CalibrationGroup(Spec):
    """The calibration of a model's scores."""

    group: ClassVar[str] = "Model"

    calibration: str | None = option(
        "Calibration file that `vqa-ray calibrate` wrote for the model.",
        None,
        unit="FILE",
        omit_default_from_fingerprint=True,
    )


class ExpressionGroup(CalibrationGroup, PromptGroup):
    """The decision on an expression of questions."""

    group: ClassVar[str] = "Expression"

    threshold: float = option("Lowest score of a match.", 0.5, unit="0..1", ge=0, le=1)
    combine: Algebra = option(
        "How scores combine: min-max (and = least, or = greatest), or product, as if independent.", "min-max"
    )


class OutputGroup(Spec):
    """The output of a job."""

    group: ClassVar[str] = "Output"

    output: str = option(
        "Run directory to write; the same command again resumes the run.", unit="URI", affects_result=False
    )
    max_error_fraction: float = option(
        "Exit with code 3 when a larger fraction of the rows failed.",
        0.1,
        unit="0..1",
        ge=0,
        le=1,
        affects_result=False,
    )
    wait: bool = option(
        "Wait while another process writes to the output, instead of ending with an error.", False, affects_result=False
    )


class ClusterGroup(Spec):
    """The cluster of a job."""

    group: ClassVar[str] = "Cluster"

    num_gpus: float | None = option(
        "GPUs of each actor: 0.5 to share one, 2 to spread a large model. Default: 1 if any, else 0.",
        None,
        unit="GPUS",
        ge=0,
        affects_result=False,
    )
    address: str | None = option(
        "Ray cluster to join (also RAY_ADDRESS). Default: start a local Ray.",
        None,
        unit="ADDRESS",
        affects_result=False,
    )
    wait_for_cluster: bool = option(
        "Start even if the cluster is too small now, because an autoscaler adds nodes.", False, affects_result=False
    )
    no_progress_timeout_s: float = option(
        "End the command with an error after this time without progress.",
        1800.0,
        unit="SECONDS",
        gt=0,
        affects_result=False,
    )
