"""Judge predictions with a protocol, as an evaluation does, without a run."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vqa_ray.evaluation.protocol import JudgedRows, Outcome, Protocol


def judge_all(protocol: Protocol, cases: Iterable[tuple[Any, Mapping[str, Any]]]) -> JudgedRows:
    """Judge pairs of prediction and truth by role; a prediction of None is a row of truth without prediction."""
    pairs = list(cases)
    protocol.fit(truth for _, truth in pairs)
    judged = [protocol.judge_absent(truth) if said is None else protocol.judge(said, truth) for said, truth in pairs]
    groups = [[truth.get(role) for _, truth in pairs] for role in protocol.groups]
    outcomes = [
        Outcome.MISSING if said is None else Outcome.JUDGED if each.read_as is not None else Outcome.UNPARSED
        for (said, _), each in zip(pairs, judged, strict=True)
    ]
    names = {name for each in judged for name in each.extra}

    def column(values: list[Any]) -> np.ndarray[Any, np.dtype[np.object_]]:
        result = np.empty(len(values), object)
        result[:] = values
        return result

    return JudgedRows(
        score=np.array([each.score for each in judged]),
        outcome=np.array(outcomes),
        read_as=column([each.read_as for each in judged]),
        truth=column([each.truth for each in judged]),
        groups={
            role: column([None if value is None else str(value) for value in values])
            for role, values in zip(protocol.groups, groups, strict=True)
        },
        extra={name: np.array([each.extra.get(name, 0.0) for each in judged]) for name in names},
    )


def measure(protocol: Protocol, cases: Iterable[tuple[Any, Mapping[str, Any]]]) -> dict[str, float]:
    """Return the measures of pairs of prediction and truth, each counted once."""
    rows = judge_all(protocol, cases)
    return protocol.measures(rows, np.ones(len(rows)))
