from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers.tiny import ANSWERS, SHAPE, save_tiny_vilt, tiny_model
from tests.helpers.weights import to_pickles
from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.training.start import describe_start
from vqa_ray.training.tokenizer import train_tokenizer
from vqa_ray.training.vqa.initialise import start_from, start_from_scratch
from vqa_ray.training.vqa.network import save_processor
from vqa_ray.training.vqa.shape import ViltShape

QUESTIONS = ["what is this?", "what colour is the naïve triangle?", "is there a triangle?", "你好?"] * 3


def save_as(architecture: str, directory: Path) -> Path:
    """The tiny encoder as another architecture saves it."""
    import transformers

    model, tokenizer = tiny_model()
    other = getattr(transformers, architecture)(model.config)
    encoder = other if architecture == "ViltModel" else other.vilt
    encoder.load_state_dict(model.vilt.state_dict())
    other.save_pretrained(directory)
    save_processor(directory, tokenizer, SHAPE.transform)
    return directory


def edit_weights(directory: Path, change: Any) -> None:
    path = directory / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("architecture", ["ViltForMaskedLM", "ViltModel", "ViltForImageAndTextRetrieval"])
def test_an_encoder_goes_on_under_a_new_head(architecture: str, tmp_path: Path) -> None:
    save_as(architecture, tmp_path)
    info = describe_start(str(tmp_path))
    assert (info.architecture, info.vocabulary, info.max_text_tokens) == (architecture, None, 40)
    vocabulary = AnswerVocabulary(["yes", "no", "maybe"])
    state = torch.random.get_rng_state()
    start, same, other = (start_from(describe_start(str(tmp_path)), vocabulary, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert start.notes == (f"{architecture}: its encoder goes on, the head for 3 answers is new",)
    model, tokenizer = tiny_model()
    for name, weight in model.vilt.state_dict().items():
        assert torch.equal(start.model.vilt.state_dict()[name], weight), name
    assert start.model.classifier[3].weight.shape == (3, 64)
    assert start.model.config.id2label == {0: "yes", 1: "no", 2: "maybe"}
    head, again, different = (each.model.classifier.state_dict() for each in (start, same, other))
    assert all(torch.equal(weight, again[name]) for name, weight in head.items())
    assert not torch.equal(head["0.weight"], different["0.weight"])
    assert not torch.equal(head["3.weight"], different["3.weight"])
    assert start.tokenizer("is it red?") == tokenizer("is it red?")
    assert start.transform == SHAPE.transform


def test_answers_that_match_keep_their_rows_of_the_head(tmp_path: Path) -> None:
    save_tiny_vilt(tmp_path)
    assert describe_start(str(tmp_path)).vocabulary is not None
    start = start_from(
        describe_start(str(tmp_path)), AnswerVocabulary(["green", "2", "golden retriever", "YES", "red"]), seed=5
    )
    assert start.notes == ("4 of 5 answers keep the checkpoint's head, 1 are new, 2 were dropped",)
    old, new = tiny_model()[0].classifier, start.model.classifier
    for row, place in ((1, 4), (2, 5), (3, 0), (4, 2)):
        assert torch.equal(new[3].weight[row], old[3].weight[place])
        assert torch.equal(new[3].bias[row], old[3].bias[place])
    assert new[3].weight[0].std() < 0.05 < old[3].weight.std()
    assert torch.equal(new[0].weight, old[0].weight)
    assert start.model.num_labels == start.model.config.num_labels == 5


def test_the_same_vocabulary_goes_on_unchanged(tmp_path: Path) -> None:
    save_tiny_vilt(tmp_path)
    start = start_from(describe_start(str(tmp_path)), AnswerVocabulary(ANSWERS))
    model, _ = tiny_model()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), start.model.parameters(), strict=True))
    assert start.notes == ("6 of 6 answers keep the checkpoint's head, 0 are new, 0 were dropped",)


def test_a_vocabulary_with_nothing_in_common_is_warned_of(tmp_path: Path) -> None:
    save_tiny_vilt(tmp_path)
    (told,) = start_from(describe_start(str(tmp_path)), AnswerVocabulary(["mug", "cup"])).notes
    assert told.startswith("warning: none of the 2 answers is among the 6 of the checkpoint")


def test_half_precision_weights_are_trained_in_full(tmp_path: Path) -> None:
    model, tokenizer = tiny_model()
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    save_processor(tmp_path, tokenizer, SHAPE.transform)
    start = start_from(describe_start(str(tmp_path)), AnswerVocabulary(ANSWERS))
    assert {weight.dtype for weight in start.model.parameters()} == {torch.float32}


