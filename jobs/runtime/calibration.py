"""The calibration file that an option names, checked against the model."""

from __future__ import annotations

from vqa_ray.calibration.file import Calibration
from vqa_ray.models.checkpoint.opened import Checkpoint


def read_calibration(uri: str | None, model: Checkpoint) -> Calibration | None:
    """Read the calibration at `uri`; None where no option names one.

    Raises:
        RequestError: it cannot be read, or was made for another model.
    """
    if uri is None:
        return None
    calibration = Calibration.read(uri)
    calibration.check_model(model.reference, model.fingerprint, uri)
    return calibration


def calibration_fingerprint(calibration: Calibration | None) -> dict[str, str]:
    """Make the entry of a record that tells calibrations of different content apart."""
    return {} if calibration is None else {"calibration_fingerprint": calibration.digest}
