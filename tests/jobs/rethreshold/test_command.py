"""`vqa-ray tag --rethreshold`: tags decided anew from kept scores, without a model and without Ray."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vqa_ray import schema
from vqa_ray.jobs.cli import main
from vqa_ray.runs import manifest
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.atomic import write_table_atomic
from vqa_ray.storage.uri import join
from vqa_ray.taxonomy.file import load_taxonomy

COLOUR = {"name": "colour", "question": "what colour?", "choices": ["red", "green"], "threshold": 0.5}
MOTIF = {"name": "motif", "question": "is there {choice}?", "choices": ["dog", "cat"], "mode": "yes_no", "multi": True}
SCORES = [
    {("colour", "red"): 0.6, ("colour", "green"): 0.2, ("motif", "dog"): 0.9, ("motif", "cat"): 0.4},
    None,
    {("colour", "red"): 0.3, ("colour", "green"): 0.4, ("motif", "dog"): 0.1, ("motif", "cat"): 0.7},
]


def taxonomy(path: Path, *attributes: dict[str, Any]) -> str:
    path.write_text(json.dumps({"attributes": attributes or (COLOUR, MOTIF)}))
    return str(path)


def cell(scores: dict[tuple[str, str], float] | None) -> list[dict[str, Any]] | None:
    return scores and [
        {"attribute": name, "choice": choice, "score": score} for (name, choice), score in scores.items()
    ]


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send messages to the standard error of the test."""
    monkeypatch.setattr("vqa_ray.jobs.runtime.logs.console", lambda: sys.stderr)


@pytest.fixture
def tags(tmp_path: Path) -> str:
    return taxonomy(tmp_path / "tags.yaml")


@pytest.fixture
def run(tmp_path: Path, tags: str) -> str:
    return write_run(tmp_path / "run", tags)


def write_run(place: Path, tags: str, *, version: int = schema.COLUMNS_VERSION, finished: str = "then") -> str:
    """A finished run of `tag` with a file per row, the second of which failed."""
    read = load_taxonomy(tags)
    columns = schema.with_kept(schema.tag_schema(read.columns, version), [pa.field("price", pa.int64())])
    layout = RunDirectory(str(place))
    model = {"reference": "fake:", "family": "fake", "fingerprint": "f1", "score_meaning": "share"}
    command = {"tags": tags, "tags_fingerprint": read.fingerprint, "keep": ["price"]}
    source = {"uri": "nowhere", "place": "nowhere", "format": "images", "fingerprint": "f", "shards": 3}
    RunRecord("r1", "tag", "2026-01-01T00:00:00Z", command, model, source, {}, version).write(layout.record)
    for number, scores in enumerate(SCORES):
        row = {"row_id": number, "source_key": number << 32, "attempt": 1, "price": number, "tag_scores": cell(scores)}
        row |= {"status": "ok"} if scores else {"status": "error", "error_code": "image_missing"}
        table = pa.Table.from_pylist([{**row, "tags": ["colour:red"] if scores else None}], columns)
        write_table_atomic(join(layout.output, f"part-{number}.parquet"), table)
    manifest.write(layout.manifest, {"format": 1, "findings": [], "timing": {"finished": finished}})
    return str(place)


