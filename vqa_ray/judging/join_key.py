"""The ids by which predictions and truth belong together."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_ray.errors import RequestError
from vqa_ray.judging.side import Side
from vqa_ray.readers.source import join_names

_IDS = ("question_id", "image_id", "row_id")


def choose_key(predictions: Side, truth: Side, given: str | None, *, asks: bool, has_several: bool) -> tuple[str, ...]:
    """Return the columns whose values are the id of a row on both sides.

    Args:
        predictions: a side.
        truth: the other.
        given: the column that the request names.
        asks: whether predictions are answers to questions.
        has_several: whether rows of the predictions with one id may answer several questions.

    Raises:
        RequestError: the sides share no ids.
    """
    if given is not None:
        for side, option in ((predictions, "--predictions"), (truth, "--truth")):
            if given not in side.ids and given not in side.columns:
                raise RequestError(f"--key {given}: {option} {side.uri} has no such column; {_described(side)}")
        return (given,)
    shared = predictions.ids & truth.ids
    asked = ("question",) if asks and "question" in shared else ()
    for name in _IDS:
        if name not in shared:
            continue
        if has_several and not asked:
            raise RequestError(
                f"--truth {truth.uri}: the run asks several questions of a row, so its ids alone do not tell them "
                f"apart; wanted is a column 'question' beside {name!r}; {_described(truth)}"
            )
        return (name, *(asked if has_several or name == "image_id" else ()))
    raise RequestError(
        f"--truth {truth.uri}: shares no id with the predictions; --predictions: {_described(predictions)}; --truth: "
        f"{_described(truth)}; name one that both have with --key COLUMN, or rename with --column image_id=NAME"
    )


def key_name(key: Sequence[str]) -> str:
    """Return the name of a key."""
    return "+".join(key)


def _described(side: Side) -> str:
    return f"ids are {join_names(sorted(side.ids & {*_IDS, 'question'}))}, columns {join_names(side.columns)}"
