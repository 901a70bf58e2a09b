"""1,000 pages of PDF documents are read and rendered in the memory of the first hundred."""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.helpers.documents import LETTER, pdf
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.readers import InputConfig, open_source, read_shard
from vqa_ray.stages.fetch import FetchImages

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
DOCUMENTS, PAGES, ROWS_PER_BLOCK = 10, 100, 64


def test_a_thousand_pages(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    rng = random.Random(0)
    for number in range(DOCUMENTS):
        drawn = {page: _rectangles(rng) for page in range(1, PAGES + 1)}
        document = pdf([(*LETTER, (1.0, 1.0, 1.0))] * PAGES, drawn=drawn)
        (tmp_path / f"{number}.pdf").write_bytes(document)
    source = open_source(InputConfig(str(tmp_path), needs_question=False))
    fetch = FetchImages(ImageFetcher(64 * 2**20))
    rendered, memory = 0, []
    for shard in source.shards:
        for table in read_shard(source, shard):
            for start in range(0, table.num_rows, ROWS_PER_BLOCK):
                rendered += fetch(table.slice(start, ROWS_PER_BLOCK))["image"].is_valid().to_pylist().count(True)
        memory.append(_memory_mib())
        sys.stdout.write(f"{rendered} pages: worker {memory[-1][0]:.0f} MiB, renderer {memory[-1][1]:.0f} MiB\n")
    assert rendered == DOCUMENTS * PAGES
    assert max(map(sum, memory)) < sum(memory[0]) + 64


def _rectangles(rng: random.Random) -> str:
    one = "{:.2f} {:.2f} {:.2f} rg {} {} {} {} re f"
    sides = (600, 780, 40, 40)
    return "\n".join(one.format(*(rng.random() for _ in range(3)), *map(rng.randrange, sides)) for _ in range(600))


def _memory_mib() -> tuple[float, float]:
    process = psutil.Process()
    children = 0
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            children += child.memory_info().rss
    return process.memory_info().rss / 2**20, children / 2**20
