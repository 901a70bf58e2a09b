"""The endpoint of a job, checked before any work."""

from __future__ import annotations

import os

from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.base import RunSpec
from vqa_ray.jobs.spec.endpoint_group import EndpointGroup
from vqa_ray.jobs.spec.field import option_name
from vqa_ray.models.endpoint.family import PREFIX
from vqa_ray.models.endpoint.options import KEY, EndpointOptions, checked_base_url


def endpoint_of(spec: RunSpec) -> EndpointOptions | None:
    """Take the endpoint out of a spec; None where the model is no `openai:` one.

    Raises:
        RequestError: an option without the other, a base URL that is not allowed, or no key where one is named.
    """
    if not isinstance(spec, EndpointGroup):
        return None
    if not spec.model.startswith(PREFIX):
        for name, field in EndpointGroup.model_fields.items():
            if getattr(spec, name) != field.default:
                raise RequestError(f"{option_name(name, type(spec))}: only with --model openai:NAME")
        return None
    if spec.base_url is None:
        return None
    if spec.num_gpus:
        raise RequestError(f"--num-gpus {spec.num_gpus:g}: model {spec.model}: the endpoint has the GPUs")
    variable = spec.api_key_env or (KEY if os.environ.get(KEY) else None)
    options = EndpointOptions(
        checked_base_url(spec.base_url, allow_http=spec.allow_http),
        variable,
        spec.concurrency,
        spec.max_requests_per_minute,
        spec.max_tokens_per_minute,
        spec.request_timeout_s,
        spec.image_encoding,
    )
    options.key()
    _, actors = spec.actors() or (1, 1)
    options.share(actors)
    return options
