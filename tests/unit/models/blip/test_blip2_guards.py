"""Ways in which BLIP-2 is silently wrong in transformers, each with its guard; and bad checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers import tiny_blip
from vqa_ray.errors import ModelLoadError, RequestError, RowError
from vqa_ray.models.blip.blip2 import Blip2
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation import language_model as readers
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.generation.prompts import Prompting


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_blip.save(tmp_path_factory.mktemp("blip2"), tiny_blip.blip2("opt"))


@pytest.fixture(scope="module")
def engine(directory: Path) -> Blip2:
    return load(directory)


def load(directory: Path, **given: Any) -> Blip2:
    return Blip2.from_checkpoint(Checkpoint.open(str(directory)), **{"device": "cpu", "dtype": "float32"} | given)


def changed(directory: Path, copy: Path, name: str, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a checkpoint with one of its JSON files changed."""
    shutil.copytree(directory, copy)
    content = json.loads((copy / name).read_text("utf-8"))
    change(content)
    (copy / name).write_text(json.dumps(content), "utf-8")
    return copy


# 1. Prompts without image tokens: the answer ignores the image.


def test_the_image_stands_before_every_prompt(engine: Blip2) -> None:
    images = tiny_blip.random_images(12, seed=1)
    for question in tiny_blip.QUESTIONS:
        answered = engine.answer(images, [[question]] * 12, 1)
        assert len({answer.answers[0][0] for (answer,) in answered}) > 6


def test_features_that_are_not_as_many_as_the_config_says_are_refused(
    engine: Blip2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.backbone, "image_tokens", tiny_blip.QUERY_TOKENS + 1)
    with pytest.raises(AssertionError, match=r"shape \(1, 4, 32\), wanted 5 each"):
        engine.answer(tiny_blip.random_images(1), [["a"]], 1)


