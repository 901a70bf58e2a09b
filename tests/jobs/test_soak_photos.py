"""Every photo of the grocery and clothing sets through the real command, from an S3 endpoint, in every shape of input.

`make soak` runs this; the reference for what it found is docs/benchmarks.md.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.s3 import s3_bucket
from tests.jobs.commands import kill_after_first_commit
from tests.jobs.soak import DATA, call, name_of, photos, read_output, written
from vqa_ray.runs.directory import RunDirectory
from vqa_ray.storage.atomic import write_bytes_atomic

ROWS_PER_SHARD = 500

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(not (DATA / "grocery").is_dir(), reason="VQA_RAY_TEST_DATA has no grocery photos"),
]


FOLDERS = ("clothing", "grocery")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("photos") as uri:
        for path in photos(*FOLDERS):
            write_bytes_atomic(f"{uri}/prefix/{path.relative_to(DATA)}", path.read_bytes())
        yield uri


def write_input(bucket: str, kind: str) -> str:
    """The photos as one format; gives the URI."""
    if kind == "images":
        return f"{bucket}/prefix/"
    uri = f"{bucket}/{kind}/"
    found = photos(*FOLDERS)
    for start in range(0, len(found), ROWS_PER_SHARD):
        part = found[start : start + ROWS_PER_SHARD]
        stem = f"{uri}shard-{start // ROWS_PER_SHARD:03d}"
        if kind == "parquet":
            table = pa.table({"image": [p.read_bytes() for p in part], "image_id": [name_of(p) for p in part]})
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            write_bytes_atomic(stem + ".parquet", sink.getvalue().to_pybytes())
        elif kind == "jsonl":
            lines = (json.dumps({"image_uri": f"../prefix/{name_of(p)}", "image_id": name_of(p)}) for p in part)
            write_bytes_atomic(stem + ".jsonl", "\n".join(lines).encode())
        else:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as tar:
                for p in part:
                    info = tarfile.TarInfo(name_of(p).replace("/", "__"))
                    info.size = p.stat().st_size
                    tar.addfile(info, io.BytesIO(p.read_bytes()))
            write_bytes_atomic(stem + ".tar", buffer.getvalue())
    return uri


def check(table: pa.Table, seconds: float, label: str) -> None:
    rows = table.num_rows
    assert rows == len(photos(*FOLDERS))
    assert len(set(table["source_key"].to_pylist())) == rows
    assert len(set(table["image_id"].to_pylist())) == rows
    assert set(table["status"].to_pylist()) == {"ok"}
    print(f"{label}: {rows} rows in {seconds:.0f} s")  # noqa: T201


@pytest.mark.parametrize("kind", ["parquet", "webdataset", "jsonl", "images"])
def test_answer_and_tag_all_photos(bucket: str, kind: str) -> None:
    uri = write_input(bucket, kind)
    model = ["--model", "bundled:catalog-vilt", "--quiet"]
    for job, extra in (("answer", ["--question", "is there a dog?", "--question", "what is this?"]), ("tag", [])):
        output, started = f"{bucket}/out-{job}-{kind}", time.monotonic()
        done = call(job, "--input", uri, "--output", output, *model, *extra)
        assert done.returncode == 0, done.stderr
        check(read_output(output), time.monotonic() - started, f"{job} {kind}")


def test_kill_in_the_middle_and_rerun(bucket: str) -> None:
    uri, output = write_input(bucket, "parquet"), f"{bucket}/out-killed"
    command = ["answer", "--input", uri, "--output", output, "--model", "bundled:catalog-vilt", "--quiet"]
    command += ["--question", "is there a dog?", "--rows-per-file", "200"]
    kill_after_first_commit(command, RunDirectory(output))
    before = len(written(output))
    started = time.monotonic()
    done = call(*command)
    assert done.returncode == 0, done.stderr
    check(read_output(output), time.monotonic() - started, f"killed with {before} files, resumed")


def test_full_size_vilt_over_all_photos(bucket: str) -> None:
    from benchmarks.checkpoints import vilt_b32

    directory = vilt_b32(False)
    uri, output, started = write_input(bucket, "parquet"), f"{bucket}/out-b32", time.monotonic()
    done = call(
        "answer",
        "--input",
        uri,
        "--output",
        output,
        "--model",
        str(directory),
        "--question",
        "is there a dog?",
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    check(read_output(output), time.monotonic() - started, "ViLT-B/32")
