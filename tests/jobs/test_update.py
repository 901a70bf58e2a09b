"""`--update` brings a finished run up to date; killed anywhere, no row is lost, doubled or stale."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers import updates
from tests.helpers.coloured import picture
from tests.helpers.documents import coloured
from tests.helpers.updates import KilledError, change, digest, seen_by_globs, seen_by_us, tag_here
from tests.jobs.commands import arguments, manifest, rows
from tests.jobs.soak import read_output
from vqa_ray.errors import RequestError, RunError
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.runtime import run
from vqa_ray.jobs.spec.images import TagSpec
from vqa_ray.readers.changes.snapshot import read_snapshot
from vqa_ray.runs.apply_update import UpdatedParts
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.delete import delete
from vqa_ray.storage.filesystem import list_files, read_bytes


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    """(input, output): 20 photos."""
    (tmp_path / "in").mkdir()
    for number in range(20):
        (tmp_path / "in" / f"{number:02}.jpg").write_bytes(picture(number))
    return tmp_path / "in", tmp_path / "out"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of rows that each pipeline reads; they run in this process."""
    return updates.install(monkeypatch)


def truth(folder: Path, gone: dict[str, str] | None = None) -> dict[str, tuple[str, str | None]]:
    """What a run must say of a directory of photos, and of those that are gone."""
    here = {path.name: ("ok", digest(path)) for path in folder.iterdir()}
    return here | {name: ("gone", said) for name, said in (gone or {}).items() if name not in here}


def last_update(output: Path) -> dict[str, int]:
    entry = manifest(output)["updates"][-1]
    return {name: entry[name] for name in ("new", "changed", "gone", "kept", "asked")}


def test_photos_that_came_changed_went_and_came_back(photos: tuple[Path, Path], asked: list[int]) -> None:
    source, output = photos
    tag_here(source, output)
    left = digest(source / "07.jpg")
    (source / "new.jpg").write_bytes(b"new")
    (source / "03.jpg").write_bytes(b"changed")
    (source / "07.jpg").unlink()
    result = tag_here(source, output, update=True)
    assert (result.rows, result.ok, result.failed) == (21, 20, 0)
    assert asked == [20, 2], "nothing else is read again"
    assert seen_by_globs(output) == seen_by_us(output) == truth(source, {"07.jpg": left})
    assert last_update(output) == {"new": 1, "changed": 1, "gone": 1, "kept": 18, "asked": 2}
    (row,) = [row for row in rows(output).to_pylist() if row["image_id"] == "07.jpg"]
    assert (row["error_code"], row["error_message"][:29]) == ("gone", "not in the input any more sin")
    assert manifest(output)["gone"] == 1
    # Nothing has changed: nothing is done.
    assert tag_here(source, output, update=True).rows == 21
    assert len(asked) == 2
    assert len(manifest(output)["updates"]) == 1
    # It comes back, in its old place.
    (source / "07.jpg").write_bytes(b"back")
    tag_here(source, output, update=True)
    assert seen_by_globs(output) == truth(source)
    assert rows(output)["source_key"].to_pylist() == [*range(20), 1 << 32]
    assert tag_here(source, output).rows == 21, "the plain command finds a finished run"
    assert not list((output / "_vqa_ray").glob("attempt-*"))


