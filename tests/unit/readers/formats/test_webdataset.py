from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from tests.helpers.pictures import encoded, photo
from tests.unit.readers.inputs import asked, errors, open_at, read, refused, rows_of, tar_bytes, write_tar
from vqa_ray.readers import read_shard
from vqa_ray.readers.formats import tar_members
from vqa_ray.readers.formats.tar_samples import Member, samples_of


def compressed(data: bytes, compression: str) -> bytes:
    if compression == "zst":
        return pa.compress(data, codec="zstd", asbytes=True)  # type: ignore[no-any-return]
    return {"gz": gzip, "bz2": bz2, "xz": lzma}[compression].compress(data)  # type: ignore[attr-defined, no-any-return]


def ids(rows: list[dict[str, object]]) -> list[object]:
    return [row["image_id"] for row in rows]


def test_an_image_and_its_json_are_one_row(tmp_path: Path) -> None:
    told = asked("what?", question_id=5, row_id=9, price=1.5)
    file = write_tar(tmp_path / "a.tar", [("shop/001.jpg", b"i"), ("shop/001.json", told)])
    source = open_at(file, keep=("price",))
    assert (source.format, source.total_rows, source.passthrough) == (
        "webdataset",
        None,
        (pa.field("price", pa.float64()),),
    )
    (row,) = rows_of(source)
    assert (row["row_id"], row["image_id"], row["question_id"]) == (9, "shop/001", "5")
    assert (row["image"], row["questions"], row["price"]) == (b"i", ["what?"], 1.5)


def test_upper_case_suffixes_dots_in_directories_and_text_questions(tmp_path: Path) -> None:
    members = [
        ("./v1.2/A.JPEG", b"i"),
        ("./v1.2/A.TXT", "où? 🐕\n".encode()),
        ("./v1.2/B.Png", b"j"),
        ("./v1.2/B.txt", b" "),
    ]
    rows = read(write_tar(tmp_path / "a.tar", members))
    assert ids(rows) == ["v1.2/A", "v1.2/B"]
    assert rows[0]["questions"] == ["où? 🐕"]
    assert errors(rows) == [
        None,
        ("question_missing", "a.tar sample v1.2/B: question in column 'txt' is blank"),
    ]


def test_dots_in_names_do_not_merge_samples(tmp_path: Path) -> None:
    members = [(f"sku.{i:03}.jpeg", b"i%d" % i) for i in range(100)]
    rows = read(write_tar(tmp_path / "a.tar", members), questions=("q",))
    assert ids(rows) == [f"sku.{i:03}" for i in range(100)]
    assert [row["image"] for row in rows] == [b"i%d" % i for i in range(100)]

    members = [
        (f"sku.{i:03}.{s}", asked(f"q{i}") if s == "json" else b"i") for i in range(50) for s in ("jpeg", "json")
    ]
    rows = read(write_tar(tmp_path / "b.tar", members))
    assert [(row["image_id"], row["questions"]) for row in rows] == [(f"sku.{i:03}", [f"q{i}"]) for i in range(50)]


@pytest.mark.parametrize("names", [["1.json", "1.left.jpg", "1.right.jpg"], ["1.left.jpg", "1.right.jpg", "1.json"]])
def test_several_images_of_a_key_share_its_json(tmp_path: Path, names: list[str]) -> None:
    members = [(name, asked("q") if "json" in name else name.encode()) for name in names]
    rows = read(write_tar(tmp_path / "a.tar", [*members, ("2.jpg", b"x"), ("2.json", asked("r", image_id=8))]))
    assert ids(rows) == ["1/left.jpg", "1/right.jpg", "8"]
    assert [row["questions"] for row in rows] == [["q"], ["q"], ["r"]]
    assert rows[0]["row_id"] != rows[1]["row_id"]


def test_several_images_keep_their_names_beside_an_id_in_the_json(tmp_path: Path) -> None:
    members = [("k.jpg", b"i"), ("k.png", b"j"), ("k.seg.png", b"s"), ("k.json", asked("q", image_id=5))]
    assert ids(read(write_tar(tmp_path / "a.tar", members))) == ["5/jpg", "5/png", "5/seg.png"]


def test_a_lone_named_image_is_known_by_the_key_of_its_json(tmp_path: Path) -> None:
    rows = read(write_tar(tmp_path / "a.tar", [("1.json", asked("q")), ("1.main.jpg", b"i"), ("1.emb.npy", b"")]))
    assert ids(rows) == ["1"]


