"""`vqa-ray browse`: a server that starts, answers and ends, and one line for a wrong request."""

from __future__ import annotations

import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.indexes import random_vectors, write_index
from tests.jobs.commands import DEADLINE_S, started
from tests.unit.browse.site import Site, coloured_vectors, table_of, write_run
from vqa_ray import schema
from vqa_ray.jobs.cli import main
from vqa_ray.models.checkpoint.opened import Checkpoint

MODEL = {
    "reference": "fake:",
    "family": "fake",
    "fingerprint": Checkpoint.open("fake:").fingerprint,
    "score_meaning": "cosine",
}


def index(place: Path, model: dict[str, str] = MODEL) -> str:
    write_index(place, coloured_vectors(8), model=model)
    return str(place)


def caption_run(place: Path) -> str:
    return write_run(place, "caption", table_of(schema.CAPTION, [{"caption": "a dog", "caption_score": 0.5}]))


@contextmanager
def browsing(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Site]]:
    """The command as a process of its own, and a client of the page that it says it serves."""
    with started("browse", *arguments, "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found is not None, (line, process.communicate())
        yield process, Site(int(found[1]))


def test_serves_searches_and_ends(tmp_path: Path) -> None:
    place = index(tmp_path / "index")
    before = sorted(tmp_path.rglob("*"))
    for directory in (tmp_path / "index").rglob("*"):
        directory.chmod(stat.S_IRUSR | (stat.S_IXUSR if directory.is_dir() else 0))
    with browsing(place, "--verify-model", "fake:") as (process, site):
        assert "8 rows" in site.get("/").text
        reds = site.get("/?text=red").page.opened[:2]
        assert reds == [0, 4]
        assert site.get("/", Host="evil.example").status == 403
        assert "could not be verified" in site.get("/?text=red&verify=is+it+red").text, "its images are nowhere"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, "Traceback" in told) == (130, False)
        assert told.splitlines()[-1] == "vqa-ray browse: stopped by Ctrl-C"
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


def test_results_with_the_pictures_of_an_index(tmp_path: Path) -> None:
    with browsing(caption_run(tmp_path / "run"), "--index", index(tmp_path / "index")) as (process, site):
        assert "a dog" in site.get("/").text
        assert site.get("/thumbnail/0").status == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 143


def test_a_page_for_everyone_says_so(tmp_path: Path) -> None:
    with started("browse", caption_run(tmp_path / "run"), "--port", "0", "--host", "0.0.0.0") as process:
        assert process.stdout is not None
        found = re.search(r"http://0\.0\.0\.0:(\d+)/", process.stdout.readline())
        assert found is not None
        assert Site(int(found[1])).get("/").status == 200
        process.send_signal(signal.SIGINT)
        assert "Everyone who reaches this machine" in process.communicate(timeout=DEADLINE_S)[1]


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["browse", index(tmp_path / "index"), "--port", str(port)]) == 2
    told = capsys.readouterr().err
    assert told == f"vqa-ray browse: --port {port}: another program listens there; another port, or 0 for any\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{tmp}/nothing"], "{tmp}/nothing: no such directory or prefix; expected an index, or a run of answer, tag, "),
        (["{tmp}/index", "--index", "{tmp}/index"], "--index {tmp}/index: {tmp}/index is an index itself"),
        (
            ["{tmp}/index", "--tags", "{tmp}/run"],
            "--tags {tmp}/run: expected a finished run of tag, found a run of caption",
        ),
        (["{tmp}/index", "--verify-model", "{tmp}/none"], "{tmp}/none"),
        (["{tmp}/index", "--model", "fake:quadrants"], "model fake:quadrants makes 4 × 14"),
        (["{tmp}/run", "--index", "{tmp}/run"], "--index {tmp}/run: holds no index"),
        (["{tmp}/run", "--verify-model", "fake:"], "--verify-model: {tmp}/run is no index but the results of caption"),
        (["{tmp}/run", "--model", "fake:"], "--model: {tmp}/run is no index but the results of caption"),
        (["{tmp}/other", "--verify-model", "fake:"], "the index was built with"),
        (["{tmp}/index", "--host", "no such host"], "--host no such host: no such address"),
        (["{tmp}/index", "--host", "192.0.2.1"], "--host 192.0.2.1 --port 0"),
        (["{tmp}/index", "--port", "70000"], "--port: input should be less than or equal to 65535, given 70000"),
        ([], "INDEX_OR_RESULTS: is required"),
    ],
)
def test_wrong_requests_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    index(tmp_path / "index")
    index(tmp_path / "other", MODEL | {"fingerprint": "0" * 16})
    caption_run(tmp_path / "run")
    given = [each.format(tmp=tmp_path) for each in arguments]
    assert main(["browse", *given, *([] if "--port" in given else ["--port", "0"])]) == 2
    said = capsys.readouterr().err
    assert told.format(tmp=tmp_path) in said
    assert said.count("\n") == 1


def test_an_index_whose_model_is_gone_is_shown_all_the_same(tmp_path: Path) -> None:
    place = str(tmp_path / "index")
    write_index(place, random_vectors(3, 5), model=MODEL | {"reference": str(tmp_path / "moved")})
    with browsing(place) as (process, site):
        page = site.get("/").page
        assert page.opened == [0, 1, 2]
        assert not page.all("select", name="by"), "words are all that can be searched for"
        assert site.get("/?text=images/2").page.opened == [2]
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=DEADLINE_S)
    assert "--model names where it is now" in told
    assert "can be searched for words only" in told
