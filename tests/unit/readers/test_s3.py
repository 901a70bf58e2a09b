"""Every format from an S3 endpoint on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.unit.readers.benchmarks.samples import SAMPLES
from tests.unit.readers.inputs import asked, open_at, refused, rows_of, write_jsonl, write_parquet, write_tar

BUCKET = "photos"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    write_parquet(tmp_path / "parquet/a.parquet", {"image": [b"i"] * 30, "question": ["q"] * 30}, row_group_size=10)
    write_tar(tmp_path / "tars/a.tar", [("1.jpg", b"i"), ("1.json", asked("q"))])
    write_tar(tmp_path / "tars/b.tar", [("2.jpg", b"i"), ("2.json", asked("q"))])
    write_jsonl(tmp_path / "lines/a.jsonl", [{"image_uri": "../images/x y.jpg", "question": "q"}] * 5)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/x y.jpg").write_bytes(b"i")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for file in tmp_path.rglob("*.*"):
        if file.is_file():
            client.upload_file(str(file), BUCKET, str(file.relative_to(tmp_path)))
    return f"s3://{BUCKET}"


@pytest.mark.parametrize(
    ("path", "count"),
    [("parquet", 30), ("parquet/a.parquet", 30), ("tars/", 2), ("tars/{a,b}.tar", 2), ("tars/*.tar", 2), ("lines", 5)],
)
def test_formats(bucket: str, path: str, count: int) -> None:
    source = open_at(f"{bucket}/{path}")
    rows = rows_of(source)
    assert [row["status"] for row in rows] == ["ok"] * count
    assert open_at(f"{bucket}/{path}").fingerprint == source.fingerprint


def test_references_and_prefixes(bucket: str) -> None:
    (row,) = rows_of(open_at(f"{bucket}/images", needs_question=False))
    assert (row["image_uri"], row["image_id"]) == (f"{bucket}/images/x y.jpg", "x y.jpg")
    assert rows_of(open_at(f"{bucket}/lines"))[0]["image_uri"] == row["image_uri"]


def test_what_is_missing_or_broken(bucket: str) -> None:
    assert refused(f"{bucket}/nothing") == f"{bucket}/nothing: no such file, directory or prefix"
    (row,) = rows_of(open_at(f"{bucket}/cut.parquet"))
    assert row["error_code"] == "row_malformed"
    source = open_at(f"{bucket}/tars")
    boto3.client("s3").delete_object(Bucket=BUCKET, Key="tars/a.tar")
    with pytest.raises(FileNotFoundError):
        rows_of(source)


def test_an_endpoint_that_does_not_answer_is_told_before_any_work(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert refused(f"{bucket}/parquet").startswith(
        f"{bucket}/parquet: the input cannot be read: Could not connect to the endpoint URL"
    )


@pytest.mark.parametrize("name", ["pope", "mme", "mmbench", "scienceqa", "mmmu"])
def test_benchmarks(bucket: str, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "benchmarks" / name
    path = SAMPLES[name](folder)
    for file in folder.rglob("*.*"):
        if file.is_file():
            boto3.client("s3").upload_file(str(file), BUCKET, str(file.relative_to(tmp_path)))
    there = f"{bucket}/{path.relative_to(tmp_path)}"
    source, local = open_at(there, reads_several=True), open_at(path, reads_several=True)
    assert source.format == name
    rows, expected = rows_of(source), rows_of(local)
    place = str(tmp_path)
    assert [row["image_uri"] for row in rows] == [
        uri and uri.replace(place, bucket) for uri in (row["image_uri"] for row in expected)
    ]
    assert [row["questions"] for row in rows] == [row["questions"] for row in expected]
