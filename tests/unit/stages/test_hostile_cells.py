"""Nothing that a row says raises out of a stage: every input row is a row of every output, with one line of error."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.helpers.pictures import encoded, photo
from vqa_ray import schema
from vqa_ray.errors import ErrorCode
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.models.fake.sizes import FakeTransform
from vqa_ray.models.load import ModelOptions
from vqa_ray.predicates.parser import parse
from vqa_ray.readers import InputConfig, open_source, read_shard
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.embed import EmbedConfig, EmbedStage
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.image_metadata import DescribeImages
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.taxonomy.file import parse_taxonomy
from vqa_ray.training.data.source import open_training_source
from vqa_ray.training.stages.extract_labels import ExtractLabels

FAKE = ModelOptions("fake:")
GOOD = "data:image/png;base64," + base64.b64encode(encoded(photo(20, 10), "PNG")).decode()
TAXONOMY = parse_taxonomy(
    'attributes:\n- {name: a, question: "is it {choice}?", mode: yes_no, choices: [red]}\n', "tags.yaml"
)
COLUMNS = ("image_uri", "question", "image_id", "question_id", "row_id", "context", "kept", "answer")
TEXTS = st.text(st.characters(exclude_categories=[]), max_size=12)
HOSTILE = st.sampled_from(
    [
        GOOD,
        "data:image/png;base64,@",
        "data:image/gif;base64," + base64.b64encode(b"GIF89a").decode(),
        "http://example..com/a.jpg",
        "http://user:s3cret@127.0.0.1:1/a.jpg?sig=s3cret",
        "http://[::1/a",
        "http://127.0.0.1:99999/",
        "ftp://h/a",
        "\x00",
        "a\ud800b",
        "../" * 1500,
        "x" * 9000,
        "",
        "  ",
        "\u202e\ufeff",
        "nan",
        "1e999",
    ]
)
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none())
CELLS = st.recursive(
    st.one_of(TEXTS, HOSTILE, NUMBERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, CELLS)), min_size=1, max_size=8)
# So that the columns are known whatever the drawn rows bring.
FIRST = {"image_uri": GOOD, "question": "q", "image_id": "i", "question_id": "1", "row_id": 1, "context": None}
FIRST |= {"kept": "k", "answer": "a"}
STAGES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "answer": AnswerStage(AnswerConfig(FAKE, 1)),
    "tag": TagStage(TagConfig(FAKE, TAXONOMY)),
    "caption": CaptionStage(CaptionConfig(FAKE)),
    "retrieve": RetrieveStage(RetrieveConfig(FAKE, parse('"is it red?"'))),
}
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(table: pa.Table, rows: int) -> None:
    table.validate(full=True)
    assert table.num_rows == rows
    for row in table.select(["status", "error_code", "error_message"]).to_pylist():
        if row["status"] == schema.STATUS_ERROR:
            assert row["error_code"] in set(ErrorCode)
            assert 0 < len(row["error_message"]) <= 300
            assert row["error_message"].isprintable()
            assert "s3cret" not in row["error_message"]
        else:
            assert row["error_code"] is None


def through_all_stages(file: Path, rows: int, journal: CrashJournal) -> None:
    source = open_source(InputConfig(str(file), keep=("kept",)))
    read = [table for shard in source.shards for table in read_shard(source.for_workers(), shard)]
    check(pa.concat_tables(read), rows)
    assert all(len(name or "") < 10_000 for table in read for name in table["image_id"].to_pylist())
    fetch = FetchImages(ImageFetcher(10**6, allow_http=True))
    for table in read:
        fetched = fetch(table)
        check(fetched, table.num_rows)
        decoded = DecodeImages(FakeTransform(), journal=journal)(fetched)
        check(decoded, table.num_rows)
        for name, stage in STAGES.items():
            done = stage(decoded)
            check(done, table.num_rows)
            assert done["kept"].to_pylist() == table["kept"].to_pylist(), name
        check(EmbedStage(EmbedConfig(FAKE))(DescribeImages()(fetched, decoded)), table.num_rows)


def through_training(file: Path) -> None:
    source = open_training_source(InputConfig(str(file)))
    for shard in source.source.shards:
        for table in read_shard(source.source.for_workers(), shard):
            check(ExtractLabels(source.for_workers())(table), table.num_rows)


@pytest.fixture
def journal(tmp_path: Path) -> CrashJournal:
    return CrashJournal("hostile", tmp_path / "journal")


@SLOW
@given(ROWS)
def test_json_lines(tmp_path: Path, journal: CrashJournal, rows: list[dict[str, Any]]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, [FIRST, *rows])))
    through_all_stages(file, len(rows) + 1, journal)
    through_training(file)


@SLOW
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), st.one_of(TEXTS, HOSTILE)), min_size=1, max_size=8))
def test_csv(tmp_path: Path, journal: CrashJournal, rows: list[dict[str, str]]) -> None:
    file = tmp_path / "a.csv"
    with file.open("w", newline="", errors="surrogatepass") as opened:
        writer = csv.DictWriter(opened, COLUMNS, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows([{name: value or "" for name, value in FIRST.items()}, *rows])
    through_all_stages(file, len(rows) + 1, journal)
    through_training(file)


@SLOW
@given(ROWS)
def test_parquet(tmp_path: Path, journal: CrashJournal, rows: list[dict[str, Any]]) -> None:
    """Columns of bytes that need not be UTF-8, declared as text."""
    columns: dict[str, pa.Array] = {}
    for name in COLUMNS:
        cells = [FIRST[name], *(row.get(name) for row in rows)]
        if name == "row_id":
            columns[name] = pa.array([1, *(None for _ in rows)], pa.int64())
        elif name != "context":
            data = [None if cell is None else str(cell).encode(errors="surrogatepass") for cell in cells]
            raw = pa.array(data, pa.binary())
            columns[name] = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table(columns), file)
    through_all_stages(file, len(rows) + 1, journal)
    through_training(file)
