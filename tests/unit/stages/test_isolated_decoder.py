from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decoder import ImageLimits, decode_resized
from vqa_ray.stages.isolated_decoder import IsolatedDecoder

# A transform whose `target_size` takes the process down, as a broken C decoder would, hangs or fails, by image width.
DEADLY = """
import os, signal, time
class Deadly:
    def target_size(self, height, width):
        if width == 13: os._exit(9)
        if width == 14: os.kill(os.getpid(), signal.SIGSEGV)
        if width == 15: time.sleep(60)
        if width == 16: raise ZeroDivisionError("a mistake")
        return 8, 16
"""


def png(width: int, height: int = 12) -> bytes:
    file = io.BytesIO()
    PillowImage.new("RGB", (width, height), (width, height, 7)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    import deadly  # type: ignore[import-not-found]

    yield deadly.Deadly()
    del sys.modules["deadly"]


def test_a_crash_costs_its_image_alone(deadly: Any) -> None:
    with IsolatedDecoder(deadly, ImageLimits(), fast=False) as decoder:
        first = decoder.decode(png(20))
        np.testing.assert_array_equal(first.pixels, decode_resized(png(20), ImageLimits(), deadly.target_size))
        assert (first.source_height, first.source_width) == (12, 20)
        for width, message in ((13, r"ended its process \(exit status 9\)"), (14, r"killed its process \(signal 11\)")):
            with pytest.raises(RowError, match=message) as caught:
                decoder.decode(png(width))
            assert caught.value.code == ErrorCode.ROW_CRASHED
        np.testing.assert_array_equal(decoder.decode(png(20)).pixels, first.pixels)


def test_errors_come_back_as_they_are(deadly: Any) -> None:
    with IsolatedDecoder(deadly, ImageLimits(), fast=False) as decoder:
        with pytest.raises(RowError) as caught:
            decoder.decode(b"no image")
        assert caught.value.code == ErrorCode.IMAGE_UNDECODABLE
        with pytest.raises(ZeroDivisionError, match="a mistake"):
            decoder.decode(png(16))


def test_a_hanging_decoder_is_ended(deadly: Any) -> None:
    with IsolatedDecoder(deadly, ImageLimits(), fast=False) as decoder:
        decoder.decode(png(20))
        decoder._timeout_s = 0.2
        with pytest.raises(RowError, match=r"took more than 0\.2 s") as caught:
            decoder.decode(png(15))
        assert caught.value.code == ErrorCode.ROW_CRASHED
