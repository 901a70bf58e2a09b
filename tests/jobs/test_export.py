"""`vqa-ray export`: what other tools read of it are the rows of the run."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.helpers.hub import TOKEN, USER, hub_server
from tests.unit.browse.site import table_of, write_run
from vqa_ray import schema
from vqa_ray.jobs.cli import main
from vqa_ray.runs import manifest
from vqa_ray.runs.counts import count_rows
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.runs.record import RunRecord

ROWS = [
    {"question": 'a "red", mug?\n', "answer": "yes", "answer_score": 0.5, "answers": [{"answer": "yes", "score": 0.5}]},
    {"status": "error", "error_code": "image_missing", "error_message": "gone"},
    {"question": "größer?", "answer": "", "answer_score": 0.25, "answers": []},
]


@pytest.fixture
def run(tmp_path: Path) -> str:
    return write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, ROWS))


def test_csv_has_the_rows_that_are_ok(run: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "rows.csv"
    assert main(["export", run, "--to", "csv", "--output", str(output)]) == 0
    with output.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["question"] for row in found] == ['a "red", mug?\n', "größer?"]
    assert json.loads(found[0]["answers"]) == [{"answer": "yes", "score": 0.5}]
    assert list(found[0]) == schema.ANSWER.names
    assert "2 rows → " in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["rows.csv"]


def test_json_lines_hold_the_failed_rows_on_request(run: str, tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    assert main(["export", run, "--to", "jsonl", "--output", str(output), "--errors"]) == 0
    found = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [row["error_code"] for row in found] == [None, "image_missing", None]
    assert found[2]["answer_score"] == 0.25


@pytest.mark.parametrize("more", [[], ["--errors"]])
def test_rows_that_are_gone_from_the_input_stay_behind(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], more: list[str]
) -> None:
    gone = {**ROWS[0], "status": "gone", "error_code": "gone", "error_message": "not in the input any more"}
    run, output = write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, [*ROWS, gone])), tmp_path / "rows"
    assert main(["export", run, "--to", "jsonl", "--output", f"{output}.jsonl", *more]) == 0
    found = [json.loads(line)["status"] for line in Path(f"{output}.jsonl").read_text("utf-8").splitlines()]
    assert found == (["ok", "error", "ok"] if more else ["ok", "ok"])
    assert "; 1 that are gone from the input left out" in capfd.readouterr().err
    assert main(["export", run, "--to", "submission:pope", "--output", f"{output}.pope.jsonl"]) == 0
    assert len(Path(f"{output}.pope.jsonl").read_text("utf-8").splitlines()) == 3


def test_a_submission_has_every_question(run: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "answers.jsonl"
    assert main(["export", run, "--to", "submission:pope", "--output", str(output)]) == 0
    found = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [row["answer"] for row in found] == ["yes", "", ""]
    assert "3 answers for pope, 1 of them empty because the row failed → " in capfd.readouterr().err


def test_a_submission_of_another_benchmark_and_of_several_splits(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    form = schema.with_kept(schema.ANSWER, [pa.field("split", pa.string())])
    rows = [{**row, "question_id": str(n), "split": f"s{n % 2}"} for n, row in enumerate(ROWS)]
    run = write_run(tmp_path / "run", "answer", table_of(form, rows), input_format="pope")
    assert main(["export", run, "--to", "submission:pope", "--output", str(tmp_path / "a.jsonl")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a-s0.jsonl", "a-s1.jsonl"]
    told = capfd.readouterr().err
    assert f"a file for each of its 2 splits → {tmp_path}/a-s0.jsonl, {tmp_path}/a-s1.jsonl; " in told
    assert "read as" not in told
    assert main(["export", run, "--to", "submission:vqa-v2", "--output", str(tmp_path / "b.json")]) == 0
    assert "its questions were read as pope, the form is that of submission:vqa-v2" in capfd.readouterr().err
    assert main(["export", run, "--to", "submission:mmbench", "--output", str(tmp_path / "c.XLSX")]) == 2
    assert "c.XLSX: --to submission:mmbench writes text, no workbook; expected a name" in capfd.readouterr().err


def test_what_cannot_be_exported_is_refused(run: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = ("--output", str(tmp_path / "rows"))
    assert main(["export", run, "--to", "xml", *output]) == 2
    wanted = "csv, jsonl, coco, label-studio, fiftyone, llava, hub or submission:NAME"
    assert f"--to xml: unknown format; wanted {wanted}" in capfd.readouterr().err
    assert main(["export", run, "--to", "submission:vqa", *output]) == 2
    assert "--to submission:vqa: unknown benchmark; wanted submission:vqa-v2, " in capfd.readouterr().err
    assert main(["export", str(tmp_path / "none"), "--to", "csv", *output]) == 2
    assert "none: no such directory or prefix; expected a finished run, or an index" in capfd.readouterr().err
    assert main(["export", str(tmp_path), "--to", "csv", *output]) == 2
    assert capfd.readouterr().err == f"vqa-ray export: {tmp_path}: neither a finished run nor an index\n"
    assert main(["export", str(tmp_path / "none"), "--to", "hub", "--output", "a/b"]) == 2
    assert "none: no such directory or prefix; expected a finished run" in capfd.readouterr().err


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Two images of 40 × 20 pixels, one of them lying on its side, and one that is gone."""
    for name, size, turned in (("a", (40, 20), 1), ("b", (20, 40), 6)):
        exif = Image.Exif()
        exif[0x0112] = turned
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.jpg", exif=exif)
    return [str(tmp_path / f"{name}.jpg") for name in ("a", "b", "gone")]


