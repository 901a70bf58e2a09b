"""Questions of a command that a family cannot be asked, refused before any work. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_ray.errors import RequestError, RowError
from vqa_ray.models.chat.prompt_adapters import ADAPTERS
from vqa_ray.models.florence2.tasks import TaskPrompts
from vqa_ray.models.registry import Family


def check_questions(questions: Sequence[str], family: Family, label: str) -> None:
    """Refuse questions that would fail on every row.

    Args:
        questions: of the command.
        family: of the model.
        label: its name at the beginning of a message.

    Raises:
        RequestError: a question holds a token of the model's own, or a task in the wrong form.
    """
    adapter = ADAPTERS.get(family.name)
    for question in questions:
        where = f"--question {question!r}: {label}: {family.display_name}"
        reserved = next((token for token in adapter.reserved if token in question), None) if adapter else None
        if reserved is not None:
            raise RequestError(f"{where}: {reserved} is a token of its own, which no question may hold")
        if family.name == "florence2":
            try:
                TaskPrompts().text(question)
            except RowError as error:
                raise RequestError(f"{where}: {error.message}") from error
