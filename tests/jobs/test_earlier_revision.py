"""An index, a run and a training that revision d8ecede has made: each goes on under the same command.

Each archive holds the input with the times of its files, by which that revision knew it, and the output. The run and
the training were killed: after 3 of 8 files of rows, and after the checkpoint of the first of 3 epochs.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.jobs.commands import rows
from tests.jobs.finetune.test_command import last_report, losses
from vqa_ray.index.reader import open_index
from vqa_ray.jobs.cli import main
from vqa_ray.models.load import ModelOptions

ARCHIVES = Path(__file__).parents[1] / "data" / "d8ecede"
FORMER_PLACE = "/data/old"
INDEX = ["index", "--input", "photos", "--output", "index", "--model", "fake:"]
# The photos lie beside the tables that name them, which is to be allowed now.
ALLOWED = ["--allow-local", "photos"]
RUN = ["answer", "--input", "questions", "--output", "run", "--model", "fake:", "--rows-per-file", "3"]
SHAPE = "hidden_size=8 layers=1 heads=2 intermediate_size=8 patch_size=8 shortest_edge=16 max_text_tokens=8"
TRAINING = [
    *["finetune", "--input", "questions", "--output", "training", "--model", "scratch", "--vocab-size", "120"],
    *[word for part in SHAPE.split() for word in ("--shape", part)],
    *["--epochs", "3", "--batch-size", "4", "--min-answer-count", "1", "--augment", "none"],
    *["--validation-fraction", "0.25", "--keep-checkpoints", "1", "--learning-rate", "1e-3"],
]

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which the commands ran, with the archive named by the test."""
    with tarfile.open(ARCHIVES / f"{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def move_input(place: Path) -> None:
    """Make the index know its input at its new place: it knew files by absolute paths."""
    for name in ("plan.parquet", "sources.parquet"):
        (path,) = place.glob(f"index/updates/*/_vqa_ray/{name}")
        table = pq.read_table(path)
        for column in ("uri", "input"):
            moved = pc.replace_substring(table[column], FORMER_PLACE, str(place))
            field = table.schema.get_field_index(column)
            table = table.set_column(field, table.schema.field(field), moved)
        pq.write_table(table, path)
    (origin,) = place.glob("index/updates/*/_vqa_ray/origin.json")
    origin.write_text(origin.read_text().replace(FORMER_PLACE, str(place)))


@pytest.mark.parametrize("place", ["index"], indirect=True)
def test_an_index_is_searched_and_updated(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    move_input(place)
    search = ["search", "index", "--text", "something red", "--top-k", "2", "--output", "json", "--quiet"]
    assert main(search) == 0
    assert {hit["image_id"] for hit in json.loads(capsys.readouterr().out)["hits"]} == {"0.png", "4.png"}
    shutil.copy("photos/1.png", "photos/new.png")
    Path("photos/0.png").unlink()
    assert main([*INDEX, "--quiet"]) == 0
    index = open_index("index")
    assert (index.version.number, index.version.rows, index.version.ok) == (2, 8, 8)
    update = index.version.updates[-1]
    assert (update.added, update.replaced, update.removed) == (1, 0, 1)


@pytest.mark.parametrize("place", ["run"], indirect=True)
def test_a_run_goes_on(place: Path) -> None:
    before = rows("run")
    assert before.num_rows == 9
    assert main([*RUN, *ALLOWED, "--quiet"]) == 0
    after = rows("run")
    assert pc.all(pc.equal(after["status"], "ok")).as_py()
    assert len(set(after["source_key"].to_pylist())) == after.num_rows == 24
    kept = after.filter(pc.is_in(after["source_key"], before["source_key"]))
    common = [name for name in before.column_names if name in after.column_names]
    assert kept.select(common).equals(before.select(common))


@pytest.mark.parametrize("place", ["training"], indirect=True)
def test_a_training_goes_on_from_its_checkpoint(place: Path) -> None:
    best = ModelOptions("training/_vqa_ray/training/best").load()
    assert main([*TRAINING, *ALLOWED, "--quiet"]) == 0
    assert last_report(place / "training")["begun_at"] == 5
    assert len(losses(place / "training")) == 15
    trained = ModelOptions("training").load()
    assert trained.labels == best.labels == ("green", "red", "black", "blue")
