"""`vqa-ray search`: what is found, in every form of output, and what is refused before any work."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, picture
from tests.helpers.indexes import random_vectors, write_index
from tests.helpers.tag_runs import write_tag_run
from tests.jobs.commands import ROOT
from vqa_ray import schema
from vqa_ray.images.decoder import ImageLimits, decode_resized
from vqa_ray.index.reader import Index
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.search.spec import SearchSpec
from vqa_ray.jobs.spec.load import load
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.load import ModelOptions

COUNT = 24
RED_ROWS = list(range(0, COUNT, len(NAMES)))
RED = '"what colour is it?" = "red" >= 0.9'


def fake_model() -> dict[str, str]:
    info = Checkpoint.open("fake:")
    return {"reference": "fake:", "family": "fake", "fingerprint": info.fingerprint, "score_meaning": "cosine"}


def write_coloured(directory: Path, uri: str | None = None) -> Index:
    """An index of image files in four colours; rows 3 and 9 are in error."""
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"{number:02}.jpg" for number in range(COUNT)]
    for number, file in enumerate(files):
        file.write_bytes(picture(number))
    transform = Checkpoint.open("fake:").transform
    images = [decode_resized(file.read_bytes(), ImageLimits(), transform.target_size) for file in files]
    columns = {
        "image_uri": [str(file) for file in files],
        "sha256": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files],
        "price": [number / 4 for number in range(COUNT)],
        "title": [f"[red]{NAMES[number % 4]}\n<b>{number}</b>" for number in range(COUNT)],
    }
    embeddings = ModelOptions("fake:").load_encoder().encode_images(images)
    return write_index(uri or directory / "index", embeddings, failed=[3, 9], columns=columns, model=fake_model())


@pytest.fixture
def index(tmp_path: Path) -> str:
    return write_coloured(tmp_path / "images").uri


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a search printed as JSON."""
    assert main(["search", *arguments, "--output", "json", "--quiet"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_text_finds_what_it_names(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = found(capsys, index, "--text", "something red", "--top-k", "6")
    assert sorted(hit["row_id"] for hit in told["hits"]) == RED_ROWS
    assert [hit["rank"] for hit in told["hits"]] == [1, 2, 3, 4, 5, 6]
    scores = [hit["score"] for hit in told["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert told["search"] == {
        "images": 22,
        "exact": True,
        "parameters": {},
        "recall": None,
        "recall_queries": 0,
        "recall_k": 0,
    }
    assert (told["job"], told["query"]["text"], told["index"]["version"]) == ("search", "something red", 1)
    assert told["verification"] is None
    assert told["hits"][0]["price"] == told["hits"][0]["row_id"] / 4


def test_an_image_finds_itself_and_both_are_the_mean(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(Path(index).parent / "05.jpg")
    by_image = found(capsys, index, "--image", image, "--top-k", "100")
    assert {NAMES[hit["row_id"] % 4] for hit in by_image["hits"][:5]} == {"green"}
    (itself,) = (hit["score"] for hit in by_image["hits"] if hit["row_id"] == 5)
    assert itself == pytest.approx(1, abs=1e-6)
    assert len(by_image["hits"]) == 22
    by_text = found(capsys, index, "--text", "red", "--top-k", "100")
    both = found(capsys, index, "--image", image, "--text", "red", "--top-k", "100")
    scores = [{hit["row_id"]: hit["score"] for hit in told["hits"]} for told in (by_image, by_text, both)]
    for row_id, score in scores[2].items():
        assert score == pytest.approx((scores[0][row_id] + scores[1][row_id]) / 2, abs=1e-6)


def test_a_filter_takes_columns_and_tags(tmp_path: Path, index: str, capsys: pytest.CaptureFixture[str]) -> None:
    tags = write_tag_run(
        tmp_path / "tags",
        [
            {"row_id": number, "image_id": f"images/{number}.jpg", "category": "mug", "colours": ["red", "odd"]}
            for number in (0, 1, 8)
        ],
    )
    told = found(capsys, index, "--text", "red", "--filter", "price >= 2 and price < 4")
    assert sorted(hit["row_id"] for hit in told["hits"]) == [8, 10, 11, 12, 13, 14, 15]
    assert told["search"]["images"] == 7
    told = found(capsys, index, "--text", "red", "--tags", tags, "--filter", "category = 'mug'", "--top-k", "2")
    assert [hit["row_id"] for hit in told["hits"]] in ([0, 8], [8, 0])
    assert told["hits"][0]["colours"] == ["red", "odd"]
    assert told["query"]["filter"] == "category = 'mug'"


def test_no_hits_are_an_answer_in_every_form(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, file = tmp_path / "page.html", tmp_path / "hits.parquet"
    arguments = ["--text", "red", "--filter", "price > 1000", "--verify", RED, "--verify-model", "fake:"]
    told = found(capsys, index, *arguments, "--gallery", str(page))
    assert (told["hits"], told["search"]["images"], told["verification"]["candidates"]) == ([], 0, 0)
    assert "images searched" in page.read_text()
    assert main(["search", index, *arguments, "--output", str(file), "--quiet"]) == 0
    some = tmp_path / "some.parquet"
    assert main(["search", index, *arguments[:2], *arguments[4:], "--output", str(some), "--quiet"]) == 0
    assert pq.read_schema(file).remove_metadata() == pq.read_schema(some).remove_metadata()
    assert pq.read_table(some).num_rows == 6
    assert main(["search", index, *arguments, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_candidates_are_verified_and_what_cannot_be_is_kept(
    index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = Path(index).parent
    (images / "04.jpg").unlink()
    (images / "08.jpg").write_bytes(b"another image")
    page = tmp_path / "page.html"
    arguments = ["--text", "red", "--top-k", "3", "--verify", RED, "--verify-model", "fake:", "--gallery", str(page)]
    told = found(capsys, index, *arguments)
    outcome = [(hit["row_id"] in RED_ROWS, hit["verified_score"], hit["error_code"]) for hit in told["hits"]]
    assert outcome[:3] == [(True, 1.0, None)] * 3
    assert sorted(code for *_, code in outcome[3:]) == ["image_missing", "image_missing"]
    assert "is another image than was embedded" in page.read_text()
    assert told["verification"] | {"candidates": 12, "matched": 4, "rejected": 6, "failed": 2} == told["verification"]
    assert "nothing is stored there" in page.read_text()
    assert "what colour is it?" in page.read_text()


def test_verified_answers_are_kept(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    verify = ("--top-k", "3", "--verify", RED, "--verify-model", "fake:", "--cache", str(cache))
    first = found(capsys, index, "--text", "red", *verify)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vqa_ray.models.fake.model.FakeModel.answer", None)
        again = found(capsys, index, "--text", "red", *verify)
    assert again["hits"] == first["hits"]
    assert main(["search", index, "--text", "red", "--cache", str(cache)]) == 2
    assert "--cache: only with --verify" in capsys.readouterr().err


def test_a_table_is_printed_and_hostile_text_does_no_harm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Messages go past what pytest puts in the place of standard error.
    monkeypatch.setattr("vqa_ray.jobs.runtime.logs.console", lambda: sys.stderr)
    names = ["[bold]a[/bold]", "b\x1b[31m\nc", "<script>alert(1)</script>"]
    embeddings = random_vectors(3, ModelOptions("fake:").load_encoder().dimension)
    write_index(tmp_path / "index", embeddings, columns={"image_id": names}, model=fake_model())
    page = tmp_path / "page.html"
    assert main(["search", str(tmp_path / "index"), "--text", "red <i>", "--gallery", str(page)]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 4
    assert "[bold]a[/bold]" in told.out
    assert "b c" in told.out
    assert "<script>alert" not in page.read_text()
    assert "<i>" not in page.read_text()
    assert "3 hits of 3 images, exact search" in told.err
    assert "--top-k 10: there are only 3 images in the index" in told.err


def test_a_file_is_written_with_what_was_asked(s3_session: str, tmp_path: Path) -> None:
    uri = write_coloured(tmp_path / "images", f"{s3_session}/search/index").uri
    output = f"{s3_session}/search/hits.parquet"
    assert main(["search", uri, "--text", "green", "--top-k", "4", "--output", output, "--quiet"]) == 0
    table = pq.read_table(output)
    assert table.num_rows == 4
    assert {NAMES[row_id % 4] for row_id in table["row_id"].to_pylist()} == {"green"}
    metadata = schema.metadata_of(table.schema)
    assert metadata["job"] == "search"
    assert metadata["query"]["text"] == "green"  # type: ignore[index]
    assert table["score"].to_numpy() == pytest.approx(np.sort(table["score"].to_numpy())[::-1])
    local = tmp_path / "hits.json"
    assert main(["search", uri, "--text", "green", "--top-k", "4", "--output", str(local), "--quiet"]) == 0
    assert [hit["row_id"] for hit in json.loads(local.read_text())["hits"]] == table["row_id"].to_pylist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "wanted --text, --image or both"),
        (["--text", " "], "--text: is blank"),
        (["--image", "/nowhere.jpg"], "--image /nowhere.jpg: image_missing: nothing is stored there"),
        (["--text", "red", "--filter", "hue = 'red'"], "no column hue; the columns are row_id, image_id, "),
        (["--text", "red", "--filter", "price >"], "search: --filter: filter 'price >': "),
        (["--text", "red", "--filter", "price >"], "does not parse"),
        (
            ["--text", "red", "--tags", "/nowhere"],
            "--tags /nowhere: no such directory or prefix; expected a finished",
        ),
        (["--text", "red", "--verify", '"a?"'], "--verify: wanted --verify-model too"),
        (["--text", "red", "--verify", '"a?', "--verify-model", "fake:"], "this quote is never closed"),
        (["--text", "red", "--verify-model", "fake:"], "--verify-model: only with --verify"),
        (["--text", "red", "--candidates", "5"], "--candidates: only with --verify"),
        (["--text", "red", "--threshold", "0.5"], "--threshold: only with --verify"),
        (["--text", "red", "--verify", '"a?"', "--verify-model", "fake:", "--candidates", "5"], "at least --top-k 10"),
        (["--text", "red", "--output", "hits.csv"], "--output hits.csv: wanted table, json or a file named *.parquet"),
        (["--text", "red", "--top-k", "0"], "--top-k: input should be greater than or equal to 1"),
        (["--text", "red FAKE_FAILURE"], "the model cannot embed the query: ValueError"),
        (["--text", "red", "--model", "bundled:catalog-vilt"], "vilt does not embed images"),
        (["--text", "red", "--model", "fake:quadrants"], "the index was built with model fake:"),
    ],
)
def test_a_wrong_request_is_refused(
    index: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", index, *arguments]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


def test_a_broken_image_to_search_by_is_refused(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(picture(0)[:200])
    assert main(["search", index, "--image", str(broken)]) == 2
    assert f"--image {broken}: image_undecodable: JPEG" in capsys.readouterr().err


def test_an_index_of_another_model_is_refused_and_both_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = fake_model() | {"fingerprint": "another"}
    write_index(tmp_path / "index", random_vectors(3, 14), model=other)
    assert main(["search", str(tmp_path / "index"), "--text", "red"]) == 2
    told = capsys.readouterr().err
    assert "built with model fake: (another), fake: is another (fake-1)" in told
    write_index(tmp_path / "narrow", random_vectors(3, 5), model=fake_model())
    assert main(["search", str(tmp_path / "narrow"), "--text", "red"]) == 2
    assert (
        "built with model fake: and holds 1 × 5 numbers per image, model fake: makes 1 × 14" in capsys.readouterr().err
    )


def test_the_example_of_a_spec_is_valid() -> None:
    spec = load(SearchSpec, str(ROOT / "examples" / "search.yaml"), {})
    assert spec.verify is not None
    assert spec.wanted == 4 * spec.top_k


def test_an_index_without_vectors_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_index(tmp_path / "index", random_vectors(2, 14), failed=[0, 1], model=fake_model())
    assert main(["search", str(tmp_path / "index"), "--text", "red"]) == 2
    assert "nothing to search: none of its 2 rows has a vector" in capsys.readouterr().err
