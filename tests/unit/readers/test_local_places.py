"""Where the references of a stranger's table lead: never to a local file that nobody named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.readers.inputs import read, refused, write_jsonl, write_parquet
from vqa_ray.errors import RowError
from vqa_ray.readers import InputConfig
from vqa_ray.readers.conversations import open_conversations
from vqa_ray.readers.local_places import LocalPlaces
from vqa_ray.readers.open import read_shard


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """An input's directory, beside a private one; links lead from one to the other."""
    for name in ("shop/photos/a.jpg", "shop/tables/b.jpg", "private/secret.jpg", "archive/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"image")
    for link, target in (("link.jpg", "../private/secret.jpg"), ("folder", "../private"), ("within", "photos")):
        (tmp_path / "shop" / link).symlink_to(target)
    return tmp_path / "shop"


def rows_of(shop: Path, references: list[str], **options: object) -> list[tuple[str | None, str | None]]:
    lines = [{"image_uri": reference, "question": "q"} for reference in references]
    write_jsonl(shop / "tables" / "rows.jsonl", lines)
    rows = read(shop, format="jsonl", **options)  # type: ignore[arg-type]
    assert len(rows) == len({row["row_id"] for row in rows}) == len(references)
    return [(row["error_code"], row["error_message"]) for row in rows]


def test_references_below_the_input_are_read(shop: Path) -> None:
    allowed = ["b.jpg", "../photos/a.jpg", f"{shop}/photos/a.jpg", f"file://{shop}/photos/a.jpg", "../within/a.jpg"]
    allowed += ["s3://bucket/a.jpg", "../photos/missing.jpg"]
    assert rows_of(shop, allowed) == [(None, None)] * len(allowed)


@pytest.mark.parametrize(
    "reference",
    [
        "/etc/passwd",
        "../../private/secret.jpg",
        "../photos/../../private/secret.jpg",
        "../within/../../private/secret.jpg",
        "{root}/private/secret.jpg",
        "{root}/shop/../private/secret.jpg",
        "{root}/shopping/secret.jpg",
        "file://{root}/private/secret.jpg",
        "file://localhost/etc/passwd",
        "FILE:///etc/passwd",
        "file:///%65tc/passwd",
        "../link.jpg",
        "../folder/secret.jpg",
        "{root}/shop/folder/../private/secret.jpg",
        "../folder/.",
        "/proc/self/environ",
        "/dev/zero",
        "//etc/passwd",
        "/..//etc/passwd",
    ],
)
def test_references_elsewhere_are_not(shop: Path, reference: str) -> None:
    ((code, message),) = rows_of(shop, [reference.format(root=shop.parent)])
    assert code == "image_fetch_failed"
    assert message is not None
    assert "not allowed" in message
    assert "--allow-local DIR" in message


def test_the_place_that_a_link_leads_to_is_named(shop: Path) -> None:
    ((_, message),) = rows_of(shop, ["../link.jpg"])
    assert message is not None
    assert "link.jpg leads to " in message
    assert "/private/secret.jpg, outside of the input's directory" in message


def test_a_long_path_leaves_room_for_what_to_do(shop: Path) -> None:
    deep = shop.parent / ("d" * 150) / ("e" * 150)
    ((_, message),) = rows_of(shop, [f"{deep}/secret.jpg"])
    assert message is not None
    assert message.endswith("e/secret.jpg lies outside of the input's directory; --allow-local DIR allows another")


def test_options_name_other_places(shop: Path) -> None:
    elsewhere = [f"{shop.parent}/private/secret.jpg", "../link.jpg", f"{shop.parent}/archive/c.jpg"]
    names = {"allow_local": (f"{shop.parent}/private/",)}
    assert [code for code, _ in rows_of(shop, elsewhere, **names)] == [None, None, "image_fetch_failed"]
    root = {"image_root": str(shop.parent / "private")}
    assert [code for code, _ in rows_of(shop, [elsewhere[0]], **root)] == [None]
    # A link out of the image root, too, needs to be named.
    (shop.parent / "private" / "link.jpg").symlink_to("../archive/c.jpg")
    assert [code for code, _ in rows_of(shop, ["link.jpg"], **root)] == ["image_fetch_failed"]
    assert rows_of(shop, ["link.jpg"], **root, allow_local=(str(shop.parent / "archive"),)) == [(None, None)]
    message = refused(shop, format="jsonl", allow_local=("s3://bucket/x",))
    assert message == "--allow-local s3://bucket/x: is not a local directory; others need no permission"


def test_no_directory_covers_what_is_the_kernels() -> None:
    everything = LocalPlaces(["/"])
    everything.check("/etc/passwd")
    for path in ("/proc/self/environ", "/sys/kernel/notes", "/dev/zero", "/proc/../proc/version"):
        with pytest.raises(RowError, match="not allowed"):
            everything.check(path)
    LocalPlaces(["/dev/shm"]).check("/dev/shm/a.jpg")


def test_a_table_that_is_not_local_names_no_local_file() -> None:
    remote = LocalPlaces(["s3://bucket/tables", "org/name"])
    remote.check("s3://bucket/a.jpg")
    for path in ("/data/a.jpg", "file:///data/a.jpg", "org/name/a.jpg"):
        with pytest.raises(RowError, match="not allowed"):
            remote.check(path)


def test_other_formats_obey(shop: Path) -> None:
    secret = str(shop.parent / "private" / "secret.jpg")
    write_parquet(shop / "a.parquet", {"image": [{"bytes": None, "path": secret}], "question": ["q"]})
    (shop / "a.csv").write_text(f"image_uri,question\n{secret},q\n")
    several = {"images": [secret, "../photos/a.jpg"], "question": "q"}
    linked = {"images": [{"type": "image_url", "image_url": {"url": f"file://{secret}"}}], "question": "q"}
    (shop / "a.jsonl").write_text("\n".join(map(json.dumps, (several, linked))))
    for name, options in (("a.parquet", {}), ("a.csv", {}), ("a.jsonl", {"reads_several": True})):
        for row in read(shop / name, **options):
            assert row["error_code"] == "image_fetch_failed", name
            assert "not allowed" in row["error_message"]


def test_instruction_data_obeys(shop: Path) -> None:
    turns = [{"from": "human", "value": "<image> what?"}, {"from": "gpt", "value": "a cat"}]
    lines = [{"image": image, "conversations": turns} for image in ("photos/a.jpg", "../private/secret.jpg")]
    source = open_conversations(InputConfig(str(write_jsonl(shop / "train.jsonl", lines))))
    rows = [row for shard in source.shards for table in read_shard(source, shard) for row in table.to_pylist()]
    assert [row["error_code"] for row in rows] == [None, "image_fetch_failed"]


@pytest.mark.parametrize("name", ["data_subtype", "data_type"])
def test_names_of_vqa_v2_lead_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "000000000001.jpg").write_bytes(b"image")
    head = {"data_subtype": "val2014", "data_type": "mscoco", name: "../../private"}
    questions = [{"image_id": 1, "question": "q", "question_id": 1}]
    path = tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json"
    path.write_text(json.dumps({**head, "questions": questions}))
    assert f"{name} is '../../private'; wanted is a name" in refused(path, format="vqa-v2")
