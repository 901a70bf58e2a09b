"""Whether an endpoint answers, asked once before any work."""

from __future__ import annotations

from dataclasses import replace

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.models.endpoint.budget import Budget
from vqa_ray.models.endpoint.client import Client
from vqa_ray.models.endpoint.family import model_name
from vqa_ray.models.endpoint.messages import chat
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.endpoint.question import Question, expected_tokens

_QUESTION, _ANSWER_TOKENS = "Say yes.", 16
_ATTEMPTS = 3


def require_answer(reference: str, options: EndpointOptions) -> EndpointOptions:
    """Ask an endpoint a short question; return its options, which count what was asked.

    Args:
        reference: the model, `openai:NAME`.
        options: its endpoint.

    Raises:
        RequestError: it cannot be reached, refuses the key, lacks the model, or sends something else than an answer.
    """
    unlimited = replace(options, budget=Budget())
    meter = unlimited.meter()
    client = Client(replace(unlimited, gate=meter), f"model {reference}", attempts=_ATTEMPTS)
    body = chat(model_name(reference), (), _QUESTION, (), _ANSWER_TOKENS)
    try:
        (answer,) = client.ask([Question(body, expected_tokens(len(_QUESTION), 0), _ANSWER_TOKENS)])
    finally:
        client.close()
    if isinstance(answer, RowError) and answer.code != ErrorCode.ENDPOINT_REFUSED:
        raise RequestError(f"model {reference}: {options.base_url}: {answer.message}")
    return replace(options, asked=options.asked + meter.admitted)
