"""`calibration.json` and what takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vqa_ray.calibration.file import Calibration
from vqa_ray.errors import RequestError
from vqa_ray.evaluation.calibration import Target, fit
from vqa_ray.predicates.parser import PredicateError, parse
from vqa_ray.predicates.predicate import Question
from vqa_ray.taxonomy.taxonomy import Taxonomy

DOG = Question("is it a dog?")
FIT = fit([0.1, 0.2, 0.3, 0.4], [False, True, False, True], Target("recall", 1.0))
CALIBRATION = Calibration("org/model", "f00d", {DOG: FIT, Question("what?", "a cup"): FIT}, {"motif:dog": FIT})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    uri = str(tmp_path / "calibration.json")
    CALIBRATION.write(uri)
    assert Calibration.read(uri) == CALIBRATION
    told = json.loads(Path(uri).read_text())["questions"][0]
    assert (told["text"], told["rows"], told["positives"], told["f1"]) == ("is it a dog?", 4, 2, FIT.f1)


def test_another_model_is_refused_and_both_are_named() -> None:
    CALIBRATION.check_model("elsewhere/copy", "f00d", "c.json")
    with pytest.raises(RequestError, match=r"c\.json: was made for model org/model \(f00d\), this is other \(cafe\)"):
        CALIBRATION.check_model("other", "cafe", "c.json")


def test_a_temperature_is_written_and_read(tmp_path: Path) -> None:
    uri = str(tmp_path / "calibration.json")
    warm = fit([0.1, 0.2, 0.3, 0.4], [False, True, False, True], Target("recall", 1.0), "temperature")
    Calibration("org/model", "f00d", {DOG: warm}).write(uri)
    assert Calibration.read(uri).questions == {DOG: warm}
    content = json.loads(Path(uri).read_text())
    assert "steps" not in content["questions"][0]
    content["questions"][0]["temperature"] = 0
    Path(uri).write_text(json.dumps(content))
    with pytest.raises(RequestError, match="a temperature is greater than 0, not 0"):
        Calibration.read(uri)


def test_a_file_of_version_0_2_is_read(tmp_path: Path) -> None:
    ratio = {"value": 0.5, "low": 0.1, "high": 0.9}
    fitted = {"threshold": 0.3, "rows": 4, "positives": 2, "precision": ratio, "recall": ratio, "f1": 0.5}
    steps = {"starts": [0.1, 0.25], "probabilities": [0.0, 0.75]}
    content = {"format": 1, "model": "a", "fingerprint": "b", "questions": []}
    content["tags"] = [{"tag": "colour", "steps": steps, **fitted}]
    (tmp_path / "c.json").write_text(json.dumps(content))
    assert Calibration.read(str(tmp_path / "c.json")).tags["colour"].probability(0.3) == 0.75


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2}', '{"format": 1, "model": "a", "fingerprint": "b"}'])
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=r"c\.json: not a calibration: "):
        Calibration.read(str(path))
    with pytest.raises(RequestError, match=r"absent\.json: cannot be read"):
        Calibration.read(str(tmp_path / "absent.json"))


def test_questions_count_as_probabilities_and_know_their_thresholds() -> None:
    scores = {0: 0.21}
    assert parse('"is it a dog?"', calibrated=CALIBRATION.questions).score(scores) == FIT.probability(0.21) == 0.5
    assert parse('"is it a dog?" > 0.5', calibrated=CALIBRATION.questions).score(scores) == 0
    at = {0: FIT.threshold}
    assert parse('"is it a dog?" >= calibrated', calibrated=CALIBRATION.questions).score(at) == 1
    assert parse('"is it a dog?" >= Calibrated', calibrated=CALIBRATION.questions).score({0: 0.14}) == 0
    assert parse('"is it a cat?"', calibrated=CALIBRATION.questions).score(scores) == 0.21
    with pytest.raises(PredicateError, match="the question has no calibration to compare with, at character 19"):
        parse('"is it a cat?" >= calibrated', calibrated=CALIBRATION.questions)


def test_tags_take_thresholds_of_attributes_and_choices() -> None:
    taxonomy = Taxonomy.model_validate(
        {
            "attributes": [
                {"name": "colour", "question": "which?", "choices": ["red", "blue"], "threshold": 0.5},
                {
                    "name": "motif",
                    "question": "is there {choice}?",
                    "choices": ["dog", "cat"],
                    "mode": "yes_no",
                    "multi": True,
                },
            ]
        }
    )
    changed = taxonomy.calibrated({"colour": 0.2, "motif:dog": 0.9, "shape": 0.1})
    scores = [(0.3, 0.1), (0.8, 0.2), (0.8, 0.2)]
    assert taxonomy.tags(scores).tags == ("motif:dog", "motif:cat")
    assert changed.tags(scores).tags == ("colour:red", "motif:cat")
    assert changed.fingerprint != taxonomy.fingerprint
    with pytest.raises(RequestError, match="holds none of the taxonomy's attributes"):
        taxonomy.calibrated({"shape": 0.1})
    with pytest.raises(ValueError, match="thresholds: 'green' is not one of the choices"):
        Taxonomy.model_validate(
            {"attributes": [{"name": "a", "question": "b", "choices": ["c"], "thresholds": {"green": 0.1}}]}
        )
