"""The options of an endpoint."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from vqa_ray.jobs.spec.field import Spec, option, option_name


class EndpointGroup(Spec):
    """The OpenAI-compatible endpoint that serves an `openai:` model."""

    group: ClassVar[str] = "Endpoint"

    base_url: str | None = option(
        "Endpoint of --model openai:NAME, e.g. http://localhost:8000/v1.",
        None,
        unit="URL",
        omit_default_from_fingerprint=True,
    )
    api_key_env: str | None = option(
        "Environment variable of the endpoint's key. Default: OPENAI_API_KEY, if it is set.",
        None,
        unit="NAME",
        affects_result=False,
    )
    image_encoding: Literal["jpeg", "png"] = option(
        "Encoding of the images that are sent: jpeg (quality 92) or png (exact).",
        "jpeg",
        omit_default_from_fingerprint=True,
    )
    concurrency: int = option("Most requests at a time, over all actors.", 32, unit="N", ge=1, affects_result=False)
    max_requests_per_minute: int | None = option(
        "Most requests in a minute, over all actors.", None, unit="N", ge=1, affects_result=False
    )
    max_tokens_per_minute: int | None = option(
        "Most tokens of prompts and answers in a minute, over all actors.", None, unit="N", ge=1, affects_result=False
    )
    request_timeout_s: float = option(
        "Longest time for one attempt of a request.", 120.0, unit="SECONDS", gt=0, affects_result=False
    )


class BudgetGroup(EndpointGroup):
    """An endpoint, and what a run may take of it over all actors and all commands that continue the run."""

    group: ClassVar[str] = "Endpoint"

    price_input: float | None = option(
        "Price of a million tokens of prompts and images, for the column cost.",
        None,
        unit="PRICE",
        ge=0,
        affects_result=False,
    )
    price_output: float | None = option(
        "Price of a million tokens of answers.", None, unit="PRICE", ge=0, affects_result=False
    )
    max_cost: float | None = option(
        "Most that the run may cost at these prices; it stops before, and goes on with a larger limit.",
        None,
        unit="COST",
        gt=0,
        affects_result=False,
    )
    max_total_tokens: int | None = option(
        "Most tokens of prompts and answers in all; the run stops before.", None, unit="N", ge=1, affects_result=False
    )


class BatchGroup(BudgetGroup):
    """An endpoint, its budget, and the files of its batch interface."""

    group: ClassVar[str] = "Endpoint"

    batch_file: str | None = option(
        "Write the requests into this new directory, for the provider's batch interface, instead of asking.",
        None,
        unit="DIR",
        affects_result=False,
    )
    batch_results: list[str] = option(
        "Answer from this file of a batch's results or errors instead of asking. Repeatable.",
        [],
        unit="FILE",
        affects_result=False,
    )
    batch_max_requests: int = option(
        "Most requests in a file of --batch-file.", 50_000, unit="N", ge=1, affects_result=False
    )
    batch_max_bytes: int = option(
        "Largest file of --batch-file.", 200_000_000, unit="BYTES", ge=10_000, affects_result=False
    )

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        name = "--batch-file" if self.batch_file is not None else "--batch-results" if self.batch_results else None
        if name is None:
            return self
        if self.batch_file is not None and self.batch_results:
            raise ValueError("--batch-file: writes requests, --batch-results reads their results; give one of them")
        others = {"--then": "then", "--agree": "agree"}
        if self.batch_file is not None:
            others |= {"--retry-failed": "retry_failed", "--update": "update", "--max-hours": "max_hours"}
        for option_, attribute in others.items():
            if getattr(self, attribute, None):
                raise ValueError(f"{name}: does not go with {option_}")
        return self


def given_options(spec: Spec) -> list[str]:
    """Return the options of an endpoint that differ from their default."""
    fields = BatchGroup.model_fields
    changed = [name for name, field in fields.items() if getattr(spec, name, field.default) != field.default]
    return [option_name(name, type(spec)) for name in changed]
