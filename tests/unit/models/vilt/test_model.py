"""The fast ViLT against the stock transformers forward, and what the engine promises around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.tiny import ANSWERS, SHAPE, WORDS, random_images, save_tiny_vilt, tiny_model
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.vilt.model import Vilt
from vqa_ray.models.vilt.network import Pairs, ViltNetwork

QUESTIONS = [
    "what is this?",
    "is there a dog in the picture?",
    "how many cat are on the left?",
    "what colour is it?",
    "is it red?",
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vilt(tmp_path_factory.mktemp("vilt"))


@pytest.fixture(scope="module")
def vilt(directory: Path) -> Vilt:
    return Vilt.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32")


def stock_logits(image: np.ndarray, question: str) -> torch.Tensor:
    """The stock processor (resizing off: the image has the model's size) and model, one pair at a time."""
    from transformers import ViltProcessor
    from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil

    model, tokenizer = tiny_model()
    processor = ViltProcessor(ViltImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.5] * 3), tokenizer)
    inputs = processor(
        image, question, return_tensors="pt", do_resize=False, truncation=True, max_length=SHAPE.max_text_tokens
    )
    with torch.no_grad():
        logits: torch.Tensor = model(**inputs).logits[0]
    return logits


def test_equals_the_stock_forward_on_200_mixed_pairs(vilt: Vilt) -> None:
    images = random_images(200)
    asked = [[QUESTIONS[i % len(QUESTIONS)]] for i in range(200)]
    answered = vilt.answer(images, asked, top_k=len(ANSWERS))
    model, tokenizer = tiny_model()
    spread = 0.0
    for image, (question,), (answer,) in zip(images, asked, answered, strict=True):
        pixels = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
        text = tokenizer(question, return_tensors="pt")
        mask = torch.ones(1, *image.shape[:2], dtype=torch.long)
        with torch.no_grad():
            logits = model(**text, pixel_values=pixels, pixel_mask=mask).logits[0]
        scores = dict(answer.answers)
        assert answer.answers[0][0] == ANSWERS[int(logits.argmax())]
        for label, wanted in zip(ANSWERS, logits.sigmoid().tolist(), strict=True):
            assert abs(scores[label] - wanted) <= 1e-4
        spread = max(spread, float(logits.std()))
    assert spread > 0.1, "the comparison means nothing if all logits are alike"


def test_equals_the_stock_processor_and_model(vilt: Vilt) -> None:
    image = random_images(1, seed=3)[0]
    (((answer,)),) = vilt.answer([image], [["what is this?"]], top_k=6)
    wanted = stock_logits(image, "what is this?").sigmoid()
    assert dict(answer.answers) == pytest.approx(dict(zip(ANSWERS, wanted.tolist(), strict=True)), abs=1e-4)


def test_padded_stock_batch_agrees_with_unpadded_buckets(vilt: Vilt) -> None:
    """The stock model pads images to the largest of the batch; ours never does, and the answers are the same."""
    from transformers.models.vilt.image_processing_pil_vilt import ViltImageProcessorPil

    images = random_images(8, seed=5)
    model, tokenizer = tiny_model()
    processor = ViltImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    pixels = processor(images, do_resize=False, return_tensors="pt")
    texts = [QUESTIONS[i % len(QUESTIONS)] for i in range(8)]
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt"), **pixels).logits
    answered = vilt.answer(images, [[text] for text in texts], top_k=1)
    for (answer,), row in zip(answered, logits, strict=True):
        label, score = answer.answers[0]
        assert label == ANSWERS[int(row.argmax())]
        assert score == pytest.approx(float(row.max().sigmoid()), abs=1e-4)


def test_questions_that_share_an_image_are_answered_as_if_alone(vilt: Vilt) -> None:
    images = random_images(4)
    together = vilt.answer(images, [QUESTIONS[: i + 1] for i in range(4)], top_k=3)
    assert [len(answers) for answers in together] == [1, 2, 3, 4]
    for i, image in enumerate(images):
        for question, answer in zip(QUESTIONS, together[i], strict=False):
            (((alone,)),) = vilt.answer([image], [[question]], top_k=3)
            assert [a for a, _ in alone.answers] == [a for a, _ in answer.answers]
            np.testing.assert_allclose([s for _, s in alone.answers], [s for _, s in answer.answers], atol=1e-5)


