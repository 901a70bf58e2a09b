"""The commands of `vqa-ray`: what each is for, the spec that its options are made from, and the module that runs it.

Both are named here and imported when the command is called: `--help` needs the spec alone, `--version` neither.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        summary: its line in the list of commands.
        spec: `module:class` of its options, below `vqa_ray.jobs`.
        module: below `vqa_ray.jobs`, with a function `run` that takes the spec and gives a RunResult or None.
        resumes: whether the same command line goes on with a run that was stopped.
        variant: another form of the command, which one option of its own chooses.
        takes_command: whether its first argument is another command, with all that follows.
    """

    summary: str
    spec: str
    module: str
    resumes: bool = False
    variant: Variant | None = None
    takes_command: bool = False


class Variant(NamedTuple):
    """Another form of a command.

    Attributes:
        option: the field of `spec` that chooses this form; the spec of the command lacks it.
        spec, module: see `Command`.
    """

    option: str
    spec: str
    module: str


COMMANDS = {
    "answer": Command(
        "Ask questions of images; one answered row per input row.",
        "spec.images:AnswerSpec",
        "answer.command",
        resumes=True,
        variant=Variant("print_questions", "spec.question_set_group:PrintQuestionsSpec", "answer.question_set"),
    ),
    "caption": Command(
        "Describe images in a sentence; one captioned row per image.",
        "spec.images:CaptionSpec",
        "caption",
        resumes=True,
    ),
    "tag": Command(
        "Tag images with the choices of a taxonomy.",
        "spec.images:TagSpec",
        "tag",
        resumes=True,
        variant=Variant("rethreshold", "rethreshold.spec:RethresholdSpec", "rethreshold.command"),
    ),
    "retrieve": Command(
        "Find the images that fit an expression of questions.",
        "spec.images:RetrieveSpec",
        "retrieve",
        resumes=True,
    ),
    "index": Command(
        "Embed images, and keep an index of them up to date.",
        "index.spec:IndexSpec",
        "index.command",
        resumes=True,
    ),
    "evaluate": Command(
        "Judge a run by the truth: accuracy and other measures with intervals.",
        "evaluate.spec:EvaluateSpec",
        "evaluate.command",
        resumes=True,
    ),
    "calibrate": Command(
        "Fit thresholds and probabilities to a labelled sample.",
        "spec.tools:CalibrateSpec",
        "calibrate",
    ),
    "compare": Command(
        "Compare evaluations with the same truth, or runs without truth.",
        "compare.spec:CompareSpec",
        "compare.command",
    ),
    "search": Command(
        "Find the images of an index most like a text or an image.",
        "search.spec:SearchSpec",
        "search.command",
    ),
    "browse": Command(
        "Search an index, or look through results, on a local page.",
        "spec.tools:BrowseSpec",
        "browse",
    ),
    "watch": Command(
        "Show the progress of a run, here or on a cluster, from its directory.",
        "watch.spec:WatchSpec",
        "watch.command",
    ),
    "review": Command(
        "Judge a sample of a run's answers: right, wrong, or another answer.",
        "spec.pages:ReviewSpec",
        "review",
        resumes=True,
    ),
    "report": Command(
        "Write one HTML page about a run, an evaluation or a comparison.",
        "spec.pages:ReportSpec",
        "report",
    ),
    "export": Command(
        "Write a run or an index as CSV, JSON Lines, COCO, or for other tools.",
        "spec.tools:ExportSpec",
        "export",
    ),
    "publish": Command(
        "Commit the rows of a finished run to a table of Iceberg, Delta, Lance or Parquet.",
        "spec.tools:PublishSpec",
        "publish",
    ),
    "catalog": Command(
        "Render a catalogue of product images with known truth.",
        "spec.tools:CatalogSpec",
        "catalog",
    ),
    "schema": Command(
        "Check a schema of typed attributes; turn taxonomies into schemas and back.",
        "spec.tools:SchemaSpec",
        "schema",
    ),
    "models": Command(
        "List the supported models, or print what one of them can do.",
        "spec.tools:ModelsSpec",
        "models",
    ),
    "instruct": Command(
        "Let a teacher write instruction data about images.",
        "spec.instruct:InstructSpec",
        "instruct.command",
        resumes=True,
        variant=Variant("print_prompts", "spec.instruct:PrintPromptsSpec", "instruct.print_prompts"),
    ),
    "finetune": Command(
        "Train ViLT, CLIP or a chat model on data of your own.",
        "finetune.spec:FinetuneSpec",
        "finetune.command",
        resumes=True,
    ),
    "plan": Command(
        "Run a sample of one of these commands; print its rates, and the time and money of the whole.",
        "plan.spec:PlanSpec",
        "plan.command",
        takes_command=True,
    ),
    "submit": Command(
        "Run one of these commands on a Ray cluster through its Jobs API.",
        "submit.spec:SubmitSpec",
        "submit.command",
        resumes=True,
        takes_command=True,
    ),
    "demo": Command(
        "Tag and question a small rendered catalogue.",
        "demo.spec:DemoSpec",
        "demo.command",
    ),
}


def imported(name: str) -> Any:
    """Import a module below `vqa_ray.jobs`, or what `module:name` names in it."""
    module, _, attribute = name.partition(":")
    found = importlib.import_module(f"vqa_ray.jobs.{module}")
    return getattr(found, attribute) if attribute else found
