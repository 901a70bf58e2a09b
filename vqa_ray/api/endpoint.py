"""The endpoint of an `openai:` model, as the API names its settings."""

from __future__ import annotations

import math
import os
from typing import Any, Literal, TypedDict

from vqa_ray.errors import RequestError
from vqa_ray.models.endpoint.family import PREFIX
from vqa_ray.models.endpoint.options import KEY, EndpointOptions, checked_base_url

# Setting → field of `EndpointOptions`.
_FIELDS = {
    "api_key_env": "key_variable",
    "image_encoding": "image_encoding",
    "concurrency": "concurrency",
    "max_requests_per_minute": "requests_per_minute",
    "max_tokens_per_minute": "tokens_per_minute",
    "request_timeout_s": "timeout_s",
}
_COUNTS = ("concurrency", "max_requests_per_minute", "max_tokens_per_minute")


class EndpointSettings(TypedDict, total=False):
    """Settings of an endpoint, named as the options of the command; each process keeps the limits by itself.

    Attributes:
        api_key_env: environment variable of the key; `OPENAI_API_KEY` without, if it is set.
        image_encoding: `jpeg` (quality 92) or `png` (exact).
        concurrency: requests under way at a time; 32 without.
        max_requests_per_minute, max_tokens_per_minute: limits; none without.
        request_timeout_s: of one attempt; 120 without.
    """

    api_key_env: str
    image_encoding: Literal["jpeg", "png"]
    concurrency: int
    max_requests_per_minute: int
    max_tokens_per_minute: int
    request_timeout_s: float


def endpoint_options(
    model: str, base_url: str | None, settings: EndpointSettings | None, *, allow_http: bool
) -> EndpointOptions | None:
    """Return the endpoint of a model; None for a model of another family.

    Raises:
        RequestError: a setting that is unknown, out of range or of no use, or a base URL that is not allowed.
    """
    given: dict[str, Any] = dict(settings or {})
    if base_url is None or not model.startswith(PREFIX):
        if base_url is not None or settings is not None:
            name = "endpoint" if base_url is None else "base_url"
            raise RequestError(f"{name}: {'needs base_url' if model.startswith(PREFIX) else 'is for openai:NAME'}")
        return None
    for name, value in given.items():
        if name not in _FIELDS:
            raise RequestError(f"endpoint: unknown setting {name!r}; known are {', '.join(_FIELDS)}")
        if name in _COUNTS and not (isinstance(value, int) and not isinstance(value, bool) and value > 0):
            raise RequestError(f"endpoint: {name} is {value!r}; it must be a positive whole number")
        if name == "request_timeout_s" and not (isinstance(value, int | float) and 0 < value < math.inf):
            raise RequestError(f"endpoint: {name} is {value!r}; it must be a positive number of seconds")
        if name == "api_key_env" and not isinstance(value, str | None):
            raise RequestError(f"endpoint: {name} is {value!r}; wanted the name of an environment variable")
    if given.get("image_encoding", "jpeg") not in ("jpeg", "png"):
        raise RequestError(f"endpoint: image_encoding is {given['image_encoding']!r}; wanted jpeg or png")
    given.setdefault("api_key_env", KEY if os.environ.get(KEY) else None)
    url = checked_base_url(base_url, allow_http=allow_http)
    return EndpointOptions(url, **{_FIELDS[name]: value for name, value in given.items()})
