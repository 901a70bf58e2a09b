"""The specs of the jobs that write a row per image: `answer`, `tag`, `caption` and `retrieve`."""

from __future__ import annotations

from typing import Literal

from vqa_ray.jobs.spec.base import Layout, RunSpec, option
from vqa_ray.predicates.predicate import Algebra

# What some of the jobs share.
_TEMPLATE = option(
    "How a generative model is asked: question, lavis, plain, or a text with {} for the question.",
    None,
    unit="STYLE|TEXT",
    since=True,
)
_NEW_TOKENS = option(
    "Most tokens of an answer or caption; 256 without (answers of BLIP and BLIP-2 20, style lavis 10).",
    None,
    unit="N",
    ge=1,
    since=True,
)
_BEAMS = option(
    "Texts that a generative model weighs against each other; 1 is fastest.", None, unit="N", ge=1, le=64, since=True
)
_CALIBRATION = option("What `vqa-ray calibrate` wrote for this model.", None, unit="FILE", since=True)


class AnswerSpec(RunSpec):
    """Ask questions of images: one output row per image and question, with an answer and a score, or a typed error."""

    question: list[str] = option("Ask this of every image. Repeatable. Without, the input brings questions.", [])
    layout: Layout = option("Several questions of an image: a row each, or nested in one row.", "rows", since=True)
    top_k: int = option("Answers to keep per question.", 5, unit="N", ge=1, le=100)
    engine: Literal["transformers", "vllm"] = option(
        "What runs a chat model; vllm needs GPUs and vqa-ray[vllm].", "transformers", since=True
    )
    ignore_context: bool = option("Ask each question by itself although rows bring a context.", False, since=True)
    prompt_template: str | None = _TEMPLATE
    max_new_tokens: int | None = _NEW_TOKENS
    num_beams: int | None = _BEAMS


class TagSpec(RunSpec):
    """Tag images with the choices of a taxonomy: one output row per image."""

    calibration: str | None = _CALIBRATION
    tags: str | None = option("Taxonomy file (tags.yaml); the built-in product taxonomy without.", None, unit="FILE")
    prompt_template: str | None = _TEMPLATE


class CaptionSpec(RunSpec):
    """Describe images in a sentence: one output row per image."""

    prompt: str | None = option(
        'What captions begin with: "a photo of". Left to the model without.', None, unit="TEXT", min_length=1
    )
    max_new_tokens: int | None = _NEW_TOKENS
    num_beams: int | None = _BEAMS


class RetrieveSpec(RunSpec):
    """Find the images that fit an expression of questions: one output row per image, and the matches, best first."""

    where: str = option(
        'What to look for: \'"is there a dog?" and not "is it a toy?"\'.', unit="EXPRESSION", min_length=1
    )
    calibration: str | None = _CALIBRATION
    threshold: float = option("Least score of a match.", 0.5, unit="0..1", ge=0, le=1)
    combine: Algebra = option("How scores are joined: and = min, or = max; or as of independent events.", "min-max")
    top_k: int | None = option("Matches to list; all without.", None, unit="N", ge=1, command=False)
    ask_all: bool = option("Ask every question of every image, so that every score is known.", False)
    prompt_template: str | None = _TEMPLATE
