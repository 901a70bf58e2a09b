"""What fetching and decoding as one stage leaves behind in its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# In a process of its own: the settings of one that decodes are global, and its memory is what is measured.
SCRIPT = """
from pathlib import Path

from tests.helpers.pictures import encoded, photo
from tests.unit.stages.test_decode import table_of
from vqa_ray.images.fetch import ImageFetcher
from vqa_ray.models.fake.sizes import FakeTransform
from vqa_ray.stages.decode import DecodeImages
from vqa_ray.stages.fetch import FetchImages
from vqa_ray.stages.prepare import PrepareImages


def resident_mib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20


files = [encoded(photo(800, 600, seed), "PNG", compress_level=1) for seed in range(16)]
table = table_of([{"image": data} for data in files * 2])
decode = DecodeImages(FakeTransform(), run_id="memory")
decode(table)
kept = resident_mib()
PrepareImages(FetchImages(ImageFetcher(10**6)), decode)(table)
print(kept, resident_mib())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only Arrow's memory is given back")
def test_memory_kept_within_a_batch_is_given_back_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert left <= kept - 16
