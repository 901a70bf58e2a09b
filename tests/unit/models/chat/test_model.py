"""Chat models against transformers' own processor and `generate`, and what the engine promises around them."""

from __future__ import annotations

import functools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from tests.helpers.pillow_processors import with_pillow
from tests.helpers.tiny_chat import FAMILIES, QUESTIONS, random_images, save_tiny_chat, tiny_chat
from vqa_ray.errors import ErrorCode, ModelLoadError, RowError
from vqa_ray.images.resize import resize
from vqa_ray.models.chat import shared_prefix as chat_prefix
from vqa_ray.models.chat.base import CAPTION_REQUEST
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.registry import SHARING_A_PREFIX
from vqa_ray.types import Image

NEW_TOKENS = 8
# Whose template opens an answer without a space or line break behind it.
SPACED = ("llava", "llava_next", "idefics2", "idefics3", "smolvlm")
SHARING = [family for family in FAMILIES if family in SHARING_A_PREFIX]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return functools.cache(lambda family: save_tiny_chat(tmp_path_factory.mktemp(family), family))


def load(directory: Path, **generation: Any) -> ChatModel:
    config = GenerationConfig(**{"max_new_tokens": NEW_TOKENS, "caption_max_new_tokens": NEW_TOKENS, **generation})
    return ChatModel.from_checkpoint(Checkpoint.open(str(directory)), device="cpu", dtype="float32", generation=config)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(directories: Any, family: str) -> ChatModel:
    return load(directories(family))


@pytest.fixture(scope="module")
def llava(directories: Any) -> ChatModel:
    return load(directories("llava"))


