"""`--gallery` of answer, tag, caption and retrieve, on the fake model."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tests.helpers.coloured import images_input, parquet_input
from tests.jobs.commands import run_here
from tests.jobs.test_s3 import upload
from tests.unit.report.test_gallery import Page
from vqa_ray.storage.filesystem import read_bytes

pytestmark = pytest.mark.usefixtures("local_ray")


def page(uri: Path | str) -> Page:
    return Page(read_bytes(str(uri)).decode())


def test_each_job_writes_the_page_of_its_run(tmp_path: Path) -> None:
    source = images_input(tmp_path / "in", 6)
    (source / "broken.jpg").write_bytes(b"no image")
    asked = {
        "tag": (),
        "caption": (),
        "retrieve": ("--where", '"is it red?"'),
        "answer": ("--question", "what colour is it?", "--question", "is it red?"),
    }
    for job, more in asked.items():
        file = tmp_path / f"{job}.html"
        argv = (*more, "--gallery", str(file), "--max-error-fraction", "1")
        assert run_here(job, source, tmp_path / job, *argv) == 0
        shown = page(file)
        assert len(shown.all("img")) == 6, job
        assert "image_undecodable" in shown.text
        assert f"vqa-ray {job}" in shown.text


def test_both_layouts_and_embedded_images(tmp_path: Path) -> None:
    source = parquet_input(tmp_path / "in", 6)
    for layout in ("rows", "nested"):
        file = tmp_path / f"{layout}.html"
        asked = ("--question", "what colour is it?", "--question", "is it red?", "--layout", layout)
        assert run_here("answer", source, tmp_path / layout, *asked, "--gallery", str(file)) == 0
        assert len(page(file).all("img")) == 6
        assert page(file).text.count("is it red?") == 6


def test_a_finished_run_writes_it_too_and_says_where(tmp_path: Path, monkeypatch) -> None:
    source, file = images_input(tmp_path / "in", 3), tmp_path / "deep" / "page.html"
    assert run_here("caption", source, tmp_path / "out") == 0
    told: list[str] = []
    logger = logging.getLogger("vqa_ray.jobs.runtime.run_gallery")
    monkeypatch.setattr(logger, "info", lambda text, *values: told.append(text % values))
    assert run_here("caption", source, tmp_path / "out", "--gallery", str(file)) == 0
    assert len(page(file).all("img")) == 3
    assert told == [f"  gallery of 3 images → {file}"]


def test_from_a_bucket_to_a_bucket(tmp_path: Path, s3_session: str) -> None:
    source = upload(images_input(tmp_path / "in", 4), f"{s3_session}/gallery/in")
    file = f"{s3_session}/gallery/page.html"
    assert run_here("caption", source, f"{s3_session}/gallery/out", "--gallery", file) == 0
    assert len(page(file).all("img")) == 4


@pytest.mark.parametrize(
    ("gallery", "told"),
    [
        ("page.txt", "--gallery {place}/page.txt: wanted a file named *.html or *.htm"),
        ("there.html", "--gallery {place}/there.html: is a directory; wanted a file"),
        ("file/page.html", "--gallery {place}/file/page.html: cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(tmp_path: Path, capsys, gallery: str, told: str) -> None:
    (tmp_path / "there.html").mkdir()
    (tmp_path / "file").write_text("")
    argv = ("--gallery", str(tmp_path / gallery))
    assert run_here("caption", images_input(tmp_path / "in", 3), tmp_path / "out", *argv) == 2
    assert told.format(place=tmp_path) in capsys.readouterr().err
    assert not os.path.exists(tmp_path / "out")  # noqa: PTH110