@pytest.mark.parametrize("count", [31, 32, 33, 63, 64, 65, 66, 100])
def test_a_sample_of_very_many_images_is_one_sample(tmp_path: Path, count: int) -> None:
    members = [("1.json", asked("q")), *((f"1.{i:03}.jpg", b"i%d" % i) for i in range(count))]
    rows = read(write_tar(tmp_path / "a.tar", members))
    assert ids(rows) == [f"1/{i:03}.jpg" for i in range(count)]
    assert {tuple(row["questions"]) for row in rows} == {("q",)}


def test_keys_without_an_image_are_rows_too(tmp_path: Path) -> None:
    members = [
        ("README.md", b"hello"),
        ("1.json", asked("q")),
        *((f"sku.{i}.json", asked("q")) for i in range(40)),
        ("2.jpg", b"i"),
        ("2.json", asked("q")),
        ("__index__.json", b"{}"),
        ("._2.jpg", b"apple double"),
        ("LICENSE", b""),
    ]
    rows = read(write_tar(tmp_path / "a.tar", members))
    assert errors(rows)[:2] == [
        ("image_missing", "a.tar sample README: no image, only md"),
        ("image_missing", "a.tar sample 1: no image, only json"),
    ]
    assert ids(rows) == ["README", "1", *(f"sku.{i}" for i in range(40)), "2"]
    assert len({row["row_id"] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b'{"question": "q"', "json: Expecting ',' delimiter: line 1 column 17 (char 16)"),
        (b"[1]", "json: not an object"),
        (b"\xff{}", "json: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_a_broken_sidecar_costs_its_own_sample(tmp_path: Path, broken: bytes, reason: str) -> None:
    members = [(f"{i}.{s}", b"i" if s == "jpg" else asked("q")) for i in range(3) for s in ("jpg", "json")]
    members[3] = ("1.json", broken)
    rows = read(write_tar(tmp_path / "a.tar", members))
    assert errors(rows) == [None, ("row_malformed", f"a.tar sample 1: {reason}"), None]
    assert ids(rows) == ["0", "1", "2"]


def test_text_that_is_not_utf8_only_matters_when_it_is_the_question(tmp_path: Path) -> None:
    members = [
        ("1.jpg", b"i"),
        ("1.txt", b"q"),
        ("2.jpg", b"i"),
        ("2.txt", b"\xff"),
        ("3.jpg", b"i"),
        ("3.txt", b"q"),
        ("3.cls", b"\xff"),
    ]
    rows = read(write_tar(tmp_path / "a.tar", members))
    message = "a.tar sample 2: column 'txt' holds text that is not UTF-8; expected a string"
    assert errors(rows) == [None, ("row_malformed", message), None]


def test_text_sidecars_are_columns(tmp_path: Path) -> None:
    members = [("1.jpg", b"i"), ("1.cls", b"3\n"), ("1.json", b'{"ask": "q", "more": {"a": [1]}}')]
    (row,) = read(write_tar(tmp_path / "a.tar", members), columns={"question": "ask"}, keep=("cls", "more"))
    assert (row["questions"], row["cls"], row["more"]) == (["q"], "3", '{"a": [1]}')


def test_kept_values_of_another_type_are_malformed(tmp_path: Path) -> None:
    members = [("1.jpg", b"i"), ("1.json", asked("q", n=1))]
    big = [("2.jpg", bytes(33 * 2**20)), ("2.json", asked("q", n=2)), ("3.jpg", b"k"), ("3.json", asked("q", n="x"))]
    rows = read(write_tar(tmp_path / "a.tar", [*members, *big]), keep=("n",))
    message = "a.tar sample 3: column 'n' holds 'x' (a string); expected int64"
    assert errors(rows) == [None, None, ("row_malformed", message)]


def test_missing_columns_are_refused(tmp_path: Path) -> None:
    file = write_tar(tmp_path / "a.tar", [("1.jpg", b"i"), ("1.json", b'{"text": "q"}')])
    assert refused(file) == (
        f"{file}: no column 'question' or 'questions'; the columns are: text; "
        "name it with --column question=NAME, or ask every image with --question TEXT"
    )
    assert refused(file, questions=("q",), keep=("sku",)).endswith("--keep sku: no such column; the columns are: text")
    assert refused(write_tar(tmp_path / "b.tar", [])).endswith("b.tar: the input is empty: no samples")
    assert read(file, needs_question=False)[0]["questions"] == []


PHOTOS = [
    (f"{i:02}.{suffix}", random.Random(i).randbytes(2_000) if suffix == "jpg" else asked("q"))
    for i in range(10)
    for suffix in ("jpg", "json")
]


def test_a_damaged_header_costs_its_own_member(tmp_path: Path) -> None:
    data = bytearray(tar_bytes(PHOTOS))
    at = data.index(b"04.jpg\0")
    data[at : at + 20] = b"\xaa" * 20
    (tmp_path / "a.tar").write_bytes(data)
    rows = read(tmp_path / "a.tar")
    assert sorted(str(found) for found in ids(rows)) == [*(f"{i:02}" for i in range(10)), "None"]
    assert [error for error in errors(rows) if error] == [
        ("row_malformed", "a.tar: a damaged tar header; 2560 bytes before '04.json' were skipped"),
        ("image_missing", "a.tar sample 04: no image, only json"),
    ]
    assert len(rows) == 11


@pytest.mark.parametrize("cut", [512, 700, 1024, 10_000, 12_345])
def test_a_cut_off_tar_keeps_what_was_before(tmp_path: Path, cut: int) -> None:
    data = tar_bytes(PHOTOS)
    (tmp_path / "a.tar").write_bytes(data[:cut])
    rows = read(tmp_path / "a.tar")
    assert rows[-1]["error_code"] == "row_malformed"
    assert rows[-1]["error_message"].startswith(f"shard a.tar cannot be read past row {len(rows) - 1}: ")
    whole = [row for row in rows if row["status"] == "ok"]
    assert [row["image"] for row in whole] == [content for name, content in PHOTOS if name.endswith("jpg")][
        : len(whole)
    ]
    # A pair takes 3,584 bytes: two headers of 512, 2,048 of image and 512 of JSON.
    assert len(whole) == cut // 3584


def test_a_tar_that_ends_between_two_members_is_told(tmp_path: Path) -> None:
    data = tar_bytes(PHOTOS)
    (tmp_path / "a.tar").write_bytes(data[: 3584 * 4])
    rows = read(tmp_path / "a.tar")
    message = "shard a.tar cannot be read past row 4: it ends without an end-of-archive mark; it may be cut off"
    assert errors(rows) == [None] * 4 + [("row_malformed", message)]


def test_tars_that_were_concatenated_are_read_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes(PHOTOS[:4]) + tar_bytes(PHOTOS[4:]))
    assert errors(read(tmp_path / "a.tar")) == [None] * 10


def test_garbage_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"this is no tar, but text\n" * 500)
    (row,) = read(tmp_path / "a.tar")
    assert errors([row]) == [
        ("row_malformed", "shard a.tar cannot be read past row 0: its last 12288 bytes are not tar")
    ]
    (tmp_path / "a.tar").write_bytes(b"")
    assert errors(read(tmp_path / "a.tar"))[0] is not None


