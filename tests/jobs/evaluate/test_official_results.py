"""The official results of real predictions, through the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluation.protocols import test_official_results as gold
from vqa_ray.jobs.cli import main
from vqa_ray.judging.record import EvaluationRecord

pytestmark = gold.pytestmark
CASES = {
    "mme": (gold.mme, {name: (value, 2) for name, value in gold.MME.items()}),
    "mmbench-circular": (
        gold.mmbench,
        {"circular_accuracy": (0.67687, 5), "first_pass_accuracy": (0.75425, 5), "accuracy": (0.76445, 5)},
    ),
    "official-random": (gold.mmmu, {"accuracy": (0.3667, 4)}),
    "mathvista": (gold.mathvista, {"accuracy": (34.8, 5)}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_command_states_the_official_results(name: str, tmp_path: Path) -> None:
    read, expected = CASES[name]
    predictions, truth = [], []
    for number, (said, row) in enumerate(read()):
        kept = {column: value for column, value in row.items() if column not in ("image", "prediction", "response")}
        key = str(row.get("index", row.get("pid", number)))
        predictions.append({"question_id": key, "prediction": said})
        # A column holds one type: the lists of answers are spelled, as MMMU publishes them.
        image = f"{row.get('category')}/{row['image']}" if "image" in row else key
        spelled = {"answer": str(row["answer"]), "choices": _listed(row.get("choices"))}
        truth.append({**kept, **spelled, "question_id": key, "image_id": image, "question": "?"})
    for side, rows in (("predictions", predictions), ("truth", truth)):
        (tmp_path / f"{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["--predictions", str(tmp_path / "predictions.jsonl"), "--truth", str(tmp_path / "truth.jsonl")]
    output = str(tmp_path / "out")
    assert main(["evaluate", *given, "--protocol", name, "--output", output, "--quiet"]) == 0
    record = EvaluationRecord.read(output)
    assert record is not None
    found = {each.name: each.value for each in record.measures if each.group is None}
    assert {measure: round(found[measure] or 0.0, digits) for measure, (_, digits) in expected.items()} == {
        measure: value for measure, (value, _) in expected.items()
    }


def _listed(choices: Any) -> list[str] | None:
    return list(choices.values()) if isinstance(choices, dict) else choices
