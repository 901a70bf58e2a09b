"""Columns of any type in any role: the input is refused in one line, or every row comes through every stage."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tests.helpers.hostile_rows import ANSWER, GOOD, HOSTILE, SLOW, TEXTS, check, through_all_stages
from tests.helpers.pictures import encoded, photo
from vqa_ray.errors import RequestError
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.models.fake.sizes import FakeTransform
from vqa_ray.readers import InputConfig, open_source, read_shard
from vqa_ray.readers.image_join.image_table import locations, open_table
from vqa_ray.readers.image_join.locations import write_locations
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.join_images import JoinImages

PNG = encoded(photo(20, 10), "PNG")
TEXT = st.one_of(TEXTS, HOSTILE).filter(lambda text: text.isascii() or text.encode(errors="ignore").decode() == text)
BYTES = st.one_of(st.binary(max_size=20), st.sampled_from([PNG, PNG[:-9], b"GIF89a", b"\x00" * 3]))
# Arrow type → values of it.
TYPES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.null(): st.none(),
    pa.string(): TEXT,
    pa.large_string(): TEXT,
    pa.binary(): BYTES,
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats(),
    pa.float16(): st.floats(width=16),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(datetime.UTC)),
    pa.decimal128(38, 9): st.decimals(-(10**9), 10**9, places=9, allow_nan=False).map(Decimal),
    pa.dictionary(pa.int8(), pa.string()): TEXT,
    pa.list_(pa.string()): st.lists(TEXT | st.none(), max_size=3),
    pa.list_(pa.binary()): st.lists(BYTES | st.none(), max_size=3),
    pa.list_(pa.list_(pa.int8())): st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2),
    pa.map_(pa.string(), pa.int64()): st.lists(st.tuples(TEXT, st.integers(0, 9)), max_size=2),
    pa.struct({"bytes": pa.binary(), "path": pa.string()}): st.fixed_dictionaries(
        {}, optional={"bytes": BYTES | st.none(), "path": TEXT | st.none()}
    ),
    pa.struct({"bytes": pa.string(), "path": pa.int64()}): st.fixed_dictionaries({"bytes": TEXT}),
    pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()})): st.lists(
        st.fixed_dictionaries({}, optional={"bytes": BYTES, "path": TEXT}) | st.none(), max_size=3
    ),
    pa.list_(pa.struct({"question": pa.string(), "answer": pa.string()})): st.lists(
        st.fixed_dictionaries({}, optional={"question": TEXT, "answer": TEXT}) | st.none(), max_size=3
    ),
    pa.list_(pa.struct({"from": pa.string(), "value": pa.string()})): st.lists(
        st.fixed_dictionaries({}, optional={"from": st.sampled_from(["human", "gpt"]), "value": TEXT}), max_size=3
    ),
}
# Role → types that suit it, which are drawn half of the time.
ROLES: dict[str, tuple[pa.DataType, ...]] = {
    "image": (pa.binary(), pa.struct({"bytes": pa.binary(), "path": pa.string()})),
    "image_uri": (pa.string(), pa.dictionary(pa.int8(), pa.string())),
    "images": (pa.list_(pa.string()), pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()}))),
    "question": (pa.string(), pa.list_(pa.struct({"from": pa.string(), "value": pa.string()}))),
    "questions": (pa.list_(pa.string()),),
    "context": (pa.list_(pa.struct({"question": pa.string(), "answer": pa.string()})),),
    "image_id": (pa.string(), pa.decimal128(38, 9), pa.float16()),
    "question_id": (pa.string(), pa.binary()),
    "row_id": (pa.int64(), pa.uint64()),
    "kept": tuple(TYPES),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    names = draw(st.lists(st.sampled_from(sorted(ROLES)), unique=True, min_size=2))
    rows = draw(st.integers(1, 5))
    columns = {}
    for name in {"image_uri": None, "question": None, "kept": None} | dict.fromkeys(names):
        arrow = draw(st.sampled_from(ROLES[name]) | st.sampled_from(list(TYPES)))
        cells = draw(st.lists(TYPES[arrow] | st.none(), min_size=rows, max_size=rows))
        columns[name] = pa.array(cells, arrow)
    return pa.table(columns)


def is_accepted(call: Callable[[], object]) -> bool:
    """Tell whether an input is opened; a refusal has one line."""
    try:
        call()
    except RequestError as refusal:
        message = str(refusal)
    else:
        return True
    assert "\n" not in message
    return False


@pytest.fixture
def journal(tmp_path: Path) -> CrashJournal:
    return CrashJournal("hostile", tmp_path / "journal")


@SLOW
@given(tables(), st.booleans())
def test_columns_of_any_type(tmp_path: Path, journal: CrashJournal, table: pa.Table, several: bool) -> None:
    file = tmp_path / "a.parquet"
    parquet.write_table(table, file)
    config = InputConfig(str(file), keep=("kept",), reads_context=True, reads_several=several)
    if not is_accepted(lambda: open_source(config)):
        return
    through_all_stages(file, table.num_rows, journal, 2**20 + 10, config=config)


@pytest.mark.parametrize(
    "cell",
    ["hello", [{"from": "human", "value": "hello"}], [{"role": "user", "text": "hello"}], None],
)
def test_a_kept_column_may_be_called_conversation(tmp_path: Path, journal: CrashJournal, cell: Any) -> None:
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"image": [PNG], "question": ["q"], "conversation": [cell]}), file)
    config = InputConfig(str(file), keep=("conversation",))
    through_all_stages(file, 1, journal, config=config)
    source = open_source(config)
    (table,) = read_shard(source.for_workers(), source.shards[0])
    (row,) = ANSWER()(DecodeImages(FakeTransform(), journal=journal)(table)).to_pylist()
    assert (row["status"], row["conversation"]) == ("ok", cell)


@SLOW
@given(st.lists(TEXTS | HOSTILE, min_size=1, max_size=6), st.lists(TEXT | st.none(), min_size=1, max_size=6))
def test_keys_and_references_of_a_joined_table(tmp_path: Path, references: list[str], keys: list[str | None]) -> None:
    """A table of images with hostile keys and references; rows with hostile keys."""
    images, rows = tmp_path / "images.csv", tmp_path / "rows.parquet"
    lines = [["key", "image_uri"], ["k", GOOD], *([f"k{place}", text] for place, text in enumerate(references))]
    text = "\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines)
    images.write_text(text, errors="surrogatepass")
    parquet.write_table(pa.table({"key": ["k", *(f"k{place}" for place in range(len(references))), *keys]}), rows)
    if not is_accepted(lambda: open_table(str(images), None, "key")):
        return
    source = open_table(str(images), None, "key")
    write_locations(str(tmp_path / "keys"), locations(source))
    join = JoinImages(str(tmp_path / "keys"), str(images), "key", {"": source.for_workers()})
    columns = {"image_id": "key"}
    opened = open_source(
        InputConfig(str(rows), columns=columns, needs_question=False, needs_image=False, reads_images=False)
    )
    fetch = FetchImages(ImageFetcher(10**6, allow_http=True))
    for shard in opened.shards:
        for table in read_shard(opened.for_workers(), shard):
            joined = fetch(join(table))
            check(joined, table.num_rows)
            assert joined["status"][0].as_py() == "ok"
