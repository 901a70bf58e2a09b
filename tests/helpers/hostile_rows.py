"""Hostile rows, and all stages of a run and of a training that they are to come through."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.helpers.pictures import encoded, photo
from vqa_ray import schema
from vqa_ray.errors import ErrorCode
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.images.outage import OutagePolicy, PatientFetcher
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
from vqa_ray.stages.fill import FillConfig, FillStage
from vqa_ray.stages.first_opinion import FirstOpinion
from vqa_ray.stages.image_metadata import METADATA_COLUMNS, DescribeImages
from vqa_ray.stages.opinions import ColumnScore, Condition, Opinions
from vqa_ray.stages.prepare import PrepareImages
from vqa_ray.stages.retrieve import RetrieveConfig, RetrieveStage
from vqa_ray.stages.second_opinion import SecondOpinion
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.structured.parse import parse_schema
from vqa_ray.taxonomy.file import parse_taxonomy
from vqa_ray.training.data.schedule import evaluation_parts
from vqa_ray.training.data.source import open_training_source
from vqa_ray.training.data.targets import Targets
from vqa_ray.training.stages.augment import AugmentImages
from vqa_ray.training.stages.extract_labels import ExtractLabels
from vqa_ray.training.stages.read_scheduled import scheduled_reads

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
        "http://127.0.0.1:-1/",
        "http://" + "a." * 200 + "example/",
        "http://" + "a" * 70 + ".example/",
        "http://b\u00fccher\u3002example/\u00e9?\u200b",
        "https://%00/%zz%",
        "http://exa mple/\r\nHost: x",
        "s3://",
        "s3://Bad_Bucket!/a.jpg",
        "S3:///a",
        "file://host/a.jpg",
        "file:///\x00",
        "memory://",
        "memory://nothing",
        "hf://datasets/",
        "/dev/zero",
        "/proc/self/mem",
        "/",
        "~nobody/a",
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
# Too long to be drawn.
LONG = ("https://" + "x" * 2**20, "data:" + "x" * 2**20, "data:image/png;base64," + "A" * 2**20, "y" * 2**20)
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
ANSWER = partial(AnswerStage, AnswerConfig(FAKE, 1))
CASCADE = Opinions("answer", ColumnScore("answer_score"), Condition(0.9), second_decides=True)
CLOSED = parse_schema({"type": "object", "properties": {"a": {"enum": ["red", "blue"]}}, "required": ["a"]}, "s.json")
STAGES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "answer": AnswerStage(AnswerConfig(FAKE, 1)),
    "tag": TagStage(TagConfig(FAKE, TAXONOMY)),
    "fill": FillStage(FillConfig(FAKE, CLOSED)),
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


def through_all_stages(
    file: Path, rows: int, journal: CrashJournal, longest: int = 10_000, *, config: InputConfig | None = None
) -> None:
    """Read an input with `rows` rows and run every stage on them; ids have at most `longest` characters."""
    source = open_source(config or InputConfig(str(file), keep=("kept",)))
    read = [table for shard in source.shards for table in read_shard(source.for_workers(), shard)]
    check(pa.concat_tables(read), rows)
    assert all(len(name or "") <= longest for table in read for name in table["image_id"].to_pylist())
    fetcher = PatientFetcher(ImageFetcher(10**6, allow_http=True), OutagePolicy(0.001, first_pause_s=0.0))
    fetch, decode = FetchImages(fetcher), DecodeImages(FakeTransform(), journal=journal)
    for table in read:
        fetched = fetch(table)
        check(fetched, table.num_rows)
        decoded = decode(fetched)
        check(decoded, table.num_rows)
        for name, stage in STAGES.items():
            done = stage(decoded)
            check(done, table.num_rows)
            if "kept" in table.column_names:
                assert done["kept"].to_pylist() == table["kept"].to_pylist(), name
        check(EmbedStage(EmbedConfig(FAKE))(DescribeImages()(fetched, decoded)), table.num_rows)
        prepared = PrepareImages(fetch, decode, DescribeImages(), carry=True)(table)
        described = [name for name in prepared.column_names if name in METADATA_COLUMNS]
        doubted = FirstOpinion(ANSWER, CASCADE)(prepared.drop_columns(described))
        check(SecondOpinion(ANSWER, CASCADE)(decode(fetch(doubted))), table.num_rows)
        stepped = decoded.append_column("step", pa.array(range(table.num_rows), pa.int64()))
        check(AugmentImages(seed=1)(stepped), table.num_rows)


def through_training(file: Path) -> None:
    """Read an input as a training does, in an order of its own."""
    source = open_training_source(InputConfig(str(file)))
    keys = []
    for shard in source.source.shards:
        for table in read_shard(source.source.for_workers(), shard):
            check(ExtractLabels(source.for_workers())(table), table.num_rows)
            keys.append(table["source_key"].to_numpy())
    order = np.concatenate(keys)
    targets = Targets(np.zeros(len(order) + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    for task in scheduled_reads(source.images, evaluation_parts(order, targets)):
        for table in task():
            check(table, table.num_rows)
