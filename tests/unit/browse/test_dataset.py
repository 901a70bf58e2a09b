"""Opening an index or a run to be shown, and refusing what is neither."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.indexes import random_vectors, write_index
from tests.unit.browse.site import coloured_index, table_of, write_run
from tests.unit.report.test_run_gallery import FILLED, FILLED_ROWS
from vqa_ray import schema
from vqa_ray.browse.captions import describe_collection
from vqa_ray.browse.dataset import open_collection
from vqa_ray.errors import RequestError
from vqa_ray.index.paths import IndexDirectory
from vqa_ray.instruct.form import instruct_schema

TAGS = schema.tag_schema([("colour", False)])
ERROR = {"status": "error", "error_code": "image_undecodable", "error_message": "no image"}


def tag_run(place: Path, count: int) -> str:
    rows = [{"tags": ["colour:red"], "colour": "red", "colour_score": 0.5} for _ in range(count)]
    return write_run(place, "tag", table_of(TAGS, rows))


def test_an_index_with_the_tags_of_a_run(tmp_path: Path) -> None:
    write_index(tmp_path / "index", random_vectors(6, 3), failed=[2])
    found = open_collection(str(tmp_path / "index"), tags=tag_run(tmp_path / "tags", 4))
    assert (found.job, len(found), found.count("error"), found.model) == ("index", 6, 1, "fake:")
    assert found.index is not None
    assert ("colour", "red") in found.facets
    assert ("status", "error") in found.facets
    assert found.take([1])[0]["tags"] == ["colour:red"]
    assert found.take([5])[0]["tags"] is None
    assert [picture is None for picture in found.thumbnails.of([0, 2, 5])] == [False, True, False]
    assert found.thumbnails.sizes([0, 2]) == [(12, 16), None]


def test_matches_come_first_in_a_run_of_retrieve(tmp_path: Path) -> None:
    rows = [
        {"match": False, "score": 0.1},
        {"match": True, "score": 0.9},
        ERROR,
        {"match": False, "score": None},
        {"match": True, "score": 0.95},
    ]
    found = open_collection(write_run(tmp_path, "retrieve", table_of(schema.RETRIEVE, rows)))
    assert found.order.tolist() == [4, 1, 0, 2, 3]
    assert found.index is None
    assert ("match", "yes") in found.facets
    assert found.thumbnails.of([0, 1]) == [None, None]


def test_objects_of_a_schema(tmp_path: Path) -> None:
    found = open_collection(write_run(tmp_path, "fill", table_of(FILLED, FILLED_ROWS)))
    tags = found.cards.tags(found.take([0])[0])
    assert [tag.attribute for tag in tags] == ["category", "note", "is_new", "sizes", "sizes"]
    assert found.scores is not None
    assert found.scores[0] == 0.75
    assert ("is_new", "yes") in found.facets
    assert "results of answer --schema, 2 rows, 1 in error," in describe_collection(found)


def test_a_run_of_instruct_shows_its_conversations(tmp_path: Path) -> None:
    talk = [{"role": "user", "text": "<image>\nWhat is it?"}, {"role": "assistant", "text": "A cat."}]
    rows = [
        {"task": "reasoning", "conversation": talk, "agreement": 0.75, "image": b"image"},
        {"task": "creative", "reply": "Sorry", "status": "error", "error_code": "filtered_refusal"},
    ]
    found = open_collection(write_run(tmp_path, "instruct", table_of(instruct_schema(agreement=True), rows)))
    first, second = (found.cards.card(row) for row in found.take([0, 1]))
    assert [(line.label, line.values[0].text, line.values[0].score) for line in first.lines] == [
        ("reasoning: What is it?", "A cat.", 0.75)
    ]
    assert second.lines[0].label == "creative: filtered_refusal"
    assert second.lines[0].values[0].text == "Sorry"
    assert found.scores is not None
    assert found.scores[0] == 0.75
    assert ("task", "creative") in found.facets
    assert "image" not in found.rows.column_names


def test_rows_that_are_gone_are_no_errors(tmp_path: Path) -> None:
    rows = [{"caption": "a"}, {"caption": "b", "status": "gone", "error_code": "gone"}]
    found = open_collection(write_run(tmp_path, "caption", table_of(schema.CAPTION, rows)))
    assert "2 rows, 1 gone from the input, model" in describe_collection(found)


def test_a_run_has_the_pictures_of_an_index_by_row_id_or_image_id(tmp_path: Path) -> None:
    coloured_index(tmp_path / "index", 6, failed=[2])
    rows = [{}, {"row_id": 77}, {}, {"row_id": 78, "image_id": None}, {"row_id": 79, "image_id": "elsewhere"}]
    run = write_run(tmp_path / "run", "caption", table_of(schema.CAPTION, rows))
    found = open_collection(run, index=str(tmp_path / "index"))
    assert found.thumbnails.found == 3
    assert [picture is not None for picture in found.thumbnails.of(range(5))] == [True, True, False, False, False]
    assert found.thumbnails.of([1]) == found.thumbnails.of([1])
    assert found.notes == ()


def test_pictures_of_other_images_are_none_and_told(tmp_path: Path) -> None:
    coloured_index(tmp_path / "index", 6)
    run = write_run(tmp_path / "run", "caption", table_of(schema.CAPTION, [{"row_id": 70, "image_id": "x"}]))
    found = open_collection(run, index=str(tmp_path / "index"))
    assert "No row is in the index" in found.notes[0]


def test_what_is_no_jpeg_is_no_picture(tmp_path: Path) -> None:
    page = b"<script>alert(1)</script>"
    found = coloured_index(tmp_path, 3, failed=[], thumbnail=[page, b"", b"\xff\xd8\xff rest"])
    assert found.thumbnails.of([0, 1, 2]) == [None, None, b"\xff\xd8\xff rest"]


def test_a_run_that_has_not_finished_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path, "caption", table_of(schema.CAPTION, [{"caption": "a dog"}]), finished=False)
    assert open_collection(run).notes[0] == "This run has not finished: more rows may follow."


def test_text_that_is_not_utf8_is_shown_all_the_same(tmp_path: Path) -> None:
    table = table_of(schema.CAPTION, [{}])
    broken = pa.array([b"caf\xe9.jpg"], pa.binary()).view(pa.string())
    found = open_collection(write_run(tmp_path, "caption", table.set_column(1, "image_id", broken)))
    assert found.take([0])[0]["image_id"] == "caf\ufffd.jpg"


def test_an_empty_index(tmp_path: Path) -> None:
    write_index(tmp_path, np.empty((0, 3), np.float32))
    found = open_collection(str(tmp_path))
    assert (len(found), found.count("error")) == (0, 0)


def test_a_version_that_is_broken_is_passed_over_or_told(tmp_path: Path) -> None:
    index = write_index(tmp_path, random_vectors(4, 3))
    layout = IndexDirectory(str(tmp_path))
    Path(layout.version(2)).write_text("{")
    assert len(open_collection(str(tmp_path))) == 4
    shutil.rmtree(Path(index.layout.updates))
    with pytest.raises(RequestError, match="no version of this index is whole"):
        open_collection(str(tmp_path))


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("finetune", "a run of finetune; supported are indexes and runs of answer, caption, tag, retrieve"),
        ("embed", "embed"),
    ],
)
def test_runs_of_other_jobs_are_refused(tmp_path: Path, job: str, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        open_collection(write_run(tmp_path, job, table_of(schema.CAPTION, [{}])))


def test_wrong_places_are_told(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(RequestError, match=r"photo\.jpg: is a file; expected an index, or a run"):
        open_collection(str(tmp_path / "photo.jpg"))
    with pytest.raises(RequestError, match="neither an index nor the results of a run; expected an index, or a run"):
        open_collection(str(tmp_path))
    with pytest.raises(RequestError, match="missing: no such directory or prefix; expected an index, or a run"):
        open_collection(str(tmp_path / "missing"))
    coloured_index(tmp_path / "index", 4)
    with pytest.raises(RequestError, match="is an index itself"):
        open_collection(str(tmp_path / "index"), index=str(tmp_path / "index"))
    with pytest.raises(RequestError, match=r"--tags .*: no such directory or prefix; expected a finished run of tag"):
        open_collection(str(tmp_path / "index"), tags=str(tmp_path / "missing"))
    part = write_run(tmp_path / "run", "caption", table_of(schema.CAPTION, [{}]))
    with pytest.raises(RequestError, match="missing: no such directory or prefix; expected an index"):
        open_collection(part, index=str(tmp_path / "missing"))
    Path(part, "part-000000.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(RequestError, match="is damaged"):
        open_collection(part)
    Path(part, "part-000000.parquet").unlink()
    with pytest.raises(RequestError, match="has no rows yet"):
        open_collection(part)