@pytest.mark.parametrize("suffix", ["tar.gz", "tgz"])
def test_gzipped_tars(tmp_path: Path, suffix: str) -> None:
    file = write_tar(tmp_path / f"a.{suffix}", PHOTOS, "w:gz")
    assert errors(read(file)) == [None] * 10
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    rows = read(file)
    assert errors(rows)[:-1] == [None] * (len(rows) - 1)
    assert len(rows) > 3
    assert "Compressed file ended before the end-of-stream marker was reached" in rows[-1]["error_message"]


def test_links_out_of_a_tar_and_huge_members_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_members, "MAX_MEMBER_BYTES", 100)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        link = tarfile.TarInfo("1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name, size in (("2.jpg", 101), ("3.jpg", 100)):
            header = tarfile.TarInfo(name)
            header.size = size
            tar.addfile(header, io.BytesIO(bytes(size)))
    (tmp_path / "a.tar").write_bytes(data.getvalue())
    rows = read(tmp_path / "a.tar", questions=("q",))
    assert errors(rows) == [
        ("image_missing", "a.tar sample 1: is a link to '/etc/passwd', which leads to no file of this tar"),
        ("image_too_large", "a.tar sample 2: has 101 bytes; at most 100 are read"),
        None,
    ]


@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names(tmp_path: Path, style: int) -> None:
    names = [f"{'d' * 90}/{'n' * 90}{i}é.jpg" for i in range(3)]
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=style) as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    (tmp_path / "a.tar").write_bytes(data.getvalue())
    assert ids(read(tmp_path / "a.tar", questions=("q",))) == [name[:-4] for name in names]


