"""Measures of judged rows: of all, of parts and by groups."""

import numpy as np

from tests.helpers.judged_rows import judge_all
from vqa_ray.evaluation.protocols.mmmu import Mmmu
from vqa_ray.judging.measure import measure
from vqa_ray.judging.measured_rows import MeasuredRows


def test_a_part_states_its_own_rows_and_images_and_is_no_measure_of_groups() -> None:
    subjects = ["Art", "Art", "Music", "Math", "Math"]
    rows = judge_all(Mmmu(), [("A", {"answer": "A", "subject": subject}) for subject in subjects])
    clusters = np.array([1, 1, 2, 3, 4])
    found = measure(Mmmu(), MeasuredRows(rows, clusters, {"subject": rows.groups["subject"]})).measures
    assert [(each.name, each.n, each.clusters) for each in found if each.group is None] == [
        ("accuracy", 5, 4),
        ("art_and_design", 3, 2),
        ("science", 2, 2),
    ]
    assert {each.name for each in found if each.group is not None} == {"accuracy"}