class Stock:
    """transformers' own model and processor, one question at a time."""

    def __init__(self, family: str) -> None:
        self.model, self.processor = tiny_chat(family)
        self.tokenizer = self.processor.tokenizer

    def inputs(self, image: Any, question: str, turns: Any = (), behind: str = "") -> Any:
        images = image if isinstance(image, tuple) else (image,)
        messages: list[Any] = []
        for asked, answered in turns:
            messages.append({"role": "user", "content": [{"type": "text", "text": asked}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": answered}]})
        messages.append({"role": "user", "content": [{"type": "text", "text": question}]})
        messages[0]["content"][:0] = [{"type": "image"}] * len(images)
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        shown = [[PillowImage.fromarray(each) for each in images]]
        return self.processor(images=shown, text=[text + behind], return_tensors="pt")

    @torch.inference_mode()
    def tokens(self, image: Any, question: str, turns: Any = (), behind: str = "", **options: Any) -> list[int]:
        inputs = self.inputs(image, question, turns, behind)
        options = {"do_sample": False, "max_new_tokens": NEW_TOKENS, **options}
        written = self.model.generate(**inputs, **options)
        found: list[int] = written[0, inputs["input_ids"].shape[1] :].tolist()
        return found

    def answer(self, *arguments: Any, **options: Any) -> str:
        return str(self.tokenizer.decode(self.tokens(*arguments, **options), skip_special_tokens=True)).strip()

    @torch.inference_mode()
    def mean_log_probability(self, image: Image, question: str, tokens: list[int]) -> float:
        """By one full forward over prompt and tokens."""
        inputs = dict(self.inputs(image, question))
        count = len(tokens)
        extra = {"input_ids": tokens, "attention_mask": [1] * count, "mm_token_type_ids": [0] * count}
        for name, values in extra.items():
            if name in inputs:
                inputs[name] = torch.cat([inputs[name], torch.tensor([values])], dim=1)
        logits = self.model(**inputs).logits[0, -count - 1 : -1].log_softmax(dim=-1)
        return float(logits[range(count), tokens].mean())


@functools.cache
def stock(family: str) -> Stock:
    return Stock(family)


def texts(answers: Any) -> list[str]:
    return [answer.answers[0][0] for per_image in answers for answer in per_image]


@with_pillow
def test_equals_stock_generate_on_50_mixed_pairs(model: ChatModel, family: str) -> None:
    images = random_images(10)
    found = texts(model.answer(images, [QUESTIONS] * 10, 1))
    wanted = [stock(family).answer(image, question) for image in images for question in QUESTIONS]
    assert found == wanted
    assert len(set(wanted)) >= 40, "the comparison means nothing if the answers are alike"
    assert all(len(set(wanted[start : start + 5])) > 1 for start in range(0, 50, 5)), "questions do not matter"


def test_questions_about_several_images_equal_stock_generate(model: ChatModel, family: str) -> None:
    """Rows of one, two and three images beside each other, in an order that matters."""
    one, two, three = random_images(3, seed=13)
    shown = [(one, two), one, (two, one), (one, two, three), (three, two)]
    found = model.answer(shown, [QUESTIONS[:3]] * len(shown), 1)
    wanted = [stock(family).answer(images, question) for images in shown for question in QUESTIONS[:3]]
    assert texts(found) == wanted
    scores = [[answer.answers[0][1] for answer in answers] for answers in found]
    assert len(set(map(tuple, scores))) == len(shown), "the images, or their order, do not matter"


def test_several_questions_are_answered_as_if_alone(model: ChatModel) -> None:
    images = random_images(4, seed=7)
    asked = [QUESTIONS[: count + 1] for count in range(4)]
    together = model.answer(images, asked, 1)
    assert [len(answers) for answers in together] == [1, 2, 3, 4]
    for image, questions, answers in zip(images, asked, together, strict=True):
        for question, answer in zip(questions, answers, strict=True):
            ((alone,),) = model.answer([image], [[question]], 1)
            assert alone.answers[0][0] == answer.answers[0][0]
            assert alone.answers[0][1] == pytest.approx(answer.answers[0][1], abs=1e-4)


@with_pillow
@pytest.mark.parametrize(
    "choices", [("yes", "no"), ("red", "green and blue", "a big dog on the left"), ("yes", "", "🐕")]
)
def test_scores_of_choices_equal_brute_force(model: ChatModel, family: str, choices: tuple[str, ...]) -> None:
    images = random_images(6, seed=3)
    scored = model.score(images, [QUESTIONS[:3]] * 6, [[choices] * 3] * 6)
    spread = 0.0
    for image, per_image in zip(images, scored, strict=True):
        for question, scores in zip(QUESTIONS[:3], per_image, strict=True):
            said = [choice for choice in choices if choice]
            tokens = [list(model._processor.choice_ids(choice)) for choice in said]
            means = np.array([stock(family).mean_log_probability(image, question, ids) for ids in tokens])
            wanted = np.exp(means - means.max()) / np.exp(means - means.max()).sum()
            found = [score for choice, score in zip(choices, scores.scores, strict=True) if choice]
            np.testing.assert_allclose(found, wanted, atol=1e-4)
            assert all(math.isnan(score) for choice, score in zip(choices, scores.scores, strict=True) if not choice)
            spread = max(spread, abs(found[0] - 0.5))
    assert spread > 0.1, "the comparison means nothing if all choices score alike"
    assert model.known_choices(choices) == [bool(choice) for choice in choices]


@with_pillow
def test_score_of_an_answer_is_the_mean_log_probability_of_its_tokens(model: ChatModel, family: str) -> None:
    for image in random_images(5, seed=11):
        ((answer,),) = model.answer([image], [[QUESTIONS[1]]], 1)
        tokens = stock(family).tokens(image, QUESTIONS[1])
        wanted = math.exp(stock(family).mean_log_probability(image, QUESTIONS[1], tokens))
        assert answer.answers[0][1] == pytest.approx(wanted, abs=1e-4)


def test_beams_equal_stock_beams(directories: Any, family: str) -> None:
    beamed = load(directories(family), num_beams=3, length_penalty=-1.0)
    images = random_images(6, seed=5)
    found = texts(beamed.answer(images, [QUESTIONS[:2]] * 6, 1))
    options = {"num_beams": 3, "length_penalty": -1.0}
    assert found == [stock(family).answer(i, question, **options) for i in images for question in QUESTIONS[:2]]


def test_earlier_turns_stand_in_the_prompt(model: ChatModel, family: str) -> None:
    turns = (("what is this?", "a dog"), ("is it big?", "no"))
    (image,) = random_images(1, seed=2)
    ((with_turns, without),) = model.answer([image], [[QUESTIONS[0]] * 2], 1, contexts=[[turns, ()]])
    assert with_turns.answers[0][0] == stock(family).answer(image, QUESTIONS[0], turns)
    assert without.answers[0][0] == stock(family).answer(image, QUESTIONS[0])
    assert with_turns.answers != without.answers
    assert "left out" not in (with_turns.warning or "")


def test_a_full_context_drops_the_oldest_turns_and_says_so(model: ChatModel, family: str) -> None:
    (image,) = random_images(1, seed=2)
    turns = [
        (f"{number} what is there on the left in the picture?", " ".join(map(str, range(30)))) for number in range(8)
    ]
    ((answer,),) = model.answer([image], [[QUESTIONS[0]]], 1, contexts=[[turns]])
    assert answer.warning is not None
    dropped = int(answer.warning.split()[0])
    assert answer.warning.startswith(f"{dropped} of 8 earlier turns left out: the context is full")
    assert 0 < dropped < 8
    assert answer.answers[0][0] == stock(family).answer(image, QUESTIONS[0], turns[dropped:])
    fits = stock(family).inputs(image, QUESTIONS[0], turns[dropped:])["input_ids"].shape[1]
    too_long = stock(family).inputs(image, QUESTIONS[0], turns[dropped - 1 :])["input_ids"].shape[1]
    assert fits + NEW_TOKENS <= 512 < too_long + NEW_TOKENS


def test_captions_ask_for_a_sentence_and_begin_as_told(model: ChatModel, family: str) -> None:
    images = random_images(3, seed=4)
    assert [answer.answers[0][0] for answer in model.caption(images)] == [
        stock(family).answer(image, CAPTION_REQUEST) for image in images
    ]
    ours = stock(family)
    for image, begun in zip(images, model.caption(images, "a  red dog"), strict=True):
        ids = list(model._processor.choice_ids("a red dog"))
        behind = " a red dog" if family in SPACED else "a red dog"
        prompt = ours.inputs(image, CAPTION_REQUEST, behind=behind)
        assert prompt["input_ids"][0, -len(ids) :].tolist() == ids
        written = ours.tokens(image, CAPTION_REQUEST, behind=behind)
        wanted = ours.tokenizer.decode(ids + written, skip_special_tokens=True).strip()
        assert begun.answers[0][0] == wanted
        assert begun.answers[0][0].startswith("a red dog")


@pytest.mark.parametrize("family", SHARING, indirect=True)
def test_an_image_is_read_once_however_many_its_questions(model: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    processed, seen = [], []
    images = model._processor._processor.image_processor
    original, features = images._processor, model._model.base_model.get_image_features

    def process(given: Any, **options: Any) -> Any:
        processed.append(len(given))
        return original(given, **options)

    def counted(*arguments: Any, **options: Any) -> Any:
        seen.append(1)
        return features(*arguments, **options)

    counting = type(
        "Counting", (), {"__call__": staticmethod(process), "__getattr__": lambda _, n: getattr(original, n)}
    )
    monkeypatch.setattr(images, "_processor", counting())
    monkeypatch.setattr(model._model.base_model, "get_image_features", counted)
    model.answer(random_images(1), [QUESTIONS], 1)
    assert len(processed) == 1
    assert len(seen) == 1


@with_pillow
def test_a_repetition_penalty_of_the_checkpoint_is_kept(directories: Any, family: str, tmp_path: Path) -> None:
    directory = shutil.copytree(directories(family), tmp_path / "model")
    settings = json.loads((directory / "generation_config.json").read_text())
    (directory / "generation_config.json").write_text(
        json.dumps(settings | {"repetition_penalty": 1.3, "do_sample": True, "temperature": 0.1})
    )
    images = random_images(4, seed=8)
    found = texts(load(directory).answer(images, [QUESTIONS[:3]] * 4, 1))
    pairs = [(image, question) for image in images for question in QUESTIONS[:3]]
    assert found == [stock(family).answer(*pair, repetition_penalty=1.3) for pair in pairs]
    assert found != [stock(family).answer(*pair) for pair in pairs]


@with_pillow
@pytest.mark.parametrize("family", ["llava", "idefics2"])
def test_no_token_is_written_twice_where_the_checkpoint_says_so(directories: Any, family: str, tmp_path: Path) -> None:
    directory = shutil.copytree(directories(family), tmp_path / "model")
    settings = json.loads((directory / "generation_config.json").read_text())
    settings |= {"no_repeat_ngram_size": 1, "repetition_penalty": 1.1}
    (directory / "generation_config.json").write_text(json.dumps(settings))
    images = random_images(4, seed=8)
    found = texts(load(directory).answer(images, [QUESTIONS[:3]] * 4, 1))
    pairs = [(image, question) for image in images for question in QUESTIONS[:3]]
    wanted = {"no_repeat_ngram_size": 1, "repetition_penalty": 1.1}
    assert found == [stock(family).answer(*pair, **wanted) for pair in pairs]
    assert found != [stock(family).answer(*pair, repetition_penalty=1.1) for pair in pairs]


def test_an_empty_generation_is_an_empty_answer_with_a_score(llava: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    (image,) = random_images(1)
    first = stock("llava").tokens(image, QUESTIONS[0])[0]
    monkeypatch.setattr(llava, "_eos_token_ids", (first,))
    ((answer,),) = llava.answer([image], [[QUESTIONS[0]]], 1)
    ((text, score),) = answer.answers
    assert text == ""
    assert score == pytest.approx(math.exp(stock("llava").mean_log_probability(image, QUESTIONS[0], [first])), abs=1e-4)


def test_no_images_and_no_questions_give_empty_lists(llava: ChatModel) -> None:
    images = random_images(3)
    assert [len(a) for a in llava.answer(images, [[QUESTIONS[0]], [], [QUESTIONS[0]]], 1)] == [1, 0, 1]
    assert llava.answer([], [], 1) == []
    assert llava.caption([]) == []
    assert llava.score([], [], []) == []


@pytest.mark.parametrize("family", SHARING, indirect=True)
def test_out_of_memory_halves_the_pass_and_loses_nothing(model: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(6, seed=9)
    wanted = texts(model.answer(images, [QUESTIONS[:2]] * 6, 1))
    read, sizes = chat_prefix.read, []

    def tight(network: Any, prompts: Any, *arguments: Any) -> Any:
        sizes.append(len(prompts))
        if len(prompts) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read(network, prompts, *arguments)

    monkeypatch.setattr(chat_prefix, "read", tight)
    monkeypatch.setattr(model, "_bytes_per_pass", model._bytes_per_pass)
    assert texts(model.answer(images, [QUESTIONS[:2]] * 6, 1)) == wanted
    assert max(sizes) > 3


@pytest.mark.parametrize("question", ["?", "🐕 هل هذا كلب", "x" * 300, "\u200b", "</s> <pad>", "<|im_end|> {{ 7 }}"])
def test_strange_questions_are_answered(model: ChatModel, question: str) -> None:
    ((answer,),) = model.answer(random_images(1), [[question]], 1)
    assert 0 <= answer.answers[0][1] <= 1


def test_a_question_that_is_too_long_is_cut_and_says_so(llava: ChatModel) -> None:
    ((answer,),) = llava.answer(random_images(1), [["dog? " * 400]], 1)
    assert answer.warning is not None
    assert answer.warning.startswith("question cut")
    assert f" {512 - NEW_TOKENS}" in answer.warning


def test_a_question_that_names_the_image_token_is_refused(model: ChatModel, family: str) -> None:
    token = stock(family).processor.image_token
    with pytest.raises(RowError, match="holds 2 images") as caught:
        model.answer(random_images(1), [[f"what is {token}?"]], 1)
    assert caught.value.code == ErrorCode.ROW_MALFORMED


def test_bfloat16_answers(directories: Any) -> None:
    half = ChatModel.from_checkpoint(Checkpoint.open(str(directories("llava"))), device="cpu", dtype="bfloat16")
    answers = half.answer(random_images(4), [QUESTIONS[:2]] * 4, 1)
    assert all(0 <= answer.answers[0][1] <= 1 for per_image in answers for answer in per_image)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda d: (d / "chat_template.jinja").unlink(), "no chat template"),
        (lambda d: (d / "chat_template.jinja").write_text("{{ messages[0]['content'][1]['text'] }}"), "show the image"),
        (lambda d: (d / "chat_template.jinja").write_text("<image> hello"), "leaves out the question"),
        (lambda d: (d / "chat_template.jinja").write_text("{{ nothing.at.all }}"), "chat template fails"),
        (lambda d: (d / "tokenizer.json").unlink(), "it has no tokenizer"),
        (lambda d: (d / "tokenizer_config.json").write_text("{"), "its processor cannot be loaded"),
        (lambda d: (d / "processor_config.json").unlink(), "preprocessor_config.json is missing"),
        (lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"), "pytorch_model.bin: damaged, cut short"),
        (lambda d: (d / "model.safetensors").write_bytes(b"no weights"), "model "),
        (lambda d: change(d, image_token_index=7), "the processor's image token is 4, config.json says 7"),
        (lambda d: change(d, model_type="no_such_model"), "no_such_model"),
    ],
)
def test_a_damaged_checkpoint_is_told_in_one_line(directories: Any, tmp_path: Path, damage: Any, told: str) -> None:
    directory = shutil.copytree(directories("llava"), tmp_path / "model")
    damage(directory)
    with pytest.raises(ModelLoadError) as caught:
        load(directory)
    assert told in str(caught.value)
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)


def change(directory: Path, **values: Any) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | values))


def test_missing_weights_are_named(directories: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    directory = shutil.copytree(directories("llava"), tmp_path / "model")
    weights = load_file(directory / "model.safetensors")
    lost = next(name for name in sorted(weights) if "q_proj" in name)
    save_file({name: value for name, value in weights.items() if name != lost}, directory / "model.safetensors")
    with pytest.raises(ModelLoadError, match=r"weights are incomplete, 1 missing, first .*q_proj"):
        load(directory)


def test_a_tokenizer_without_pad_is_no_obstacle(directories: Any, llava: ChatModel, tmp_path: Path) -> None:
    directory = shutil.copytree(directories("llava"), tmp_path / "model")
    for name in ("tokenizer_config.json", "generation_config.json"):
        settings = json.loads((directory / name).read_text())
        kept = {key: value for key, value in settings.items() if not key.startswith("pad_token")}
        (directory / name).write_text(json.dumps(kept))
    change(directory, pad_token_id=None)
    images = random_images(3)
    assert load(directory).answer(images, [QUESTIONS[:3]] * 3, 1) == llava.answer(images, [QUESTIONS[:3]] * 3, 1)


def test_an_old_llava_processor_without_patch_size_is_completed(
    directories: Any, llava: ChatModel, tmp_path: Path
) -> None:
    directory = shutil.copytree(directories("llava"), tmp_path / "model")
    settings = json.loads((directory / "processor_config.json").read_text())
    image_processor = settings.pop("image_processor")
    image_processor["image_processor_type"] = "CLIPImageProcessor"
    (directory / "preprocessor_config.json").write_text(json.dumps(image_processor))
    (directory / "processor_config.json").write_text(json.dumps({"processor_class": "LlavaProcessor"}))
    images = random_images(3)
    assert load(directory).answer(images, [QUESTIONS[:3]] * 3, 1) == llava.answer(images, [QUESTIONS[:3]] * 3, 1)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl"])
def test_a_bound_of_pixels_bounds_the_image_tokens(directories: Any, family: str) -> None:
    checkpoint = Checkpoint.open(str(directories(family)))
    image = np.random.default_rng(0).integers(0, 256, (120, 180, 3), dtype=np.uint8)

    def image_tokens(pixels: int | None) -> int:
        bounded = checkpoint.limited(pixels)
        model = ChatModel.from_checkpoint(bounded, device="cpu", dtype="float32")
        shown = resize(image, *bounded.transform.target_size(120, 180))
        (prompt,) = model._prompts([shown], [["what is this?"]], None, 1)
        return prompt.encoded.ids.count(model._processor.image_token_id)

    assert [image_tokens(28 * 28 * budget) for budget in (1, 3, 100)] == [1, 2, 6]
    assert image_tokens(None) == 6