def test_a_negative_size_does_not_loop(tmp_path: Path) -> None:
    header = tarfile.TarInfo("1.jpg")
    header.size = -1024
    good = tar_bytes([("0.jpg", b"i")])[:1024]
    (tmp_path / "a.tar").write_bytes(good + header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    rows = read(tmp_path / "a.tar", questions=("q",))
    assert [row["error_code"] for row in rows] == [None, "row_malformed"]


def test_only_wanted_rows(tmp_path: Path) -> None:
    source = open_at(write_tar(tmp_path / "a.tar", PHOTOS))
    (table,) = read_shard(source, source.shards[0], [2, 7])
    assert table["image_id"].to_pylist() == ["02", "07"]
    assert table["source_key"].to_pylist() == [2, 7]


def test_samples_are_given_as_soon_as_they_are_complete() -> None:
    taken = 0

    def members() -> object:
        nonlocal taken
        for i in range(1_000):
            taken += 1
            yield Member(f"sku.{i}", "jpg", b"i")

    samples = samples_of(members())  # type: ignore[arg-type]
    next(samples)
    assert taken < 40
    assert len(list(samples)) == 999


def test_json_questions_are_several(tmp_path: Path) -> None:
    file = write_tar(tmp_path / "a.tar", [("1.jpg", b"i"), ("1.json", json.dumps({"questions": ["q", "r"]}).encode())])
    source = open_at(file)
    assert source.multi_question
    assert rows_of(source)[0]["questions"] == ["q", "r"]


def test_names_that_occur_twice_are_paired_in_their_order(tmp_path: Path) -> None:
    one, two = (encoded(photo(16, 12, seed), "PNG") for seed in (1, 2))
    first, second = asked("first?"), asked("second?")
    orders = [
        [("1.png", one), ("1.json", first), ("1.png", two), ("1.json", second)],
        [("1.png", one), ("1.png", two), ("1.json", first), ("1.json", second)],
        [("1.json", first), ("1.json", second), ("1.png", one), ("1.png", two)],
        [("./1.png", one), ("1.json", first), ("2.png", one), ("2.json", first), ("1.png", two), ("./1.json", second)],
    ]
    for members in orders:
        rows = read(write_tar(tmp_path / "a.tar", members))
        mine = [(row["image"], row["questions"]) for row in rows if row["image_id"] == "1"]
        assert mine == [(one, ["first?"]), (two, ["second?"])]


def test_a_second_name_without_its_sidecar_is_an_error(tmp_path: Path) -> None:
    image = encoded(photo(16, 12), "PNG")
    rows = read(write_tar(tmp_path / "a.tar", [("1.png", image), ("1.json", asked("q")), ("1.png", image)]))
    assert [row["error_code"] for row in rows] == [None, "question_missing"]
    rows = read(write_tar(tmp_path / "b.tar", [("1.json", asked("q")), ("1.json", asked("r")), ("1.png", image)]))
    assert [(row["questions"], row["error_code"]) for row in rows] == [(["q"], None), ([], "image_missing")]


def test_many_members_of_one_name_are_all_read(tmp_path: Path) -> None:
    image = encoded(photo(16, 12), "PNG")
    members = [part for i in range(100) for part in (("1.png", image), ("1.json", asked(f"q{i}")))]
    assert [row["questions"] for row in read(write_tar(tmp_path / "a.tar", members))] == [[f"q{i}"] for i in range(100)]


def test_members_whose_names_are_not_utf8_are_told_apart(tmp_path: Path) -> None:
    image = encoded(photo(16, 12), "PNG")
    members = [
        (f"caf{char}.{suffix}", data)
        for char in ("\udce8", "\udce9")
        for suffix, data in (("png", image), ("json", asked(f"{ord(char):x}")))
    ]
    rows = read(write_tar(tmp_path / "a.tar", members))
    assert [(row["image_id"], row["questions"]) for row in rows] == [
        ("caf\\xe8", ["dce8"]),
        ("caf\\xe9", ["dce9"]),
    ]


IMAGE = encoded(photo(16, 12), "PNG")


def test_members_are_not_left_out_by_their_names(tmp_path: Path) -> None:
    members = [
        ("_DSC1.JPG", b"i"),
        ("_DSC1.json", asked("first?")),
        ("a.jpg", b"j"),
        (".b.png", b"k"),
        (".b.txt", b"second?"),
        ("a.json", asked("third?")),
        ("dir/no_suffix", IMAGE),
        ("._a.jpg", b"apple double"),
        ("__MACOSX/_c.jpg", b"apple double"),
        (".DS_Store", b"finder"),
        ("README", b"text"),
        ("_notes.txt", b"text"),
        (".config", b"text"),
    ]
    source = open_at(write_tar(tmp_path / "a.tar", members))
    rows = rows_of(source)
    # Earlier versions read one row, which keeps its number.
    assert ids(rows) == ["a", "_DSC1", ".b", "dir/no_suffix"]
    assert [row["questions"] for row in rows] == [["third?"], ["first?"], ["second?"], []]
    assert [row["image"] for row in rows] == [b"j", b"i", b"k", None]
    assert [row["error_code"] for row in rows] == [None, None, None, "question_missing"]
    assert source.notes == (
        "left out of the tars, as far as their beginnings show: 2 × no suffix (for example README), "
        "1 × .txt (for example _notes.txt)",
    )


def test_a_tar_of_hidden_names_alone_is_read(tmp_path: Path) -> None:
    rows = read(write_tar(tmp_path / "a.tar", [(f"_DSC{i}.JPG", b"i%d" % i) for i in range(3)]), questions=("q",))
    assert [(row["image_id"], row["image"]) for row in rows] == [(f"_DSC{i}", b"i%d" % i) for i in range(3)]


def test_images_are_known_by_their_contents(tmp_path: Path) -> None:
    members = [
        ("1", IMAGE),
        ("1.json", asked("first?")),
        ("2.jpg_large", IMAGE),
        ("2.json", asked("second?")),
        ("3.jpg", b"i"),
        ("3.thumbnail", IMAGE),
        ("3.json", asked("third?")),
        ("4.left", IMAGE),
        ("4.right", IMAGE),
    ]
    rows = read(write_tar(tmp_path / "a.tar", members))
    assert [(row["image_id"], row["image"], row["questions"]) for row in rows[:3]] == [
        ("1", IMAGE, ["first?"]),
        ("2", IMAGE, ["second?"]),
        ("3", b"i", ["third?"]),
    ]
    message = "a.tar sample 4: no image, only left, right (several hold images: give them the suffixes of images)"
    assert errors(rows) == [None, None, None, ("image_missing", message)]


def test_bookkeeping_in_a_tar_is_no_row(tmp_path: Path) -> None:
    members = [("Thumbs.db", b"x"), ("1.jpg", b"i"), ("desktop.ini", b"x")]
    file = write_tar(tmp_path / "a.tar", members)
    source = open_at(file, questions=("q",))
    (table,) = read_shard(source, source.shards[0])
    assert table["image_id"].to_pylist() == ["1"]
    assert table["source_key"].to_pylist() == [1], "rows keep the numbers that they had when such files were rows"


def test_hidden_members_before_the_damage_are_read(tmp_path: Path) -> None:
    data = tar_bytes([("_0.jpg", b"i"), *PHOTOS])
    (tmp_path / "a.tar").write_bytes(data[: 1024 + 3584 * 2 + 100])
    rows = read(tmp_path / "a.tar", questions=("q",))
    assert ids(rows) == ["00", "01", None, "_0"]
    assert [row["error_code"] for row in rows] == [None, None, "row_malformed", None]


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz", "zst"])
def test_links_to_members_are_followed(tmp_path: Path, compression: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in (("./d/1.jpg", b"i"), ("d/1.json", asked("first?")), ("2.txt", b"second?")):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
        tar.addfile(link("2.jpg", "d/1.jpg", tarfile.LNKTYPE))
        tar.addfile(link("d/3.json", "1.json", tarfile.SYMTYPE))
        tar.addfile(link("d/3.jpg", "../2.jpg", tarfile.SYMTYPE))
        tar.addfile(link("4.jpg", "gone.jpg", tarfile.LNKTYPE))
        tar.addfile(link("4.txt", "2.txt", tarfile.LNKTYPE))
    stored = data.getvalue() if not compression else compressed(data.getvalue(), compression)
    file = tmp_path / f"a.tar.{compression}".rstrip(".")
    file.write_bytes(stored)
    rows = read(file)
    assert [(row["image_id"], row["image"], row["questions"]) for row in rows[:3]] == [
        ("d/1", b"i", ["first?"]),
        ("2", b"i", ["second?"]),
        ("d/3", b"i", ["first?"]),
    ]
    message = f"{file.name} sample 4: is a link to 'gone.jpg', which leads to no file of this tar"
    assert errors(rows) == [None, None, None, ("image_missing", message)]


def test_a_hard_link_leads_to_the_file_before_it(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for header, content in (
            (tarfile.TarInfo("1.jpg"), b"old"),
            (link("2.jpg", "1.jpg", tarfile.LNKTYPE), b""),
            (tarfile.TarInfo("1.jpg"), b"new"),
        ):
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    (tmp_path / "a.tar").write_bytes(data.getvalue())
    assert [row["image"] for row in read(tmp_path / "a.tar", questions=("q",))] == [b"old", b"old", b"new"]


@pytest.mark.parametrize("compression", ["", "gz"])
def test_links_are_followed_through_links(tmp_path: Path, compression: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for header, content in (
            (link("d/1.jpg", "2.jpg", tarfile.SYMTYPE), b""),
            (link("d/2.jpg", "../real/3.jpg", tarfile.SYMTYPE), b""),
            (tarfile.TarInfo("real/3.jpg"), b"i"),
            (link("hard.jpg", "d/1.jpg", tarfile.LNKTYPE), b""),
            (link("later.jpg", "hard.jpg", tarfile.SYMTYPE), b""),
            (link("self.jpg", "self.jpg", tarfile.SYMTYPE), b""),
            (link("self2.jpg", "self2.jpg", tarfile.LNKTYPE), b""),
            (link("x.jpg", "y.jpg", tarfile.SYMTYPE), b""),
            (link("y.jpg", "x.jpg", tarfile.SYMTYPE), b""),
            (link("out.jpg", "out2.jpg", tarfile.SYMTYPE), b""),
            (link("out2.jpg", "../real/3.jpg", tarfile.SYMTYPE), b""),
        ):
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    file = tmp_path / f"a.tar.{compression}".rstrip(".")
    file.write_bytes(data.getvalue() if not compression else compressed(data.getvalue(), compression))
    rows = read(file, questions=("q",))
    assert {row["image_id"] for row in rows if row["image"] == b"i"} == {"d/1", "d/2", "real/3", "hard", "later"}
    assert {row["image_id"] for row in rows if row["error_code"]} == {"self", "self2", "x", "y", "out", "out2"}
    said = f"{file.name} sample x: is a link to 'y.jpg', which leads to no file of this tar"
    assert ("image_missing", said) in errors(rows)


def test_members_that_do_not_lie_together_are_told(tmp_path: Path) -> None:
    members = [("a/1.jpg", b"i"), ("b/1.jpg", b"i"), ("a/1.json", asked("q")), ("b/1.json", asked("q"))]
    source = open_at(write_tar(tmp_path / "a.tar", members))
    assert source.notes == (
        "members of one sample do not lie together in the tar (a/1.jpg and a/1.json, for example), so they become rows "
        "of their own; write the tar in the order of its names: tar --sort=name",
    )
    assert open_at(write_tar(tmp_path / "b.tar", sorted(members))).notes == ()


def test_a_key_that_occurs_twice_in_a_sidecar_is_an_error_of_its_sample(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "a.tar",
        [("a.jpg", b"i"), ("a.json", b'{"question": "q", "question": "r"}'), ("b.jpg", b"i"), ("b.json", asked("s"))],
    )
    rows = read(tmp_path)
    assert errors(rows) == [("row_malformed", "a.tar sample a: json: key 'question' occurs twice"), None]


def test_a_number_beyond_float64_stays_text(tmp_path: Path) -> None:
    members = [("a.jpg", b"i"), ("a.json", b'{"k": 1e999}'), ("b.jpg", b"i"), ("b.json", b'{"k": 0.5}')]
    rows = read(write_tar(tmp_path / "a.tar", members), keep=("k",), questions=("q",))
    assert [row["k"] for row in rows] == ["1e999", "0.5"]
