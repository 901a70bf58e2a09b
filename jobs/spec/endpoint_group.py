"""The options of an endpoint."""

from __future__ import annotations

from typing import ClassVar, Literal

from vqa_ray.jobs.spec.field import Spec, option


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