@pytest.mark.parametrize("spelling", ["out", "./out/", "file://{}/out"])
def test_the_output_may_be_spelled_in_any_way(
    photos: tuple[Path, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    source, output = photos
    monkeypatch.chdir(output.parent)
    given = spelling.format(output.parent)
    tag_here(source, given)
    (source / "new.jpg").write_bytes(b"new")
    (source / "03.jpg").write_bytes(b"changed")
    with pytest.raises(KilledError), updates.killed_at(18, monkeypatch):
        tag_here(source, given, update=True)
    tag_here(source, given, update=True)
    assert seen_by_globs(output) == seen_by_us(output) == truth(source)
    assert tag_here(source, given).integrity_errors == ()


def test_rows_that_are_forgotten_leave_and_come_back_as_new(photos: tuple[Path, Path], asked: list[int]) -> None:
    source, output = photos
    tag_here(source, output)
    for name in ("07.jpg", "19.jpg"):
        (source / name).unlink()
    assert tag_here(source, output, update=True, forget=True).rows == 18
    assert seen_by_globs(output) == truth(source)
    assert asked == [20], "no pipeline ran"
    assert len(read_snapshot(RunDirectory(str(output)).listing()).retired) == 2
    (source / "07.jpg").write_bytes(b"back")
    assert tag_here(source, output, update=True).rows == 19
    assert seen_by_globs(output) == truth(source)
    assert tag_here(source, output).integrity_errors == ()
    # A file of rows that somebody deletes is answered again, without those that are forgotten.
    part = RunDirectory(str(output)).part_files()[0].uri
    Path(part).unlink()
    assert tag_here(source, output).integrity_errors == ()
    assert seen_by_globs(output) == truth(source)


def test_a_missing_directory_stops_the_night(photos: tuple[Path, Path], asked: list[int]) -> None:
    source, output = photos
    tag_here(source, output)
    before = seen_by_globs(output)
    for number in range(3):
        (source / f"{number:02}.jpg").rename(source.parent / f"{number:02}.jpg")
    with pytest.raises(RequestError, match=r"3 of 20 rows \(15.0%\) are gone \(00.jpg, 01.jpg, 02.jpg\), more than"):
        tag_here(source, output, update=True)
    assert seen_by_globs(output) == before
    assert "updates" not in manifest(output) or manifest(output)["updates"] == []
    assert tag_here(source, output, update=True, max_gone=0.15).rows == 20
    assert manifest(output)["gone"] == 3


def test_an_update_that_has_lost_a_row_is_not_published(
    photos: tuple[Path, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = photos
    tag_here(source, output)
    before = seen_by_globs(output)
    (source / "new.jpg").write_bytes(b"new")
    with monkeypatch.context() as patched:
        of_update = UpdatedParts.of_update
        patched.setattr(UpdatedParts, "of_update", lambda self, uri: of_update(self, uri).slice(1))
        with pytest.raises(RunError, match="the update is not published: "):
            tag_here(source, output, update=True)
    assert seen_by_globs(output) == seen_by_us(output) == before
    tag_here(source, output, update=True)
    assert seen_by_globs(output) == seen_by_us(output) == truth(source)


def test_an_unfinished_run_is_finished_first(
    photos: tuple[Path, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = photos
    with pytest.raises(KilledError), updates.killed_at(9, monkeypatch):
        tag_here(source, output)
    (source / "new.jpg").write_bytes(b"new")
    tag_here(source, output, update=True)
    assert seen_by_globs(output) == truth(source)
    assert last_update(output)["new"] == 1


def test_another_taxonomy_asks_everything_again_on_request(photos: tuple[Path, Path], asked: list[int]) -> None:
    source, output = photos
    tag_here(source, output)
    left = digest(source / "07.jpg")
    (source / "07.jpg").unlink()
    tag_here(source, output, update=True)
    (source / "new.jpg").write_bytes(b"new")
    tags = source.parent / "tags.yaml"
    tags.write_text("attributes:\n- name: shade\n  question: how light is it?\n  choices: [light, dark]\n")
    with pytest.raises(RequestError, match=r"--tags: not given → .*--update --taxonomy-changed, which asks everything"):
        tag_here(source, output, update=True, tags=str(tags))
    tag_here(source, output, update=True, tags=str(tags), taxonomy_changed=True)
    assert asked == [20, 20], "the 19 that are there, and the new one"
    assert seen_by_globs(output) == truth(source, {"07.jpg": left})
    assert "shade" in rows(output).column_names
    assert "category" not in rows(output).column_names
    assert tag_here(source, output, tags=str(tags)).rows == 21, "from now on this is the taxonomy of the run"
    with pytest.raises(RequestError, match="holds another run"):
        tag_here(source, output)


@pytest.mark.parametrize("wanted", ["corrected", "old"])
def test_an_update_with_a_mistaken_taxonomy_can_be_given_up(
    photos: tuple[Path, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    source, output = photos
    tags = source.parent / "tags.yaml"
    text = "attributes:\n- name: shade\n  question: how light is it?\n  choices: [light, dark]\n"
    tags.write_text(text)
    tag_here(source, output, tags=str(tags))
    (source / "new.jpg").write_bytes(b"new")
    tags.write_text(text.replace("light,", "mistake,"))
    options: dict[str, Any] = {"update": True, "tags": str(tags)}
    with pytest.raises(KilledError), updates.killed_at(8, monkeypatch):
        tag_here(source, output, taxonomy_changed=True, **options)
    assert (output / "_vqa_ray" / "attempt-2" / "run.json").exists()
    tags.write_text(text if wanted == "old" else text.replace("light,", "bright,"))
    message = (
        "an update with other options was cut short .*finish it .*give it up: this command with --taxonomy-changed"
    )
    with pytest.raises(RequestError, match=message if wanted == "old" else "holds another run"):
        tag_here(source, output, **options)
    assert tag_here(source, output, taxonomy_changed=True, **options).rows == 21
    assert seen_by_globs(output) == truth(source)
    assert last_update(output)["asked"] == (1 if wanted == "old" else 21)
    assert tag_here(source, output, tags=str(tags)).rows == 21


def test_updates_and_retries_stand_in_each_others_way(
    photos: tuple[Path, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = photos
    tag_here(source, output)
    (source / "new.jpg").write_bytes(b"new")
    with pytest.raises(KilledError), updates.killed_at(4, monkeypatch):
        tag_here(source, output, update=True)
    assert "new.jpg" not in seen_by_globs(output)
    with pytest.raises(RequestError, match="--retry-failed: an update is under way"):
        tag_here(source, output, retry_failed="all")
    assert tag_here(source, output).rows == 20, "the run before is as it was"
    # Once the update is through, its failed rows can be retried.
    tag_here(source, output, update=True)
    assert seen_by_globs(output) == truth(source)
    assert tag_here(source, output, retry_failed="all").rows == 21
    assert len(manifest(output)["updates"]) == 1
    for given, told in (
        ({"update": True, "retry_failed": "all"}, "--update and --retry-failed are two commands"),
        ({"update": True, "limit": 3}, "a run with --limit is a sample"),
        ({"forget": True}, "--forget goes with --update"),
        ({"max_gone": 0.5}, "--max-gone goes with --update"),
        ({"taxonomy_changed": True}, "--taxonomy-changed goes with --update"),
    ):
        with pytest.raises(ValueError, match=told):
            TagSpec(input="in", output="out", model="fake:", **given)


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_no_row_is_lost_doubled_or_stale(
    photos: tuple[Path, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Nights of changes with kills; our readers see the state before or after, others each row once."""
    source, output = photos
    chance, counter, kills = random.Random(seed), [0], 0
    tag_here(source, output)
    gone: dict[str, str] = {}
    before = truth(source)
    for _ in range(4):
        change(source, chance, counter)
        gone |= {name: said for name, (_, said) in before.items() if said is not None}
        after = truth(source, gone)
        for _ in range(12):
            try:
                with updates.killed_at(chance.randint(1, 22), monkeypatch):
                    tag_here(source, output, update=True, max_gone=0.5)
                break
            except KilledError:
                kills += 1
                ours, others = seen_by_us(output), seen_by_globs(output)
                assert ours in (before, after), "a state between"
                assert before.keys() & after.keys() <= others.keys()
                assert all(row in (before.get(name), after.get(name)) for name, row in others.items())
        tag_here(source, output, update=True, max_gone=0.5)
        assert seen_by_globs(output) == seen_by_us(output) == after
        assert manifest(output)["findings"] == []
        before = after
    assert kills > 8


def test_a_run_without_a_listing_takes_in_what_came(photos: tuple[Path, Path], asked: list[int]) -> None:
    """Versions before 0.2 kept a fingerprint of the files and nothing more."""
    source, output = photos
    tag_here(source, output)
    layout = RunDirectory(str(output))
    Path(layout.listing()).unlink()
    record = json.loads(Path(layout.record).read_text())
    del record["input"]["place"]
    Path(layout.record).write_text(json.dumps(record))
    (source / "0-first.jpg").write_bytes(b"new")
    os.utime(source / "0-first.jpg", (4_000_000_000, 4_000_000_000))
    tag_here(source, output, update=True)
    assert seen_by_globs(output) == truth(source)
    assert asked == [20, 1]
    (source / "03.jpg").write_bytes(b"changed")
    tag_here(source, output, update=True)
    assert seen_by_globs(output) == truth(source)


def lines(folder: Path, rows: list[dict[str, object]], name: str = "q.jsonl") -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def prices(output: Path) -> dict[int, tuple[str, float]]:
    table = rows(output).to_pylist()
    found = {row["row_id"]: (row["status"], row["price"]) for row in table}
    assert len(found) == len(table)
    return found


def test_rows_of_a_changed_table_are_compared(photos: tuple[Path, Path], asked: list[int]) -> None:
    """Inserted at the front, dropped, changed and moved rows: what is the same is not asked again."""
    source, output = photos
    (source.parent / "t").mkdir()
    table = source.parent / "t"
    options = {"keep": ["price"], "image_root": str(source.parent)}
    given = [{"image_uri": f"in/{number:02}.jpg", "row_id": number, "price": number} for number in range(20)]
    lines(table, given)
    tag_here(table, output, **options)
    changed = [{"image_uri": "in/05.jpg", "row_id": 99, "price": 1}, *reversed(given[1:])]
    changed[3] = {**changed[3], "price": -1}
    lines(table, changed)
    tag_here(table, output, update=True, **options)
    assert asked == [20, 2], "the new row and the one with another price"
    assert last_update(output) == {"new": 1, "changed": 1, "gone": 1, "kept": 18, "asked": 2}
    expected = {row["row_id"]: ("ok", row["price"]) for row in changed}
    assert prices(output) == {**expected, 0: ("gone", 0)}
    # Files of rows that somebody deletes are answered again under their new keys; what is gone cannot be.
    part = next(uri for uri in output.glob("*.parquet") if "gone" in pq.read_table(uri)["status"].to_pylist())
    part.unlink()
    assert tag_here(table, output, **options).integrity_errors == ()
    assert prices(output) == expected
    assert manifest(output)["findings"] == []
    del asked[2:]
    # The table is renamed, as exports with dates are: its rows are known by their ids, also the one that was gone.
    (table / "q.jsonl").unlink()
    lines(table, given, "r.jsonl")
    tag_here(table, output, update=True, **options)
    assert prices(output) == {**{n: ("ok", n) for n in range(20)}, 99: ("gone", 1)}
    assert asked == [20, 2, 2], "the one that came back, and the other with its old price"
    # Lines at the end of a table are read without comparing.
    lines(table, [*given, {"image_uri": "in/05.jpg", "row_id": 100, "price": 5}], "r.jsonl")
    tag_here(table, output, update=True, **options)
    assert prices(output)[100] == ("ok", 5)
    assert asked[-1] == 1
    # A further table.
    lines(table, [{"image_uri": "in/05.jpg", "row_id": 101, "price": 6}], "s.jsonl")
    tag_here(table, output, update=True, **options)
    assert prices(output)[101] == ("ok", 6)
    assert manifest(output)["findings"] == []


def test_an_update_of_a_table_that_has_changed_meanwhile_begins_anew(
    photos: tuple[Path, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    table, output = photos[0].parent / "t", photos[1]
    table.mkdir()
    options: dict[str, Any] = {"keep": ["price"], "image_root": str(table.parent)}
    given = [{"image_uri": f"in/{number:02}.jpg", "row_id": number, "price": number} for number in range(20)]
    lines(table, given)
    tag_here(table, output, **options)
    lines(table, [{**row, "price": -1} for row in given])
    with pytest.raises(KilledError), updates.killed_at(16, monkeypatch):
        tag_here(table, output, update=True, **options)
    assert list((output / "_vqa_ray").glob("attempt-2/**/*.pq")), "rows of the update are written"
    lines(table, [{**row, "price": -2} for row in given[1:]])
    tag_here(table, output, update=True, **options)
    assert "an update was cut short, and q.jsonl has changed since: it begins anew" in caplog.text
    assert prices(output) == {number: ("ok", -2) if number else ("gone", 0) for number in range(20)}
    assert len(manifest(output)["updates"]) == 1


@pytest.mark.parametrize("began", [True, False])
def test_an_input_opened_before_another_process_wrote_is_opened_again(
    photos: tuple[Path, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch, began: bool
) -> None:
    source, output = photos
    table = source.parent / "t"
    table.mkdir()
    options = {"keep": ["price"], "image_root": str(source.parent), "update": began}
    given = [{"image_uri": f"in/{number:02}.jpg", "row_id": number, "price": number} for number in range(20)]
    lines(table, given)
    if began:
        tag_here(table, output, **options)
        lines(table, given := [*reversed(given[1:]), {**given[0], "row_id": 99}])
    real, others = run.output_lock, [1]

    def lock_after_another(*arguments: Any, **more: Any) -> Any:
        if others:
            others.clear()
            lines(table, [{"image_uri": "in/05.jpg", "row_id": 101, "price": 6}], "a.jsonl")
            tag_here(table, output, **options)
        return real(*arguments, **more)

    monkeypatch.setattr(run, "output_lock", lock_after_another)
    assert tag_here(table, output, **options).integrity_errors == ()
    expected = {row["row_id"]: ("ok", row["price"]) for row in given} | {101: ("ok", 6)}
    assert prices(output) == (expected | {0: ("gone", 0)} if began else expected)
    assert sum(asked) == 22 if began else 21
    assert manifest(output)["findings"] == []


def test_rows_with_bytes_and_no_ids_are_known_by_their_bytes(tmp_path: Path, asked: list[int]) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    images = [picture(number) for number in range(10)]
    pq.write_table(pa.table({"image": images}), source / "a.parquet")
    tag_here(source, output)
    pq.write_table(pa.table({"image": [b"new", *images[1:]]}), source / "a.parquet")
    tag_here(source, output, update=True)
    assert asked == [10, 1]
    assert last_update(output) == {"new": 1, "changed": 0, "gone": 1, "kept": 9, "asked": 1}


@pytest.mark.usefixtures("local_ray")
def test_through_ray(photos: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`retrieve` lists its matches anew, `answer` and `caption` do the same."""
    source, output = photos
    commands: dict[str, tuple[str, ...]] = {
        "retrieve": ("--where", '"is it red?"'),
        "answer": ("--question", "what colour is it?", "--question", "is it red?"),
        "caption": (),
    }
    for command, more in commands.items():
        assert main(arguments(command, source, output / command, *more)) == 0
    (source / "new.jpg").write_bytes(picture(0))
    (source / "00.jpg").write_bytes(picture(1))
    (source / "04.jpg").unlink()
    for command, more in commands.items():
        assert main([*arguments(command, source, output / command, *more), "--update"]) == 0, capsys.readouterr().err
        assert last_update(output / command) == {"new": 1, "changed": 1, "gone": 1, "kept": 18, "asked": 2}
    matches = pq.read_table(output / "retrieve" / "_matches.pq")["image_id"].to_pylist()
    scored = rows(output / "retrieve").to_pylist()
    assert sorted(matches) == sorted(row["image_id"] for row in scored if row["match"] and row["status"] == "ok")
    assert "04.jpg" not in matches
    answers = {(row["image_id"], row["question_index"]): row for row in rows(output / "answer").to_pylist()}
    assert len(answers) == 42
    assert answers["new.jpg", 0]["answer"] == "red"
    assert answers["00.jpg", 0]["answer"] == "green"
    assert answers["04.jpg", 1]["status"] == "gone"


def test_rows_whose_texts_stand_in_questions_are_asked_again_with_their_table(
    photos: tuple[Path, Path], asked: list[int]
) -> None:
    """A title may have changed, and no column of the output tells."""
    source, output = photos
    table, tags = source.parent / "t", source.parent / "tags.yaml"
    table.mkdir()
    tags.write_text("attributes:\n- name: shown\n  question: does it show {title}?\n  choices: ['yes', 'no']\n")
    given = [{"image_uri": f"in/{number:02}.jpg", "row_id": number, "title": "a mug"} for number in range(6)]
    options = {"image_root": str(source.parent), "tags": str(tags)}
    lines(table, given)
    tag_here(table, output, **options)
    lines(table, [*given[1:], given[0]])
    tag_here(table, output, update=True, **options)
    assert asked == [6, 6]
    assert last_update(output) == {"new": 0, "changed": 6, "gone": 0, "kept": 0, "asked": 6}
    assert tag_here(table, output, update=True, **options).rows == 6


def test_pages_of_a_changed_document_are_asked_again(tmp_path: Path, asked: list[int]) -> None:
    """A page keeps its name whatever it shows."""
    pytest.importorskip("pypdfium2")
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.pdf").write_bytes(coloured(3))
    (source / "b.pdf").write_bytes(coloured(2))
    tag_here(source, output)
    (source / "a.pdf").write_bytes(coloured(4))
    tag_here(source, output, update=True)
    assert asked == [5, 4]
    assert last_update(output) == {"new": 1, "changed": 3, "gone": 0, "kept": 2, "asked": 4}
    said = {name: digest(source / name[:5]) for name in seen_by_us(output)}
    assert seen_by_us(output) == {name: ("ok", each) for name, each in said.items()}
    assert len(said) == 6


@pytest.mark.usefixtures("local_ray")
def test_from_s3_and_into_it(s3_session: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An etag tells that a photo that was written again is the same; the journal and the moves work on a store, too."""
    source, output = f"{s3_session}/update-in", f"{s3_session}/update-out"
    for number in range(12):
        write_bytes_atomic(f"{source}/{number:02}.jpg", picture(number))
    command = arguments("answer", source, output, "--question", "what colour is it?")
    assert main(command) == 0, capsys.readouterr().err
    write_bytes_atomic(f"{source}/00.jpg", picture(0))
    write_bytes_atomic(f"{source}/01.jpg", picture(2))
    write_bytes_atomic(f"{source}/new.jpg", picture(0))
    delete(f"{source}/02.jpg")
    assert main([*command, "--update"]) == 0, capsys.readouterr().err
    entry = json.loads(read_bytes(f"{output}/_vqa_ray/manifest.json"))["updates"][0]
    assert [entry[name] for name in ("new", "changed", "gone", "kept")] == [1, 1, 1, 10]
    answers = {row["image_id"]: row for row in read_output(output).to_pylist()}
    assert len(answers) == 13
    assert [answers[name]["answer"] for name in ("00.jpg", "01.jpg", "new.jpg")] == ["red", "blue", "red"]
    assert answers["02.jpg"]["status"] == "gone"
    assert [entry.uri for entry in list_files(output, hidden=True) if "attempt-2" in entry.uri] == []
    assert main([*command, "--update"]) == 0