def test_an_image_without_questions_gives_an_empty_list(vilt: Vilt) -> None:
    images = random_images(3)
    answered = vilt.answer(images, [["is it red?"], [], ["is it red?"]], top_k=1)
    assert [len(answers) for answers in answered] == [1, 0, 1]
    assert vilt.answer([], [], top_k=1) == []


def test_scores_choices_and_says_which_it_does_not_know(vilt: Vilt) -> None:
    image = random_images(1)[0]
    ((scored,),) = vilt.score([image], [["what is this?"]], [[("no", "golden retriever", "zebra")]])
    logits = stock_logits(image, "what is this?").sigmoid()
    assert scored.scores[0] == pytest.approx(float(logits[1]), abs=1e-4)
    assert scored.scores[1] == pytest.approx(float(logits[5]), abs=1e-4)
    assert math.isnan(scored.scores[2])
    assert vilt.known_choices(["no", "golden retriever", "zebra"]) == [True, True, False]


def test_long_questions_are_cut_as_in_training_and_say_so(vilt: Vilt) -> None:
    image = random_images(1)[0]
    question = " ".join(WORDS * 5)
    (((answer,)),) = vilt.answer([image], [[question]], top_k=6)
    assert answer.warning == "question cut from 102 to the model's 40 tokens"
    wanted = stock_logits(image, question).sigmoid()
    assert dict(answer.answers) == pytest.approx(dict(zip(ANSWERS, wanted.tolist(), strict=True)), abs=1e-4)
    (((short,)),) = vilt.answer([image], [["is it red?"]], top_k=1)
    assert short.warning is None


@pytest.mark.parametrize("question", ["?", "🐕 هل هذا كلب", "x" * 10_000, "\u200b", "[SEP] [PAD]"])
def test_strange_questions_get_finite_scores(vilt: Vilt, question: str) -> None:
    (((answer,)),) = vilt.answer(random_images(1), [[question]], top_k=2)
    assert all(0 <= score <= 1 for _, score in answer.answers)


def test_out_of_memory_halves_the_pass_and_loses_nothing(vilt: Vilt, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(12, seed=2)
    asked = [["is it red?"]] * 12
    wanted = vilt.answer(images, asked, top_k=6)
    network, sizes = vilt.network, []

    def tight(groups: Sequence[Pairs]) -> torch.Tensor:
        sizes.append(sum(len(group.input_ids) for group in groups))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(groups)

    monkeypatch.setattr(vilt, "_forward", tight)
    monkeypatch.setattr(vilt, "_tokens_per_pass", vilt._tokens_per_pass)
    again = vilt.answer(images, asked, top_k=6)
    assert max(sizes) > 1
    for (a,), (b,) in zip(wanted, again, strict=True):
        assert [label for label, _ in a.answers] == [label for label, _ in b.answers]


class _CountOps(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_the_forward_does_the_same_number_of_operations_for_any_batch() -> None:
    """No Python loop per image, and so no device synchronisation per image."""
    model, _ = tiny_model()
    network = ViltNetwork(model, frozen=True).eval()
    counts = []
    with torch.inference_mode():
        for size in (1, 2, 16):
            ids = torch.randint(5, 40, (size, 9))
            pixels = torch.randint(0, 256, (size, 32, 40, 3), dtype=torch.uint8)
            network.image_tokens(pixels)
            with _CountOps() as ops:
                network([Pairs(ids, None, network.image_tokens(pixels))])
            counts.append(ops.count)
    assert len(set(counts)) == 1


def test_bfloat16_mostly_agrees(directory: Path, vilt: Vilt) -> None:
    half = Vilt.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="bfloat16")
    images = random_images(64, seed=9)
    asked = [["what is this?"]] * 64
    pairs = zip(vilt.answer(images, asked, top_k=1), half.answer(images, asked, top_k=1), strict=True)
    agreement = np.mean([a.answers[0][0] == b.answers[0][0] for (a,), (b,) in pairs])
    assert agreement >= 0.9


def test_more_patches_than_the_config_allows_are_thinned_evenly() -> None:
    model, _ = tiny_model()
    model.config.max_image_length = 7
    network = ViltNetwork(model, frozen=True).eval()
    pixels = torch.randint(0, 256, (2, 32, 40, 3), dtype=torch.uint8)
    tokens = network.image_tokens(pixels)
    assert tokens.shape[1] == 1 + 7
    assert torch.equal(tokens, network.image_tokens(pixels))