def test_missing_encoder_weights_are_not_made_up(tmp_path: Path) -> None:
    save_as("ViltForMaskedLM", tmp_path)
    edit_weights(tmp_path, lambda weights: weights.pop("vilt.pooler.dense.weight"))
    with pytest.raises(ModelLoadError, match=r"incomplete, 1 missing, first vilt\.pooler\.dense\.weight"):
        start_from(describe_start(str(tmp_path)), AnswerVocabulary(ANSWERS))


def test_a_missing_head_is_not_made_up(tmp_path: Path) -> None:
    save_tiny_vilt(tmp_path)
    edit_weights(tmp_path, lambda weights: weights.pop("classifier.3.bias"))
    with pytest.raises(ModelLoadError, match=r"incomplete, 1 missing, first classifier\.3\.bias"):
        start_from(describe_start(str(tmp_path)), AnswerVocabulary(ANSWERS))


def test_weights_of_another_shape_are_told(tmp_path: Path) -> None:
    save_as("ViltForMaskedLM", tmp_path)
    edit_weights(tmp_path, lambda weights: weights.update({"vilt.embeddings.cls_token": torch.zeros(1, 1, 16)}))
    expected = (
        r"1 weights do not fit config.json, first vilt.embeddings.cls_token: its shape is (1, 1, 16), wanted (1, 1, 32)"
    )
    with pytest.raises(ModelLoadError, match=re.escape(expected)):
        start_from(describe_start(str(tmp_path)), AnswerVocabulary(ANSWERS))


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    save_tiny_vilt(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelLoadError, match=re.escape(f"model {tmp_path}: ")):
        start_from(describe_start(str(tmp_path)), AnswerVocabulary(ANSWERS))


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    save_tiny_vilt(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    for change, told in (
        ({"model_type": "blip"}, "config.json says 'blip', ViltForQuestionAnswering; wanted a ViLT"),
        ({"architectures": ["ViltForTokenClassification"]}, "'vilt', ViltForTokenClassification; wanted a ViLT"),
        ({"architectures": None}, "'vilt', no architecture; wanted a ViLT"),
    ):
        path.write_text(json.dumps(config | change))
        with pytest.raises(ModelLoadError, match=re.escape(told)):
            describe_start(str(tmp_path))
    path.write_text(json.dumps(config))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"no weights; wanted model\.safetensors or pytorch_model\.bin"):
        describe_start(str(tmp_path))


@pytest.mark.parametrize("architecture", ["ViltForMaskedLM", "ViltForQuestionAnswering"])
def test_training_starts_from_pickled_weights_too(architecture: str, tmp_path: Path) -> None:
    save_as(architecture, tmp_path)
    first = start_from(describe_start(str(tmp_path)), AnswerVocabulary(ANSWERS))
    to_pickles(tmp_path)
    second = start_from(describe_start(str(tmp_path)), AnswerVocabulary(ANSWERS))
    both = zip(first.model.state_dict().items(), second.model.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in both)
    assert all(weight.requires_grad for weight in second.model.parameters())


def test_a_start_is_described_without_torch(tmp_path: Path) -> None:
    save_tiny_vilt(tmp_path)
    code = (
        "import sys; from vqa_ray.training.start import describe_start; describe_start(sys.argv[1]);"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_from_scratch_all_follows_from_the_questions_and_the_seed() -> None:
    vocabulary = AnswerVocabulary(ANSWERS)
    first, second = (
        start_from_scratch(SHAPE, questions, vocabulary, vocab_size=200, seed=3, dropout=0.1)
        for questions in (QUESTIONS, QUESTIONS[::-1])
    )
    assert first.tokenizer.get_vocab() == second.tokenizer.get_vocab()
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert first.tokenizer.tokenize("TRIANGLE, naïve zebra 好") == [
        "triangle", ",", "naive", "z", "##e", "##b", "##r", "##a", "好",
    ]  # fmt: skip
    assert first.max_text_tokens == SHAPE.max_text_tokens
    assert first.model.config.vocab_size == len(first.tokenizer)
    assert first.model.config.hidden_dropout_prob == 0.0
    assert first.model.vilt.embeddings.dropout.p == 0.1
    (told,) = first.notes
    assert re.fullmatch(r"a new network of [\d,]+ parameters; \d+ WordPieces learnt from the questions", told)


def test_a_wordpiece_vocabulary_keeps_to_its_size() -> None:
    assert len(train_tokenizer(QUESTIONS, 125)) == 125
    with pytest.raises(RequestError, match="a vocabulary of 50 pieces is too small: "):
        train_tokenizer(QUESTIONS, 50)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"heads": 5}, "shape: hidden_size 192 is not a multiple of heads 5"),
        ({"patch_size": 15}, "shape: shortest_edge 112 is not a multiple of patch_size 15"),
        ({"layers": 0}, "shape: layers is 0, wanted at least 1"),
    ],
)
def test_a_shape_that_no_network_can_have_is_refused(change: dict[str, int], told: str) -> None:
    with pytest.raises(RequestError, match=re.escape(told)):
        ViltShape(**change)
