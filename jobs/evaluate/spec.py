"""The options of `vqa-ray evaluate`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from vqa_ray.jobs.spec.base import JobSpec, Workers
from vqa_ray.jobs.spec.endpoint_group import BudgetGroup, given_options
from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import DeviceGroup, GenerationGroup, PromptGroup, QuestionGroup


class EvaluateSpec(QuestionGroup, PromptGroup, GenerationGroup, BudgetGroup, DeviceGroup, JobSpec):
    """Judge the predictions of a run by the truth, and state every measure with its 95 % interval.

    With --model and --input instead of --predictions, the input is answered first, into OUTPUT/run.
    """

    group: ClassVar[str] = "Evaluation"

    predictions: str | None = option(
        "Finished run of answer, tag, caption or retrieve; or a table with ids and predictions.",
        None,
        unit="RUN",
    )
    truth: str | None = option(
        "Truth, in any format of --input. Default: columns that the run kept; with --model, the input.",
        None,
        unit="URI",
    )
    protocol: str | None = option(
        "How predictions are judged: vqa-v2, pope, mmmu, exact-match, tags … Default: by the job or the format.",
        None,
        unit="NAME",
    )
    by: list[str] = option(
        "Also measure by the values of this column of the truth or the run. Repeatable.", [], unit="COLUMN"
    )
    key: str | None = option(
        "Column of ids that both sides have. Default: question_id, image_id and question, image_id, or row_id.",
        None,
        unit="COLUMN",
    )
    labels_needed: float | None = option(
        "Tell how many labelled rows an interval of ± this takes, 0.02 for two points of a hundred.",
        None,
        unit="0..1",
        gt=0,
        lt=1,
        affects_result=False,
    )
    format: Literal["table", "json"] = option("Form of the printed result.", "table", affects_result=False)
    output: str = option(
        "Directory to write; the same command again goes on, or prints what is there.",
        unit="URI",
        affects_result=False,
        group="Output",
    )
    model: str | None = option(  # type: ignore[assignment]
        "Answer --input by this model first: org/name@revision, a directory or URI, bundled:NAME, or fake:.",
        None,
        unit="MODEL",
        group="Model",
    )
    input: str | None = option(  # type: ignore[assignment]
        "Images and questions to answer, with --model.", None, unit="URI", group="Input"
    )
    question: list[str] = option("With --model: question to ask of every image. Repeatable.", [], group="Model")
    keep: list[str] = option(
        "With --model: copy this column of the input to the run. Repeatable.", [], unit="[NEW=]COLUMN", group="Model"
    )
    batch_size: int | None = option(
        "With --model: rows per model call.", None, unit="ROWS", ge=1, affects_result=False, group="Model"
    )
    num_actors: Workers | None = option(
        "With --model: processes that hold the model.", None, unit="N|MIN-MAX", affects_result=False, group="Model"
    )

    @model_validator(mode="after")
    def _check_sides(self) -> EvaluateSpec:
        if (self.predictions is None) == (self.model is None):
            given = "neither" if self.model is None else "both"
            raise ValueError(f"wanted --predictions RUN, or --model MODEL with --input URI; {given} given")
        if self.model is not None and self.input is None:
            raise ValueError("--model: needs --input, the images and questions to answer")
        of_model = {"--batch-size": self.batch_size, "--num-actors": self.num_actors, "--keep": self.keep or None}
        idle = [name for name, value in of_model.items() if value is not None] + given_options(self)
        if self.model is None and idle:
            raise ValueError(f"{idle[0]}: goes with --model, which is not given")
        if self.model is None and self.input is not None:
            raise ValueError("--input: goes with --model; the truth is given with --truth")
        return self
