"""The columns of an input of conversations: a dialogue, or a question whose answer is a label; and the images."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_ray.readers.source import InputConfig, join_names, request_error

DIALOGUES = ("conversations", "messages", "conversation", "results")
"""LLaVA's name, that of chat models, that of `instruct` runs, and that of `answer --layout nested`."""
_IMAGES = ("images", "image", "image_uri")
_REFERENCES = ("image_uri", "url", "image_path", "image_url", "file_name")


def conversation_roles(
    config: InputConfig,
    names: Sequence[str],
    where: str,
    *,
    roles: Sequence[str],
    question: Sequence[str],
    open_ended: bool,
) -> dict[str, tuple[str, ...]]:
    """Find the columns of conversations by role; see `vqa_ray.readers.columns.resolve`.

    Raises:
        RequestError: there is neither a dialogue nor a question.
    """

    def found(role: str, candidates: Sequence[str], always: bool = False) -> tuple[str, ...]:
        named = config.columns.get(role)
        return (named,) if named is not None else tuple(name for name in candidates if always or name in names)

    by_role = {
        "image_id": found("image_id", ("image_id",)),
        "question_id": found("question_id", ("question_id", "id")),
        "row_id": found("row_id", ("row_id",)),
        "system": found("system", ("system",)),
    }
    candidates = {
        "images": ("images",),
        "image": ("image",),
        "image_uri": _REFERENCES if "image" in roles else ("image", *_REFERENCES),
    }
    chosen = [role for role in _IMAGES if role in config.columns] or [role for role in _IMAGES if role in roles]
    # A later row may show an image where the first do not.
    by_role |= {role: found(role, candidates[role], open_ended) for role in chosen}
    asks = bool(config.questions) or "question" in config.columns
    dialogue = () if asks else found("conversation", DIALOGUES)[:1]
    if dialogue:
        return by_role | {"conversation": dialogue}
    if not config.questions:
        by_role["question"] = found("question", question)
        if not any(name in names for name in by_role["question"]):
            raise request_error(
                f"{where}: no column 'conversations', 'messages' or 'question'; the columns are: {join_names(names)}; "
                "name a dialogue with --column conversation=NAME, or a question with --column question=NAME"
            )
    return by_role
