"""An expression of questions given as an option."""

from __future__ import annotations

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.jobs.runtime.predicate import parse_checked
from vqa_ray.models.checkpoint.opened import Checkpoint


def test_only_retrieve_has_columns_that_a_question_may_name() -> None:
    model = Checkpoint.open("fake:")

    def parsed(has_rows: bool) -> None:
        parse_checked(
            "--verify", '"is it {title}?"', model, None, None, threshold=0.5, combine="min-max", has_rows=has_rows
        )

    parsed(has_rows=True)
    with pytest.raises(RequestError, match=r"--verify: \{title\} names a column of an input"):
        parsed(has_rows=False)
