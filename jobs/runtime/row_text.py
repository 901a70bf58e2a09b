"""The columns that the questions of a command name, and how their text is made ready for its model."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_ray.errors import RequestError
from vqa_ray.jobs.spec.text_group import TextGroup
from vqa_ray.models.chat.prompt_adapters import ADAPTERS
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.reserved_tokens import reserved_tokens
from vqa_ray.row_text.config import TextConfig
from vqa_ray.row_text.template import columns_of

_BUDGET = 64
# ViLT reads 40 tokens, and a question goes on behind the text.
_VILT_BUDGET = 16


def text_config(
    spec: TextGroup, templates: Sequence[str], models: Sequence[Checkpoint], budget: int | None = None
) -> TextConfig | None:
    """Configure the texts that the questions of a command name; None for none.

    Args:
        spec: of the command.
        templates: its questions.
        models: those that are asked.
        budget: tokens of a text, where the command is not told; None for that of the models.

    Raises:
        RequestError: `--text-budget` is given and no question names a column.
    """
    columns = columns_of(templates)
    if not columns:
        if spec.text_budget is not None:
            raise RequestError("--text-budget: no question names a column of the input, as {title} would")
        return None
    budget = budget or (_VILT_BUDGET if any(model.family_name == "vilt" for model in models) else _BUDGET)
    reserved = {token for model in models for token in _reserved(model)}
    return TextConfig(columns, spec.text_budget or budget, tuple(sorted(reserved)))


def _reserved(model: Checkpoint) -> tuple[str, ...]:
    adapter = ADAPTERS.get(model.family_name)
    return (*(reserved_tokens(model.path) if model.path else ()), *(adapter.reserved if adapter else ()))