def test_a_tokenizer_without_the_image_token_is_refused(directory: Path, tmp_path: Path) -> None:
    def drop(content: dict[str, Any]) -> None:
        content["added_tokens"] = [each for each in content["added_tokens"] if each["content"] != "<image>"]

    copy = changed(directory, tmp_path / "copy", "tokenizer.json", drop)
    settings = json.loads((copy / "tokenizer_config.json").read_text("utf-8"))
    for key in ("added_tokens_decoder", "extra_special_tokens", "additional_special_tokens", "image_token"):
        settings.pop(key, None)
    (copy / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(ModelLoadError, match="tokenizer gives <image> the id None"):
        load(copy)


def test_a_processor_with_another_number_of_image_tokens_is_refused(directory: Path, tmp_path: Path) -> None:
    copy = changed(directory, tmp_path / "copy", "processor_config.json", lambda c: c.update(num_query_tokens=32))
    for refused in (load, lambda place: Checkpoint.open(str(place))):
        with pytest.raises(ModelLoadError, match=r"gives an image 32 tokens, config\.json 4"):
            refused(copy)


# 2. More images than prompts: the extra features are dropped.


@pytest.mark.parametrize("count", [1, 3])
def test_images_and_questions_must_match(engine: Blip2, count: int) -> None:
    with pytest.raises(ValueError, match=f"2 images but {count} lists of questions"):
        engine.answer(tiny_blip.random_images(2), [["a"]] * count, 1)
    with pytest.raises(ValueError, match=f"2 images but {count} lists of questions"):
        engine.score(tiny_blip.random_images(2), [["a"]] * count, [[("yes", "no")]] * count)


# 3. OPT with right padding: it continues the padding.


@pytest.mark.parametrize("overhead", [0, 10_000])
def test_prompts_are_padded_before_their_text_whatever_the_tokenizer_says(
    directory: Path, tmp_path: Path, overhead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With no overhead prompts of each length are read apart and joined; with much of it they are padded.
    monkeypatch.setattr(readers, "_PASS_TOKENS", {"cpu": overhead})
    copy = changed(directory, tmp_path / "copy", "tokenizer_config.json", lambda c: c.update(padding_side="right"))
    engine = load(copy)
    assert engine.backbone.tokenizer.padding_side == "right"
    image = tiny_blip.random_images(1, seed=2)
    lengths = {len(engine.backbone.tokenize(Prompting().text(question))) for question in tiny_blip.QUESTIONS}
    assert len(lengths) > 3, "nothing is padded if all are of one length"
    (together,) = engine.answer(image, [list(tiny_blip.QUESTIONS)], 1)
    for question, answer in zip(tiny_blip.QUESTIONS, together, strict=True):
        ((alone,),) = engine.answer(image, [[question]], 1)
        assert alone.answers[0][0] == answer.answers[0][0]


# 4. `image_token_index` missing, as in old forks: an AttributeError in the middle of a run.


@pytest.mark.parametrize("value", [None, "absent"])
def test_a_config_without_the_image_token_is_refused(directory: Path, tmp_path: Path, value: str | None) -> None:
    def change(config: dict[str, Any]) -> None:
        config["image_token_index"] = None
        if value == "absent":
            del config["image_token_index"]

    copy = changed(directory, tmp_path / "copy", "config.json", change)
    with pytest.raises(ModelLoadError, match=r"config\.json has no image_token_index"):
        Checkpoint.open(str(copy))
    with pytest.raises(ModelLoadError, match=r"config\.json has no image_token_index") as caught:
        load(copy)
    assert "\n" not in str(caught.value)


# 5. T5 has no bos token: a caption without text raises a TypeError. (That the tokens are right: test_blip2.)


def test_t5_describes_without_a_prompt(tmp_path: Path) -> None:
    engine = load(tiny_blip.save(tmp_path / "t5", tiny_blip.blip2("t5")))
    captions = engine.caption(tiny_blip.random_images(3), None)
    assert all(0 < caption.answers[0][1] <= 1 for caption in captions)


# 6. Beyond `max_position_embeddings`: an IndexError, on CUDA the loss of the device.


def test_long_questions_are_cut_and_say_so(engine: Blip2) -> None:
    image = tiny_blip.random_images(1)
    (((answer,)),) = engine.answer(image, [["what colour is it? " * 40]], 1)
    limit = tiny_blip.POSITIONS - tiny_blip.QUERY_TOKENS - 20
    assert answer.warning is not None
    assert answer.warning.partition("; text cut")[0].endswith(f"tokens, the model reads {limit}")
    (((short,)),) = engine.answer(image, [["is it red?"]], 1)
    assert "question cut" not in (short.warning or "")
    (((strange,)),) = engine.answer(image, [["x" * 10_000]], 1)
    assert strange.warning is not None


def test_a_context_that_is_too_long_loses_its_oldest_turns(engine: Blip2) -> None:
    image = tiny_blip.random_images(1)
    turns = [("is it red?", "yes"), ("is it blue?", "no"), ("is there a dog?", "no")]
    (((answer,)),) = engine.answer(image, [["what is it?"]], 1, [[turns * 2]])
    assert answer.warning is not None
    dropped = int(answer.warning.split()[0])
    assert answer.warning.startswith(f"{dropped} of 6 earlier turns left out: the context is full")
    assert 0 < dropped < 6
    (((same,)),) = engine.answer(image, [["what is it?"]], 1, [[(turns * 2)[dropped:]]])
    assert same.answers == answer.answers
    assert "left out" not in (same.warning or "")
    (((without,)),) = engine.answer(image, [["what is it?"]], 1)
    assert without.answers != answer.answers, "the context matters"


def test_a_prompt_that_leaves_no_room_is_refused(directory: Path, engine: Blip2) -> None:
    with pytest.raises(RowError, match="row_malformed: the prompt has"):
        engine.caption(tiny_blip.random_images(1), "a photo of " * 30)
    greedy = load(directory, generation=GenerationConfig(max_new_tokens=64))
    with pytest.raises(RequestError, match="64 new tokens leave no room"):
        greedy.answer(tiny_blip.random_images(1), [["a"]], 1)


# What else a row or a checkpoint may bring.


def test_a_question_that_spells_the_image_token_is_an_error_of_its_row(engine: Blip2) -> None:
    with pytest.raises(RowError, match="row_malformed: the text spells the token"):
        engine.answer(tiny_blip.random_images(1), [["what is <image>?"]], 1)


@pytest.mark.parametrize("question", ["", "?", "🐕 هل هذا كلب", "\u200b", "</s> <pad>"])
def test_strange_questions_are_answered(engine: Blip2, question: str) -> None:
    (((answer,)),) = engine.answer(tiny_blip.random_images(1), [[question]], 3)
    assert len(answer.answers) == 1
    assert 0 <= answer.answers[0][1] <= 1


def test_an_answer_of_no_words_is_empty_and_has_a_score(engine: Blip2, monkeypatch: pytest.MonkeyPatch) -> None:
    every = tuple(range(len(engine.backbone.tokenizer) + 1))
    monkeypatch.setattr(engine.backbone, "eos_token_ids", every)
    (((answer,)),) = engine.answer(tiny_blip.random_images(1), [["is it red?"]], 1)
    assert answer.answers[0][0] == ""
    assert 0 < answer.answers[0][1] <= 1
    assert answer.warning in (None, "text cut at 20 tokens; --max-new-tokens allows more")


def test_a_tokenizer_that_cannot_pad_is_refused(directory: Path, tmp_path: Path) -> None:
    copy = changed(directory, tmp_path / "copy", "tokenizer_config.json", lambda c: c.pop("pad_token"))
    with pytest.raises(ModelLoadError, match="its tokenizer has no pad token"):
        load(copy)


def test_partly_missing_weights_are_refused(directory: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    del weights["qformer.layernorm.weight"], weights["query_tokens"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"weights are incomplete, 2 missing, first qformer\.layernorm\.weight"):
        load(copy)


def test_weights_of_another_shape_are_refused_in_one_line(directory: Path, tmp_path: Path) -> None:
    copy = changed(directory, tmp_path / "copy", "config.json", lambda c: c.update(num_query_tokens=5))
    settings = json.loads((copy / "processor_config.json").read_text("utf-8"))
    (copy / "processor_config.json").write_text(json.dumps(settings | {"num_query_tokens": 5}), "utf-8")
    with pytest.raises(ModelLoadError) as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_a_processor_of_another_size_is_refused(directory: Path, tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["image_processor"]["size"] = {"height": 64, "width": 64}

    copy = changed(directory, tmp_path / "copy", "processor_config.json", change)
    with pytest.raises(ModelLoadError, match="its processor makes images of 64 pixels, its encoder takes 32"):
        load(copy)


def test_half_precision_is_refused_where_it_writes_nonsense(directory: Path, tmp_path: Path) -> None:
    t5 = tiny_blip.save(tmp_path / "t5", tiny_blip.blip2("t5"))
    with pytest.raises(ModelLoadError, match="t5 overflows in float16"):
        load(t5, dtype="float16")
    with pytest.raises(ModelLoadError, match="dtype 'int8' is not supported"):
        load(directory, dtype="int8")


def test_spread_over_the_devices_it_answers_the_same(directory: Path, engine: Blip2) -> None:
    spread = load(directory, device="auto")
    images, asked = tiny_blip.random_images(2), [list(tiny_blip.QUESTIONS)] * 2
    assert spread.answer(images, asked, 1) == engine.answer(images, asked, 1)
    assert spread.score(images, [["a"]] * 2, [[("yes", "golden retriever")]] * 2)


def test_out_of_memory_halves_the_pass_and_loses_nothing(engine: Blip2, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tiny_blip.random_images(6, seed=7)
    asked = [list(tiny_blip.QUESTIONS[:4])] * 6
    wanted = engine.answer(images, asked, 1)
    prefill, encode = engine.backbone.prefill, engine.backbone.encode
    sizes: list[int] = []

    def tight_prefill(encoded: Any, rows: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return prefill(encoded, rows, *rest)

    def tight_encode(pixels: torch.Tensor) -> Any:
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(pixels)

    monkeypatch.setattr(engine.backbone, "prefill", tight_prefill)
    monkeypatch.setattr(engine.backbone, "encode", tight_encode)
    monkeypatch.setattr(engine.passes, "tokens_per_pass", engine.passes.tokens_per_pass)
    monkeypatch.setattr(engine.passes, "images_per_group", engine.passes.images_per_group)
    again = engine.answer(images, asked, 1)
    assert max(sizes) > 3
    assert [[a.answers[0][0] for a in row] for row in again] == [[a.answers[0][0] for a in row] for row in wanted]
