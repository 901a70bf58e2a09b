"""Models on a simulated CUDA device: the answers of the CPU, nothing mixed, and few waits of the host."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import tiny, tiny_blip, tiny_chat, tiny_encoders, tiny_families, tiny_florence2
from tests.helpers.simulated_cuda import SimulatedCuda
from vqa_ray.models.load import ModelOptions
from vqa_ray.types import Image

NEW_TOKENS = 20
# At one look in eight tokens.
LOOKS = math.ceil(NEW_TOKENS / 8)
CHOICES = ("yes", "no", "a red and blue one")


@dataclass(frozen=True)
class Case:
    """A tiny checkpoint, and what it is asked.

    Attributes:
        save: writes it into a directory.
        images: that it is shown.
        questions: of one length where its rows of several lengths run apart.
        sees: waits of a pass in the vision of transformers, which reads what it shapes its work by.
    """

    save: Callable[[Path], object]
    images: Callable[[int], list[Image]]
    questions: Sequence[str] = tiny_blip.QUESTIONS[:3]
    sees: int = 0


def _blip(build: Callable[..., Any], kind: str, **more: Any) -> Case:
    return Case(lambda path: tiny_blip.save(path, build(kind)), tiny_blip.random_images, **more)


def _chat(name: str, sees: int = 0) -> Case:
    def save(path: Path) -> None:
        model, processor = tiny_families.tiny_family(name)
        tiny_chat.save_chat(path, model, processor)

    small = name in tiny_chat.FAMILIES
    made = (lambda path: tiny_chat.save_tiny_chat(path, name)) if small else save
    return Case(made, tiny_chat.random_images, tiny_chat.QUESTIONS[:3], sees)


ENGINES: dict[str, Case] = {
    "blip2-opt": _blip(tiny_blip.blip2, "opt"),
    "blip2-t5": _blip(tiny_blip.blip2, "t5"),
    "instructblip-llama": _blip(tiny_blip.instructblip, "llama"),
    "instructblip-t5": _blip(tiny_blip.instructblip, "t5"),
    "blip-vqa": _blip(tiny_blip.blip, "vqa", questions=tiny_blip.QUESTIONS[:1]),
    "florence2": Case(lambda path: tiny_florence2.save(path, tiny_florence2.florence2()), tiny_blip.random_images),
}
# Waits of a pass within transformers, by what it reads there: how many features each image has, which images are no
# padding, the places of image tokens or whether a mask hides anything.
_SEEING = {
    **dict.fromkeys(("llava_next", "llava_next_video", "llava_onevision"), 1),
    **dict.fromkeys(("idefics2", "idefics3", "smolvlm"), 3),
    **dict.fromkeys(("kosmos-2", "qwen3_5", "qwen3_5_moe"), 1),
}
CHATS = {name: _chat(name, _SEEING.get(name, 0)) for name in sorted({*tiny_chat.FAMILIES, *tiny_families.BUILDERS})}
# In every test run; the others in `make soak`.
SAMPLE = ("blip2-opt", "blip2-t5", "florence2", "llava", "qwen2_vl", "gemma3")
GENERATIVE = [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.soak) for name in (*ENGINES, *CHATS)]


@pytest.fixture
def device() -> Iterator[SimulatedCuda]:
    with SimulatedCuda() as simulated:
        yield simulated


def load(path: Path, device: str, dtype: str = "float32") -> Any:
    return ModelOptions(str(path), device=device, dtype=dtype, max_new_tokens=NEW_TOKENS).load()


def shown(case: Case, count: int = 4) -> list[Image]:
    """Images of one size, which make one pass."""
    (first,) = case.images(1)
    return [np.roll(first, 7 * place, axis=1).copy() for place in range(count)]


def answered(model: Any, case: Case) -> Any:
    images = shown(case)
    return model.answer(images, [list(case.questions)] * len(images), 1)


def scored(model: Any, case: Case) -> Any:
    images, count = shown(case), len(case.questions)
    return model.score(images, [list(case.questions)] * len(images), [[CHOICES] * count] * len(images))


def assert_alike(found: Any, wanted: Any) -> None:
    """The same texts, and scores up to rounding."""
    for one, other in zip(flat(found), flat(wanted), strict=True):
        if hasattr(other, "answers"):
            assert [text for text, _ in one.answers] == [text for text, _ in other.answers]
            assert [score for _, score in one.answers] == pytest.approx([score for _, score in other.answers], abs=1e-4)
            assert one.finish_reason == other.finish_reason
        else:
            assert one.scores == pytest.approx(other.scores, abs=1e-4, nan_ok=True)


def flat(found: Any) -> list[Any]:
    return [each for row in found for each in (row if isinstance(row, list) else [row])]


# The image processors of GLM make an array of tensors.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", GENERATIVE)
def test_a_generative_family_is_that_of_the_cpu_in_few_waits(name: str, tmp_path: Path) -> None:
    case = {**ENGINES, **CHATS}[name]
    case.save(tmp_path)
    host = load(tmp_path, "cpu")
    with SimulatedCuda() as device:
        model = load(tmp_path, "cuda")
        # The first pass counts image tokens, see `CountedImages`.
        model.answer(shown(case, 1), [[case.questions[0]]], 1)
        with device.counting() as waits:
            found = answered(model, case)
        assert sum(waits.values()) <= LOOKS + case.sees, waits
        with device.counting() as waits:
            scores = scored(model, case)
        assert sum(waits.values()) <= 2 + case.sees, waits
        captions = model.caption(shown(case, 2)) if name != "blip-vqa" else []
    assert_alike(found, answered(host, case))
    assert_alike(scores, scored(host, case))
    assert_alike(captions, host.caption(shown(case, 2)) if captions else [])


def test_blip_captions(tmp_path: Path) -> None:
    tiny_blip.save(tmp_path, tiny_blip.blip("caption"))
    images = tiny_blip.random_images(4)
    with SimulatedCuda() as device:
        model = load(tmp_path, "cuda")
        with device.counting() as waits:
            found = model.caption(images)
    assert sum(waits.values()) <= LOOKS, waits
    assert_alike(found, load(tmp_path, "cpu").caption(images))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near(device: SimulatedCuda, dtype: str, tmp_path: Path) -> None:
    case = ENGINES["blip2-opt"]
    case.save(tmp_path)
    exact, near = (scored(load(tmp_path, "cuda", each), case) for each in ("float32", dtype))
    for one, other in zip(flat(exact), flat(near), strict=True):
        assert one.scores == pytest.approx(other.scores, abs=0.05)
    assert all(answer.answers[0][0] for answer in flat(answered(load(tmp_path, "cuda", dtype), case)))


def test_vilt_waits_once_a_call(device: SimulatedCuda, tmp_path: Path) -> None:
    tiny.save_tiny_vilt(tmp_path)
    case = Case(tiny.save_tiny_vilt, tiny.random_images, ("what is this?", "is it red?", "how many dog are there?"))
    host, model = (ModelOptions(str(tmp_path), device=name, dtype="float32").load() for name in ("cpu", "cuda"))
    for ask in (answered, scored):
        with device.counting() as waits:
            found = ask(model, case)
        assert sum(waits.values()) == 1, waits
        assert_alike(found, ask(host, case))


@pytest.mark.parametrize("name", ["clip", "siglip", "blip2"])
def test_an_encoder_waits_once_a_call(device: SimulatedCuda, name: str, tmp_path: Path) -> None:
    tiny_encoders.save(tmp_path, getattr(tiny_encoders, name)())
    host, model = (ModelOptions(str(tmp_path), device=each, dtype="float32").load_encoder() for each in ("cpu", "cuda"))
    photos = tiny_encoders.photos(6)
    with device.counting() as waits:
        images = model.encode_images(photos)
    assert sum(waits.values()) == 1, waits
    with device.counting() as waits:
        texts = model.encode_texts(tiny_encoders.TEXTS)
    assert sum(waits.values()) == 1, waits
    np.testing.assert_allclose(images, host.encode_images(photos), atol=1e-5)
    np.testing.assert_allclose(texts, host.encode_texts(tiny_encoders.TEXTS), atol=1e-5)


@pytest.mark.parametrize("name", ["blip2-opt", "llava"])
def test_what_does_not_fit_is_done_in_parts(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    case = {**ENGINES, **CHATS}[name]
    case.save(tmp_path)
    with SimulatedCuda(capacity=1 << 30) as device:
        model = load(tmp_path, "cuda")
        weights = device.allocated
        wanted = answered(model, case)
        peak = device.peak
    with SimulatedCuda(capacity=weights + (peak - weights) * 2 // 3):
        assert_alike(answered(load(tmp_path, "cuda"), case), wanted)
    assert "out of memory" in caplog.text


def test_a_device_without_memory_for_one_row_says_so(tmp_path: Path) -> None:
    case = ENGINES["blip2-opt"]
    case.save(tmp_path)
    with SimulatedCuda(capacity=1 << 30) as device:
        load(tmp_path, "cuda")
        weights = device.peak
    with SimulatedCuda(capacity=weights + 1_000):
        model = load(tmp_path, "cuda")
        with pytest.raises(torch.OutOfMemoryError):
            answered(model, case)
