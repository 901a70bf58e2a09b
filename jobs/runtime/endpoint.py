"""The endpoint of a command, checked before any work."""

from __future__ import annotations

import os

from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.endpoint_group import BatchGroup, BudgetGroup, EndpointGroup, given_options
from vqa_ray.jobs.spec.field import Spec
from vqa_ray.models.endpoint.budget import Budget
from vqa_ray.models.endpoint.family import PREFIX
from vqa_ray.models.endpoint.options import KEY, EndpointOptions, checked_base_url


def endpoint_of(spec: Spec, reference: str | None = None, option: str = "--model") -> EndpointOptions | None:
    """Take the endpoint out of a spec; None where the model is no `openai:` one.

    Args:
        spec: of the command.
        reference: of the model that the endpoint serves; None for `--model`.
        option: that names it.

    Raises:
        RequestError: an option without the other, a base URL that is not allowed, or no key where one is named.
    """
    if not isinstance(spec, EndpointGroup):
        return None
    reference = reference or str(getattr(spec, "model", None) or "")
    if not reference.startswith(PREFIX):
        if given := given_options(spec):
            raise RequestError(f"{given[0]}: only with {option} openai:NAME")
        return None
    if spec.base_url is None:
        return None
    gpus = getattr(spec, "num_gpus", None)
    if gpus:
        raise RequestError(f"--num-gpus {gpus:g}: model {reference}: the endpoint has the GPUs")
    is_batch = isinstance(spec, BatchGroup) and bool(spec.batch_file or spec.batch_results)
    variable = None if is_batch else spec.api_key_env or (KEY if os.environ.get(KEY) else None)
    options = EndpointOptions(
        checked_base_url(spec.base_url, allow_http=bool(getattr(spec, "allow_http", False))),
        variable,
        spec.concurrency,
        spec.max_requests_per_minute,
        spec.max_tokens_per_minute,
        spec.request_timeout_s,
        spec.image_encoding,
        _budget(spec),
        tuple(spec.batch_results) if isinstance(spec, BatchGroup) and is_batch else None,
    )
    options.key()
    return options


def _budget(spec: Spec) -> Budget:
    if not isinstance(spec, BudgetGroup):
        return Budget()
    return Budget(spec.price_input, spec.price_output, spec.max_cost, spec.max_total_tokens)
