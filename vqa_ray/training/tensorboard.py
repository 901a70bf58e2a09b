"""The log of a training as TensorBoard scalars."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.uri import join
from vqa_ray.training.log import TrainingLog

# Either writes the same files; the first comes with Ray Train.
WRITERS = ("tensorboardX", "torch.utils.tensorboard")


def check_tensorboard(writers: Sequence[str] = WRITERS) -> None:
    """Check that scalars can be written.

    Args:
        writers: modules with a `SummaryWriter`; the first that is installed is taken.

    Raises:
        RequestError: none of them is installed.
    """
    _writer(writers)


def write_scalars(
    uri: str, log: TrainingLog, *, after_step: int = 0, started: float = 0.0, writers: Sequence[str] = WRITERS
) -> str | None:
    """Write the records that came after a step as one event file in the directory `uri`, at once or not at all.

    The file is made in a local temporary directory and then stored, so that any URI will do. Called after each
    validation with the step of the one before, it gives a viewer that is open the new scalars; called once in the end,
    all of them. The name of the file comes from `after_step`: what a killed run wrote is replaced, not doubled.

    Args:
        uri: of the directory.
        log: of the training.
        after_step: the step of the last record that is left out.
        writers: of TensorBoard, the first that is installed.
        started: when training began, in seconds since 1970 (UTC); the times of the scalars are counted from there.

    Returns:
        The file's URI; None when no record came after `after_step`.

    Raises:
        RequestError: see `check_tensorboard`.
        OSError: `uri` cannot be written.
    """
    writer_class = _writer(writers)
    scalars = [(name, value, step, started + at) for name, value, step, at in _scalars(log) if step > after_step]
    if not scalars:
        return None
    with tempfile.TemporaryDirectory() as directory:
        with writer_class(directory) as writer:
            for name, value, step, at in scalars:
                writer.add_scalar(name, value, global_step=step, walltime=at)
        (file,) = Path(directory).iterdir()
        target = join(uri, f"events.out.tfevents.{after_step:010d}.vqa-ray")
        write_bytes_atomic(target, file.read_bytes())
    return target


def _scalars(log: TrainingLog) -> Iterator[tuple[str, float, int, float]]:
    """(name, value, step, seconds of training until then)."""
    elapsed = 0.0
    at_step = {0: 0.0}
    for record in log.train:
        elapsed += record.seconds
        at_step[record.step] = elapsed
        if record.samples:
            yield "train/loss", record.loss, record.step, elapsed
        yield "train/learning_rate", record.learning_rate, record.step, elapsed
        yield "train/gradient_norm", record.gradient_norm, record.step, elapsed
        yield "train/samples_per_s", record.samples_per_s, record.step, elapsed
    for validation in log.validations:
        # A record may stand for several steps, in the midst of which the validation was.
        reached = max(step for step in at_step if step <= validation.step)
        at = at_step[reached]
        yield "validation/loss", validation.loss, validation.step, at
        yield "validation/accuracy", validation.accuracy, validation.step, at
        for kind, accuracy in sorted(validation.accuracy_by_type.items()):
            yield f"validation_accuracy/{kind}", accuracy, validation.step, at


def _writer(writers: Sequence[str]) -> Any:
    for name in writers:
        try:
            return import_module(name).SummaryWriter
        except ImportError:
            continue
    raise RequestError(
        f"TensorBoard scalars need one of {', '.join(writers)}, and none is installed: pip install tensorboardX"
    )
