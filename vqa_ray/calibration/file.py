"""`calibration.json`: thresholds and probabilities, fitted by `calibrate`, used by `retrieve` and `tag`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vqa_ray.errors import RequestError, one_line
from vqa_ray.evaluation.calibration import CalibrationFit, IsotonicMap, Measure, ProbabilityMap, TemperatureMap
from vqa_ray.predicates.predicate import Question
from vqa_ray.storage import filesystem as storage
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.store_errors import refused

FORMAT = 1
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Calibration:
    """Fits of the scores of one model.

    Attributes:
        model: its reference, for messages.
        fingerprint: of the model; scores of another are not what was fitted.
        questions: of `retrieve`.
        tags: of `tag`: `attribute`, or `attribute:choice` where an image may have several of an attribute.
        digest: of the file it was read from: another content is another command.
    """

    model: str
    fingerprint: str
    questions: Mapping[Question, CalibrationFit] = field(default_factory=dict)
    tags: Mapping[str, CalibrationFit] = field(default_factory=dict)
    digest: str = field(default="", compare=False)

    def check_model(self, reference: str, fingerprint: str, where: str) -> None:
        """Check that the calibration was fitted to scores of this model.

        Raises:
            RequestError: it was not; names both.
        """
        if fingerprint != self.fingerprint:
            raise RequestError(
                f"--calibration {where}: was made for model {self.model} ({self.fingerprint}), "
                f"this is {reference} ({fingerprint})"
            )

    def write(self, uri: str) -> None:
        """Write it as JSON, atomically."""
        content = {
            "format": FORMAT,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "questions": [{**asdict(question), **_as_json(fit)} for question, fit in self.questions.items()],
            "tags": [{"tag": tag, **_as_json(fit)} for tag, fit in self.tags.items()],
        }
        write_bytes_atomic(uri, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    @classmethod
    def read(cls, uri: str) -> Calibration:
        """Return the calibration at `uri`.

        Raises:
            RequestError: there is none, or it is not one of this format.
        """
        with refused(f"--calibration {uri}: cannot be read"):
            data = storage.read_bytes(uri, _MAX_BYTES)
        try:
            content = json.loads(data)
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}, wanted {FORMAT}")
            return cls(
                content["model"],
                content["fingerprint"],
                {Question(each["text"], each["answer"]): _fit(each) for each in content["questions"]},
                {each["tag"]: _fit(each) for each in content["tags"]},
                hashlib.sha256(data).hexdigest()[:16],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(f"--calibration {uri}: not a calibration: {one_line(repr(error))}") from error


def _as_json(fit: CalibrationFit) -> dict[str, Any]:
    content = asdict(fit)
    probability = content.pop("probability")
    # Steps stand under a name of their own, as in files from before there was a temperature.
    map_ = probability if isinstance(fit.probability, TemperatureMap) else {"steps": probability}
    return {**map_, **content, "f1": fit.f1}


def _fit(content: Mapping[str, Any]) -> CalibrationFit:
    return CalibrationFit(
        _map(content),
        float(content["threshold"]),
        int(content["rows"]),
        int(content["positives"]),
        Measure(**content["precision"]),
        Measure(**content["recall"]),
    )


def _map(content: Mapping[str, Any]) -> ProbabilityMap:
    if "temperature" in content:
        temperature = float(content["temperature"])
        if not 0 < temperature < math.inf:
            raise ValueError(f"a temperature is greater than 0, not {temperature}")
        return TemperatureMap(temperature)
    steps = content["steps"]
    starts, probabilities = tuple(map(float, steps["starts"])), tuple(map(float, steps["probabilities"]))
    if not starts or len(starts) != len(probabilities):
        raise ValueError("steps need as many starts as probabilities, one at least")
    return IsotonicMap(starts, probabilities)
