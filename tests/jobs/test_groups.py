"""Several photos of one product, through whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import NAMES, picture
from tests.helpers.tiny_chat import save_tiny_chat
from tests.jobs.commands import manifest, rows, run_here

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four products, photographed in their colour by 3, 3, 3 and 2 photos; one photo is no image."""
    numbers = [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 0]
    images = [picture(number + 4 * place) for place, number in enumerate(numbers)]
    (tmp_path / "photos").mkdir()
    for place, image in enumerate(images):
        (tmp_path / "photos" / f"{place}.jpg").write_bytes(b"no image" if place == 3 else image)
    uris = [f"photos/{place}.jpg" for place in range(len(numbers))]
    pq.write_table(pa.table({"image_uri": uris, "sku": [f"s{number}" for number in numbers]}), tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def groups(output: Path) -> dict[str, dict[str, Any]]:
    return {row["sku"]: row for row in pq.read_table(output / "_groups.pq").to_pylist()}


def test_products_are_answered_and_answered_again_where_a_photo_failed(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = ("answer", source, output, "--question", "what colour is it?", "--group-by", "sku")
    assert run_here(*command) == 0
    assert rows(output).num_rows == 11
    found = groups(output)
    assert [found[f"s{number}"]["answer"] for number in range(4)] == list(NAMES)
    assert (found["s1"]["photos"], found["s1"]["answered"]) == (3, 2)
    assert [each["error_code"] for each in found["s1"]["evidence"]] == [None, "image_undecodable", None]
    assert run_here(*command, "--combine", "any") == 0, "a finished run is combined anew"
    assert groups(output)["s0"]["error_message"] == "--combine any takes answers yes and no; a photo's is 'red'"
    (tmp_path / "photos" / "3.jpg").write_bytes(picture(13))
    assert run_here(*command, "--retry-failed", "image_undecodable", "--combine", "vote") == 0
    assert (groups(output)["s1"]["answered"], groups(output)["s1"]["answer_score"]) == (3, 1.0)


def test_products_are_tagged(source: Path, tmp_path: Path) -> None:
    attribute = f"[{{name: colour, question: 'what colour is it?', choices: [{', '.join(NAMES)}]}}]"
    (tmp_path / "tags.yaml").write_text(f"attributes: {attribute}")
    output = tmp_path / "out"
    assert run_here("tag", source, output, "--tags", str(tmp_path / "tags.yaml"), "--group-by", "sku") == 0
    assert [groups(output)[f"s{number}"]["colour"] for number in range(4)] == list(NAMES)
    assert groups(output)["s0"]["evidence"][0]["tags"] == ["colour:red"]
    allowed = ("--allow-local", str(tmp_path / "photos"))
    assert run_here("tag", output, tmp_path / "again", "--tags", str(tmp_path / "tags.yaml"), *allowed) == 0
    assert rows(tmp_path / "again").num_rows == 11, "the file of groups is no input"


def test_the_photos_of_a_product_are_asked_about_together(source: Path, tmp_path: Path) -> None:
    (tmp_path / "qwen").mkdir()
    model = str(save_tiny_chat(tmp_path / "qwen", "qwen2_vl"))
    options = ("--question", "what is it?", "--max-new-tokens", "4", "--group-by", "sku", "--combine", "together")
    command = ("answer", source, tmp_path / "out", "--model", model, *options)
    assert run_here(*command) == 0
    found = sorted(rows(tmp_path / "out").to_pylist(), key=lambda row: row["source_key"])
    assert [row["sku"] for row in found] == ["s0", "s1", "s2", "s3", "s0"]
    assert [row["status"] for row in found] == ["ok"] * 5
    assert found[1]["image_id"] == "photos/2.jpg, photos/3.jpg, photos/4.jpg"
    assert "1 of 3 photos left out: image_undecodable" in found[1]["warning"]
    assert manifest(tmp_path / "out")["findings"] == []
    assert not (tmp_path / "out" / "_groups.pq").exists()
    assert run_here(*command[:-1], "vote") == 2, "rows of products are another run than rows of photos"


def test_what_cannot_be_grouped_is_one_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = ("--question", "is it a dog?")
    assert run_here("answer", source, tmp_path / "out", *question, "--combine", "any") == 2
    assert "--combine any: combines groups; name the column of a group with --group-by" in capsys.readouterr().err
    assert run_here("answer", source, tmp_path / "out", *question, "--group-by", "product") == 2
    assert "--group-by product: no such column; the columns are: image_uri, sku" in capsys.readouterr().err
    together = ("--group-by", "sku", "--combine", "together")
    assert run_here("answer", source, tmp_path / "out", *question, *together) == 2
    assert "--combine together: model fake:" in capsys.readouterr().err
    assert run_here("tag", source, tmp_path / "out", *together) == 2
    assert "--combine together: is for `answer`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
