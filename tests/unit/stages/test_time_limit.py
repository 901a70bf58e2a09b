"""Work that takes too long ends its process, even while it holds the interpreter's lock; its rows alone pay for it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.stages.test_answer import decoded
from tests.unit.stages.test_decode import png, table_of
from vqa_ray.models.load import ModelOptions
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.crash_journal import CrashJournal
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.model_actor import ModelActor
from vqa_ray.stages.time_limit import CallLimit, EachLimit, time_limit

ROOT = Path(__file__).parents[3]
HERE = "from tests.unit.stages.test_time_limit import *; "
# Takes for ever in C, with the interpreter's lock held.
STUCK = "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("work", [STUCK, "import time; time.sleep(60)"])
def test_work_that_hangs_ends_the_process(work: str) -> None:
    ended = run(f"from vqa_ray.stages.time_limit import time_limit\nwith time_limit(0.3): {work}")
    assert ended.returncode == 1
    assert "Timeout (0:00:00" in ended.stderr


def test_work_within_its_limit_and_work_without_one_go_on() -> None:
    with time_limit(0.05), time_limit(0):
        pass
    with time_limit(0.2):
        with time_limit(60):
            time.sleep(0.01)
        time.sleep(0.01)
    # The limits are over.
    time.sleep(0.3)


def test_one_clock_serves_many_pieces_of_work() -> None:
    settings: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faulthandler.dump_traceback_later", lambda seconds, **_: settings.append(seconds))
        with EachLimit(60) as limit:
            for _ in range(100):
                limit.begin()
    assert len(settings) == 1
    assert 60 < settings[0] <= 75


def test_the_piece_that_takes_longer_ends_the_process_and_what_follows_the_last_does_not() -> None:
    code = "from vqa_ray.stages.time_limit import EachLimit\nimport time\nwith EachLimit(0.4) as limit:\n"
    pieces = "".join(f" limit.begin(); time.sleep({seconds})\n" for seconds in (0.05, 0.2, 0.05))
    assert run(f"{code}{pieces}time.sleep(0.6); print('there')").stdout == "there\n"
    ended = run(f"{code}{pieces} limit.begin(); time.sleep(60)")
    assert ended.returncode == 1
    assert "Timeout (0:00:00" in ended.stderr


def test_a_batch_may_take_what_its_rows_took_before() -> None:
    limit = CallLimit(0.2)
    with limit.of(1):
        time.sleep(0.1)
    with limit.of(8):
        time.sleep(0.4)


class Slow:
    """A stage that hangs over the row with key 2."""

    def __init__(self) -> None:
        self._stage = AnswerStage(AnswerConfig(ModelOptions("fake:"), 1))

    def __call__(self, table: pa.Table) -> pa.Table:
        if 2 in [row["source_key"] for row in table.to_pylist() if row["status"] == "ok"]:
            time.sleep(60)
        return self._stage(table)


def answer(directory: Path) -> list[dict[str, object]]:
    actor = ModelActor(Slow, CrashJournal("run", directory), row_timeout_s=0.5)
    rows: list[dict[str, object]] = actor(decoded([{"image_key": number} for number in range(4)])).to_pylist()
    return rows


def test_a_row_that_hangs_its_model_costs_that_row_alone(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(f"{HERE}answer(Path({str(tmp_path)!r}))").returncode == 1
    answered = answer(tmp_path)
    assert [row["error_code"] for row in answered] == [None, None, "row_crashed", None]
    assert str(answered[2]["error_message"]).endswith("twice, or took more than 0.5 s (--row-timeout-s)")
    assert list(tmp_path.iterdir()) == []


class Sleepy:
    """A transform over which an image that is 13 pixels wide hangs."""

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        if width == 13:
            time.sleep(60)
        return 8, 8


def decode(directory: Path) -> list[dict[str, object]]:
    stage = DecodeImages(Sleepy(), journal=CrashJournal("run", directory), row_timeout_s=1.0)
    rows: list[dict[str, object]] = stage(table_of([{"image": png(width)} for width in (20, 13, 21)])).to_pylist()
    return rows


def test_an_image_that_hangs_its_decoder_costs_its_row_alone(tmp_path: Path) -> None:
    assert run(f"{HERE}decode(Path({str(tmp_path)!r}))").returncode == 1
    again = run(f"{HERE}print([row['error_message'] for row in decode(Path({str(tmp_path)!r}))])")
    assert again.stdout == "[None, 'decoding the image took more than 1 s', None]\n"
    assert list(tmp_path.iterdir()) == []