def tag_run(tmp_path: Path, pictures: list[str]) -> str:
    scores = [
        {"attribute": "colour", "choice": "red", "score": 0.5},
        {"attribute": "motif", "choice": "red", "score": 0.25},
    ]
    rows = [
        {"image_uri": pictures[0], "tags": ["colour:red", "motif:red"], "tag_scores": scores},
        {"image_uri": pictures[1], "tags": ["colour:red"], "tag_scores": scores},
        {"image_uri": pictures[2], "tags": ["colour:red"], "tag_scores": scores},
        {"status": "error", "error_code": "image_missing", "error_message": "gone"},
    ]
    return write_run(
        tmp_path / "tagged", "tag", table_of(schema.tag_schema([("colour", False), ("motif", True)]), rows)
    )


def boxed_run(tmp_path: Path, pictures: list[str]) -> str:
    box = {"label": "dog", "x0": 4.0, "y0": 2.0, "x1": 24.0, "y1": 12.0}
    rows = [
        {"image_uri": pictures[0], "question": "where?", "answer": "here", "answer_score": 0.5, "boxes": [box]},
        {"image_uri": pictures[2], "question": "where?", "answer": "here", "answer_score": 0.5, "boxes": [box]},
        {"image_uri": pictures[0], "question": "red?", "answer": "yes", "answer_score": 0.5, "boxes": []},
    ]
    return write_run(tmp_path / "boxed", "answer", table_of(schema.answer_schema(False, boxes=True), rows))


def exported(run: str, to: str, output: Path) -> object:
    assert main(["export", run, "--to", to, "--output", str(output)]) == 0
    return json.loads(output.read_text("utf-8"))


def test_tags_are_categories_of_coco(tmp_path: Path, pictures: list[str]) -> None:
    found = exported(tag_run(tmp_path, pictures), "coco", tmp_path / "coco.json")
    assert isinstance(found, dict)
    assert [(each["file_name"], each.get("width"), each.get("height")) for each in found["images"]] == [
        (pictures[0], 40, 20),
        (pictures[1], 40, 20),
        (pictures[2], None, None),
    ]
    names = [(each["name"], each["supercategory"]) for each in found["categories"]]
    assert names == [("colour:red", "colour"), ("motif:red", "motif")]
    assert [(each["image_id"], each["category_id"], each["bbox"], each["score"]) for each in found["annotations"]] == [
        (1, 1, [0, 0, 40, 20], 0.5),
        (1, 2, [0, 0, 40, 20], 0.25),
        (2, 1, [0, 0, 40, 20], 0.5),
    ]
    assert [each["id"] for each in found["annotations"]] == [1, 2, 3]


def test_boxes_are_annotations_of_coco(tmp_path: Path, pictures: list[str]) -> None:
    found = exported(boxed_run(tmp_path, pictures), "coco", tmp_path / "coco.json")
    assert isinstance(found, dict)
    assert [each["file_name"] for each in found["images"]] == [pictures[0], pictures[2]]
    assert [(each["image_id"], each["bbox"], each["area"]) for each in found["annotations"]] == [
        (1, [4, 2, 20, 10], 200),
        (2, [4, 2, 20, 10], 200),
        (1, [0, 0, 40, 20], 800),
    ]
    assert [each["name"] for each in found["categories"]] == ["dog", "yes"]


def test_coco_without_any_place_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [{"image_uri": str(tmp_path / "gone.jpg"), "question": "red?", "answer": "yes", "answer_score": 0.5}]
    gone = write_run(tmp_path / "gone", "answer", table_of(schema.ANSWER, rows))
    assert main(["export", gone, "--to", "coco", "--output", str(tmp_path / "coco.json")]) == 2
    assert "no image of the run can be read (for its size) and no row has boxes" in capfd.readouterr().err
    assert not (tmp_path / "coco.json").exists()


def test_captions_are_annotations_of_coco(tmp_path: Path) -> None:
    # JavaScript has no integer of this size.
    row = {"row_id": 2**53 + 1, "image_uri": str(tmp_path / "gone.jpg"), "caption": "a dog", "caption_score": 0.5}
    run = write_run(tmp_path / "captions", "caption", table_of(schema.CAPTION, [row]))
    found = exported(run, "coco", tmp_path / "coco.json")
    assert isinstance(found, dict)
    assert found["annotations"] == [
        {"id": 1, "image_id": 1, "row_id": str(2**53 + 1), "score": 0.5, "caption": "a dog"}
    ]


