"""TensorBoard reads what was written."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from vqa_ray.errors import RequestError
from vqa_ray.training.log import StepRecord, TrainingLog, ValidationRecord
from vqa_ray.training.tensorboard import WRITERS, check_tensorboard, write_scalars

Scalars = dict[str, list[tuple[int, float, float]]]


def log() -> TrainingLog:
    made = TrainingLog()
    made.add_step(StepRecord(1, 0, 2.0, 1e-4, 8, 0.5, 1.5))
    made.add_validation(ValidationRecord(1, 0, 1.5, 0.25, 10, {"yes/no": 0.5}))
    made.add_step(StepRecord(2, 0, 0.0, 2e-4, 0, 0.5, 0.0, {"model_error": 8}))
    made.add_step(StepRecord(3, 1, 1.0, 3e-4, 4, 1.0, 0.5))
    made.add_validation(ValidationRecord(3, 1, 0.5, 0.75, 10, {"yes/no": 0.875}))
    return made


def read(directory: Path) -> Scalars:
    """Scalar name → (step, value, time), as TensorBoard's own reader finds them."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    found: Scalars = {}
    for path in sorted(directory.iterdir()):
        assert "tfevents" in path.name
        for event in loader.LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, round(value.simple_value, 6), event.wall_time))
    return found


EXPECTED: Scalars = {
    "train/loss": [(1, 2.0, 100.5), (3, 1.0, 102.0)],
    "train/learning_rate": [(1, 1e-4, 100.5), (2, 2e-4, 101.0), (3, 3e-4, 102.0)],
    "train/gradient_norm": [(1, 1.5, 100.5), (2, 0.0, 101.0), (3, 0.5, 102.0)],
    "train/samples_per_s": [(1, 16.0, 100.5), (2, 0.0, 101.0), (3, 4.0, 102.0)],
    "validation/loss": [(1, 1.5, 100.5), (3, 0.5, 102.0)],
    "validation/accuracy": [(1, 0.25, 100.5), (3, 0.75, 102.0)],
    "validation_accuracy/yes/no": [(1, 0.5, 100.5), (3, 0.875, 102.0)],
}


@pytest.mark.parametrize("writer", WRITERS)
def test_all_scalars_at_once(tmp_path: Path, writer: str) -> None:
    pytest.importorskip(writer)
    uri = write_scalars(str(tmp_path / "board"), log(), started=100.0, writers=(writer,))
    assert uri is not None
    assert [str(path) for path in (tmp_path / "board").iterdir()] == [uri]
    assert read(tmp_path / "board") == EXPECTED


def test_scalars_a_part_at_a_time_and_again_after_a_kill(tmp_path: Path) -> None:
    first = TrainingLog.from_json({**log().to_json(), "train": [], "validations": []})
    assert write_scalars(str(tmp_path), first) is None
    first.add_step(log().train[0])
    first.add_validation(log().validations[0])
    write_scalars(str(tmp_path), first, started=100.0)
    for _ in range(2):
        write_scalars(str(tmp_path), log(), after_step=1, started=100.0)
    assert read(tmp_path) == EXPECTED
    assert write_scalars(str(tmp_path), log(), after_step=3) is None


def test_scalars_go_to_any_storage() -> None:
    uri = write_scalars("memory://board", log())
    assert uri is not None
    assert fsspec.filesystem("memory").size(uri) > 500


def test_without_a_writer_the_request_is_refused(tmp_path: Path) -> None:
    check_tensorboard()
    for refused in (
        lambda: check_tensorboard(("no_such_package",)),
        lambda: write_scalars(str(tmp_path), log(), writers=("no_such_package",)),
    ):
        with pytest.raises(RequestError, match="need one of no_such_package, and none is installed: pip install"):
            refused()
