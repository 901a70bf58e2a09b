"""`vqa-ray answer` from each input format to Parquet, on the fake model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, images_input, jsonl_input, parquet_input, picture, table, webdataset_input
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray import schema
from vqa_ray.models.fake.model import FAILURE

pytestmark = pytest.mark.usefixtures("local_ray")

COLOUR = "what colour is it?"


@pytest.mark.parametrize(
    ("make", "more"),
    [
        (parquet_input, ()),
        (lambda place, count: webdataset_input(place.with_suffix(".tar"), count), ()),
        (jsonl_input, ()),
        (images_input, ("--question", COLOUR)),
    ],
    ids=["parquet", "webdataset", "jsonl", "images"],
)
def test_rows_in_are_rows_out(tmp_path: Path, make, more: tuple[str, ...]) -> None:
    source, output = make(tmp_path / "in", 40), tmp_path / "out"
    assert run_here("answer", source, output, "--rows-per-file", "16", *more) == 0
    answered = rows(output)
    assert answered.schema.equals(schema.ANSWER)
    assert answered["answer"].to_pylist() == [NAMES[number % len(NAMES)] for number in range(40)]
    assert answered["status"].unique().to_pylist() == ["ok"]
    told = manifest(output)
    assert (told["rows"], told["ok"], told["questions"], told["findings"]) == (40, 40, 40, [])
    assert set(told["timing"]["stages_s"]) == {"read", "decode", "model", "write"}


def test_files_tell_what_made_them(tmp_path: Path) -> None:
    assert run_here("answer", parquet_input(tmp_path / "in", 4), tmp_path / "out", "--keep", "colour") == 0
    (part,) = (tmp_path / "out").glob("part-*.parquet")
    file = pq.read_schema(part)
    assert file.names == [*schema.ANSWER.names, "colour"]
    told = schema.metadata_of(file)
    run = json.loads((tmp_path / "out" / "_vqa_ray" / "run.json").read_text())
    assert told["run_id"] == run["run_id"] == manifest(tmp_path / "out")["run_id"]
    assert told["spec_hash"] == run["spec_hash"]
    assert told["job"] == "answer"
    assert "mean colour" in told["model"]["score_meaning"]
    assert pq.ParquetFile(part).metadata.row_group(0).column(0).compression == "ZSTD"
    assert rows(tmp_path / "out")["colour"].to_pylist() == rows(tmp_path / "out")["answer"].to_pylist()


def test_several_questions_give_a_row_each(tmp_path: Path) -> None:
    source, output = images_input(tmp_path / "in", 6), tmp_path / "out"
    (source / "006.png").write_bytes(b"no image")
    asked = ("--question", COLOUR, "--question", "is it red?", "--question", f"{FAILURE}?", "--top-k", "2")
    assert run_here("answer", source, output, *asked, "--rows-per-file", "3") == 3
    assert all(pq.read_schema(part).equals(schema.ANSWER) for part in output.glob("part-*.parquet"))
    answered = rows(output).sort_by([("source_key", "ascending"), ("question_index", "ascending")])
    assert answered["question_index"].to_pylist() == [0, 1, 2] * 7
    assert answered["question"].to_pylist() == [COLOUR, "is it red?", f"{FAILURE}?"] * 7
    assert answered["answer"].to_pylist()[0:18:3] == [NAMES[number % len(NAMES)] for number in range(6)]
    assert answered["error_code"].to_pylist() == [None, None, "model_error"] * 6 + ["image_undecodable"] * 3
    assert set(answered["image_uri"].to_pylist()) == {str(path) for path in source.iterdir()}
    told = manifest(output)
    assert (told["rows"], told["input_rows"], told["ok"], told["questions"], told["findings"]) == (21, 7, 12, 12, [])
    assert told["rows_sharing_a_row_id"] == 0
    # The same command once more finds it finished; a retry asks the failed questions alone.
    assert run_here("answer", source, output, *asked, "--rows-per-file", "3") == 3
    assert run_here("answer", source, output, *asked, "--retry-failed", "model_error") == 3
    again = rows(output).sort_by([("source_key", "ascending"), ("question_index", "ascending")])
    assert again["attempt"].to_pylist() == [1, 1, 2] * 6 + [1] * 3
    assert again.drop_columns(["attempt"]).equals(answered.drop_columns(["attempt"]))
    assert [(each["rows"], each["ok"]) for each in manifest(output)["attempts"]] == [(6, 0)]
    assert (manifest(output)["rows"], manifest(output)["findings"]) == (21, [])


def test_several_questions_can_be_nested_in_a_row(tmp_path: Path) -> None:
    source, output = images_input(tmp_path / "in", 6), tmp_path / "out"
    asked = ("--question", COLOUR, "--question", "is it red?", "--top-k", "2", "--layout", "nested")
    assert run_here("answer", source, output, *asked) == 0
    answered = rows(output)
    assert answered.schema.equals(schema.ANSWERS)
    for number, results in enumerate(answered["results"].to_pylist()):
        assert [result["question"] for result in results] == [COLOUR, "is it red?"]
        assert results[0]["answer"] == NAMES[number % len(NAMES)]
        assert [len(result["answers"]) for result in results] == [2, 2]
        assert results[1]["answer_score"] == results[1]["answers"][0]["score"]
    assert (manifest(output)["rows"], manifest(output)["questions"]) == (6, 12)


def test_a_run_from_before_goes_on_with_its_columns(tmp_path: Path) -> None:
    source, output = images_input(tmp_path / "in", 4), tmp_path / "out"
    asked = ("--question", COLOUR, "--question", f"{FAILURE} is it red?")
    assert run_here("answer", source, output, *asked) == 3
    # As the revision d8ecede left a run of which nothing was written yet: its record names no version.
    record = json.loads((output / "_vqa_ray" / "run.json").read_text())
    del record["columns_version"]
    shutil.rmtree(output)
    (output / "_vqa_ray").mkdir(parents=True)
    (output / "_vqa_ray" / "run.json").write_text(json.dumps(record))
    assert run_here("answer", source, output, *asked) == 3
    assert rows(output).schema.equals(schema.answer_schema(nested=True, version=1))
    assert run_here("answer", source, output, *asked, "--retry-failed", "all") == 3
    assert rows(output).schema.equals(schema.answer_schema(nested=True, version=1))
    assert rows(output)["attempt"].to_pylist() == [2] * 4


def test_bad_rows_leave_their_neighbours_alone(tmp_path: Path) -> None:
    bad = {
        1: {"image": b""},
        3: {"image": b"this is no image"},
        5: {"image": None},
        7: {"question": None},
        9: {"question": f"{FAILURE} what is it?"},
        11: {"image": picture(0, size=(900, 10))},
        13: {"question": "🐕 " + "לְמָה? " * 2000},
        15: {"image": picture(0)[:300]},
    }
    given = [row | bad.get(number, {}) for number, row in enumerate(table(20).to_pylist())]
    source = tmp_path / "in.parquet"
    pq.write_table(pa.Table.from_pylist(given), source)
    # 7 of 20 rows fail: more than the default of 0.1
    assert run_here("answer", source, tmp_path / "out") == 3
    answered = rows(tmp_path / "out").to_pylist()
    codes = {number: row["error_code"] for number, row in enumerate(answered) if row["status"] == "error"}
    assert codes == {
        1: "image_missing",
        3: "image_undecodable",
        5: "image_missing",
        7: "question_missing",
        9: "model_error",
        11: "image_aspect_ratio",
        15: "image_undecodable",
    }
    for number, row in enumerate(answered):
        if number in codes:
            assert row["error_message"]
            assert "\n" not in row["error_message"]
            assert row["answer"] is None
            assert row["answer_score"] is None
        else:
            assert row["answer_score"] is not None
        assert row["row_id"] == number
    assert "cut to 1000" in answered[13]["warning"]
    told = manifest(tmp_path / "out")
    assert (told["ok"], told["failed"], told["warnings"]) == (13, 7, 1)
    assert told["errors"]["image_undecodable"] == 2


def test_a_truncated_shard_costs_its_own_rows_only(tmp_path: Path) -> None:
    source = webdataset_input(tmp_path / "in.tar", 10)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    assert run_here("answer", source, tmp_path / "out", "--max-error-fraction", "0.5") == 0
    answered = rows(tmp_path / "out")
    assert 3 <= answered.num_rows <= 7
    assert answered["error_code"].to_pylist()[-1] == "row_malformed"
    assert manifest(tmp_path / "out")["findings"] == []


def test_rows_of_the_same_identity_are_told_and_both_answered(tmp_path: Path) -> None:
    twins = pa.concat_tables([table(4), table(2)]).drop_columns(["row_id", "image_id"])
    pq.write_table(twins, tmp_path / "in.parquet")
    assert run_here("answer", tmp_path / "in.parquet", tmp_path / "out") == 0
    told = manifest(tmp_path / "out")
    assert (told["rows"], told["ok"], told["rows_sharing_a_row_id"]) == (6, 6, 4)


@pytest.mark.parametrize("make", [parquet_input, jsonl_input], ids=["rows known", "rows unknown"])
def test_limit_takes_the_first_rows(tmp_path: Path, make) -> None:
    assert run_here("answer", make(tmp_path / "in", 20), tmp_path / "out", "--limit", "13") == 0
    assert rows(tmp_path / "out").num_rows == 13
    assert manifest(tmp_path / "out")["findings"] == []


def test_other_readers_need_no_help(tmp_path: Path) -> None:
    import datasets
    import pandas as pd

    assert run_here("answer", parquet_input(tmp_path / "in", 8), tmp_path / "out", "--rows-per-file", "4") == 0
    files = str(tmp_path / "out" / "part-*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(loaded["row_id"]) == list(range(8))
    assert len(pd.read_parquet(tmp_path / "out")) == 8