def test_label_studio_gets_tasks_with_predictions(tmp_path: Path, pictures: list[str]) -> None:
    tasks = exported(tag_run(tmp_path, pictures), "label-studio", tmp_path / "tasks.json")
    assert isinstance(tasks, list)
    assert [task["data"]["image"] for task in tasks] == pictures
    assert {type(task["data"]["row_id"]) for task in tasks} == {str}
    (prediction,) = tasks[0]["predictions"]
    assert prediction["score"] == 0.25
    assert prediction["result"] == [
        {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": ["red"]}, "score": score}
        for name, score in (("colour", 0.5), ("motif", 0.25))
    ]
    boxed, lost, plain = exported(boxed_run(tmp_path, pictures), "label-studio", tmp_path / "boxes.json")  # type: ignore[misc]
    (result,) = boxed["predictions"][0]["result"]
    place = {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["dog"]}
    assert (result["type"], result["value"]) == ("rectanglelabels", place)
    assert (result["original_width"], result["original_height"]) == (40, 20)
    assert lost["predictions"][0]["result"] == []
    assert plain["predictions"][0]["result"][0]["value"] == {"text": ["yes"]}
    assert plain["data"]["question"] == "red?"


def test_fiftyone_gets_a_sample_for_each_input_row(tmp_path: Path, pictures: list[str]) -> None:
    run, output = tag_run(tmp_path, pictures), tmp_path / "fiftyone"
    assert main(["export", run, "--to", "fiftyone", "--output", str(output)]) == 0
    assert json.loads((output / "data.json").read_text()) == {"0": pictures[0], "1": pictures[1], "2": pictures[2]}
    labels = json.loads((output / "labels.json").read_text())["labels"]
    assert [(each["label"], each["confidence"]) for each in labels["0"]] == [("red", 0.5), ("red", 0.25)]
    assert sorted(path.name for path in output.iterdir()) == ["data.json", "labels.json"]


def test_runs_without_labels_are_refused(tmp_path: Path, run: str, capfd: pytest.CaptureFixture[str]) -> None:
    matches = write_run(tmp_path / "found", "retrieve", table_of(schema.RETRIEVE, [{"match": True}]))
    assert main(["export", matches, "--to", "coco", "--output", str(tmp_path / "coco.json")]) == 2
    assert "--to coco needs tags, answers or captions" in capfd.readouterr().err
    assert main(["export", run, "--to", "coco", "--output", str(tmp_path / "coco.json"), "--errors"]) == 2
    assert "--errors: failed rows have no labels" in capfd.readouterr().err


def hub_run(tmp_path: Path) -> str:
    run = write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, ROWS))
    layout = RunDirectory(run)
    record = RunRecord.read(layout.record)
    assert record is not None
    counts = count_rows(entry.uri for entry in layout.part_files())
    timing = manifest.Timing("then", "then", 1.0, counts.rows, {}, 0)
    manifest.write(layout.manifest, manifest.build(record, counts, timing, (), ()))
    return run


def test_a_hub_gets_rows_and_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = hub_run(tmp_path)
    with hub_server(tmp_path / "cache") as hub:
        assert main(["export", run, "--to", "hub", "--output", "answers"]) == 2
        assert "--output answers: not logged in: run `hf auth login`" in capfd.readouterr().err
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert main(["export", run, "--to", "hub", "--output", "other/answers"]) == 2
        assert "no member of other" in capfd.readouterr().err
        assert hub.repositories == {}
        assert main(["export", run, "--to", "hub", "--output", "answers"]) == 0
        repository = hub.repositories[f"{USER}/answers"]
        assert repository.private
        files = repository.refs["main"].files
        assert sorted(files) == [".gitattributes", "README.md", "part-000000.parquet"]
        assert pq.read_table(io.BytesIO(files["part-000000.parquet"])).num_rows == 3
        assert "part-*.parquet" in files["README.md"].decode()
        hub.failures["commit"] = 403
        assert main(["export", run, "--to", "hub", "--output", "answers"]) == 1
        assert "upload to tester/answers: the hub refused it" in capfd.readouterr().err


def test_a_damaged_or_missing_file_of_rows_is_one_line_that_names_it(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (part,) = Path(run).glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-9])
    argv = ["export", run, "--to", "csv", "--output", str(tmp_path / "rows.csv")]
    assert main(argv) == 2
    assert f"{part.name}: is damaged: " in capsys.readouterr().err
    part.unlink()
    assert main(argv) == 2
    assert f"{run}: its files of rows are gone" in capsys.readouterr().err
    assert not (tmp_path / "rows.csv").exists()