def rows(output: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(output.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def rethreshold(run: str, output: Path, *more: str) -> int:
    return main(["tag", "--rethreshold", run, "--output", str(output), *more])


def test_tags_follow_other_thresholds(run: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new"
    lower = taxonomy(tmp_path / "lower.yaml", COLOUR | {"threshold": 0.4}, MOTIF | {"threshold": 0.2})
    assert rethreshold(run, output, "--tags", lower) == 0
    first, failed, last = rows(output)
    assert first["tags"] == ["colour:red", "motif:dog", "motif:cat"]
    # 0.4 as float32 is more than 0.4: it is compared as it is kept.
    assert (last["colour"], last["motif"], last["price"]) == ("green", ["cat"], 2)
    assert (failed["error_code"], failed["tags"]) == ("image_missing", None)
    content = manifest.read(RunDirectory(str(output)).manifest)
    assert content is not None
    assert (content["rows"], content["ok"], content["failed"]) == (3, 2, 1)
    assert content["parent"] == {"output": run, "run_id": "r1", "finished": "then"}
    assert content["model"]["fingerprint"] == "f1"
    assert schema.metadata_of(pq.read_schema(output / "part-0.parquet"))["run_id"] == content["run_id"]
    assert "2 of 2 images have other tags" in capfd.readouterr().err


def test_the_same_command_again_is_told_and_another_refused(
    run: str, tags: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new"
    assert rethreshold(run, output, "--tags", tags) == 0
    before = (output / "part-0.parquet").stat().st_mtime_ns
    assert rethreshold(run, output, "--tags", tags) == 0
    assert "has finished already" in capfd.readouterr().err
    assert (output / "part-0.parquet").stat().st_mtime_ns == before
    assert rethreshold(run, output, "--tags", taxonomy(tmp_path / "other.yaml", COLOUR)) == 2
    assert "holds another run" in capfd.readouterr().err
    plain = ("tag", "--input", str(tmp_path), "--input-format", "images", "--model", "fake:", "--output", str(output))
    (tmp_path / "a.jpg").write_bytes(b"")
    assert main([*plain]) == 2
    assert f"): --rethreshold: {run} → not given; use another" in capfd.readouterr().err
    # Retried meanwhile, the run is no longer the one that the output was made of.
    write_run(Path(run), tags, finished="later")
    assert rethreshold(run, output, "--tags", tags) == 2
    assert "--rethreshold-finished: r1, then → r1, later" in capfd.readouterr().err


def test_a_calibration_decides_and_a_result_is_a_run_itself(run: str, tmp_path: Path) -> None:
    fit = {"steps": {"starts": [0.0], "probabilities": [0.5]}, "rows": 9, "positives": 3}
    measure = {"value": 1.0, "low": 0.9, "high": 1.0}
    fit |= {"threshold": 0.95, "precision": measure, "recall": measure}
    path = tmp_path / "calibration.json"
    content = {"format": 1, "model": "fake:", "fingerprint": "f1", "questions": [], "tags": [{"tag": "colour", **fit}]}
    path.write_text(json.dumps(content))
    assert rethreshold(run, tmp_path / "new", "--calibration", str(path)) == 0
    assert [row["colour"] for row in rows(tmp_path / "new")] == [None, None, None]
    looser = taxonomy(tmp_path / "looser.yaml", COLOUR | {"threshold": 0.1})
    assert rethreshold(str(tmp_path / "new"), tmp_path / "newer", "--tags", looser) == 0
    assert [row["colour"] for row in rows(tmp_path / "newer")] == ["red", None, "green"]
    assert "motif" not in rows(tmp_path / "newer")[0]
    path.write_text(json.dumps(content | {"fingerprint": "f2"}))
    assert rethreshold(run, tmp_path / "other", "--calibration", str(path)) == 2


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (
            COLOUR | {"choices": ["red", "blue"]},
            "attribute 'colour': the run has no score of 'blue'; its choices there",
        ),
        (
            COLOUR | {"name": "hue"},
            "attribute 'hue': the run has no score of 'red', 'green'; its attributes are 'colour'",
        ),
        (COLOUR | {"question": "which?"}, "its scores belong to another question"),
        (COLOUR | {"choices": {"red": "scarlet"}}, "choice 'red': 'red' → 'scarlet'"),
        (COLOUR | {"name": "price"}, "kept column 'price'"),
    ],
)
def test_what_the_scores_cannot_decide_is_refused(
    attribute: dict[str, Any], message: str, run: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new = taxonomy(tmp_path / "new.yaml", attribute)
    assert rethreshold(run, tmp_path / "new", "--tags", new) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "expected --tags, --calibration or both"),
        (("--model", "fake:"), "--model: does not go with --rethreshold, which takes --output, --tags"),
        (("--tags", "any.yaml", "--retry-failed"), "--retry-failed: does not go with --rethreshold"),
    ],
)
def test_wrong_requests(
    more: Sequence[str], message: str, run: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert rethreshold(run, tmp_path / "new", *more) == 2
    assert message in capfd.readouterr().err


def test_runs_that_cannot_serve_are_refused(tags: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    old = write_run(tmp_path / "old", tags, version=1)
    assert rethreshold(old, tmp_path / "new", "--tags", tags) == 2
    assert "an earlier version made it, without the score of every choice" in capfd.readouterr().err
    assert rethreshold(old, Path(old), "--tags", tags) == 2
    assert rethreshold(old, Path(old, "below"), "--tags", tags) == 2
    assert capfd.readouterr().err.count("lies in the run whose scores decide") == 2
    assert rethreshold(str(tmp_path), tmp_path / "new", "--tags", tags) == 2
    assert "expected a run directory of `vqa-ray tag`" in capfd.readouterr().err
    Path(RunDirectory(old).manifest).unlink()
    assert rethreshold(old, tmp_path / "new", "--tags", tags) == 2
    assert "has not finished" in capfd.readouterr().err


def test_a_condition_decides_by_the_new_thresholds_and_says_what_was_not_asked(tmp_path: Path, run: str) -> None:
    shade = {"name": "motif", **{name: MOTIF[name] for name in ("question", "choices", "mode", "multi")}}
    conditional = taxonomy(tmp_path / "when.yaml", COLOUR, {**shade, "when": "colour = red"})
    assert main(["tag", "--rethreshold", run, "--tags", conditional, "--output", str(tmp_path / "one")]) == 0
    first, _, third = rows(tmp_path / "one")
    assert (first["motif"], first["motif_reason"]) == (["dog"], None)
    assert (third["motif"], third["motif_reason"], third["warning"]) == (None, "not_asked", None)
    assert {each["attribute"] for each in third["tag_scores"]} == {"colour"}
    wider = taxonomy(tmp_path / "wider.yaml", {**COLOUR, "threshold": 0.1}, {**shade, "when": "colour = green"})
    assert (
        main(["tag", "--rethreshold", str(tmp_path / "one"), "--tags", wider, "--output", str(tmp_path / "two")]) == 0
    )
    first, _, third = rows(tmp_path / "two")
    assert (first["motif"], first["motif_reason"], first["warning"]) == (None, "not_asked", None)
    assert (third["motif"], third["motif_reason"]) == (None, "not_asked")
    assert third["warning"] == "motif applies by these thresholds and was not asked"
