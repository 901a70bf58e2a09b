"""Conversations as tokens against inference, family by family, and what is refused."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.chat_conversations import (
    ONE_TURN,
    QUESTION_FAMILIES,
    TRAINED_FAMILIES,
    Inference,
    mixed_talks,
    pictures,
    talk,
)
from tests.helpers.tiny_chat import FAMILIES, save_tiny_chat
from tests.helpers.tiny_chat_text import CHATML_TEMPLATE
from vqa_ray.conversation.conversation import Conversation
from vqa_ray.errors import ErrorCode, ModelLoadError, RequestError, RowError
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.training.chat.collate import ChatCollator
from vqa_ray.training.chat.initialise import load_chat
from vqa_ray.training.chat.network import ChatNetwork
from vqa_ray.training.chat.rendering import ChatRenderer
from vqa_ray.training.chat.row import IGNORED, ChatRow
from vqa_ray.types import Image

MIXED = 50


def learnt(row: ChatRow) -> list[list[int]]:
    """The runs of tokens under the loss."""
    groups = itertools.groupby(row.targets, key=lambda target: target != IGNORED)
    return [list(run) for counts, run in groups if counts]


def tokenizer_of(renderer: ChatRenderer) -> object:
    prompts = renderer._prompts
    return getattr(prompts, "_tokenizer", None) or prompts._processor.tokenizer  # type: ignore[attr-defined]


def test_prompts_and_answers_are_those_of_inference(family: str, directories: Callable[[str], Path]) -> None:
    directory = directories(family)
    renderer, inference = ChatRenderer.from_directory(directory), Inference(family, directory)
    tokenizer = tokenizer_of(renderer)
    for conversation, images in mixed_talks(family, MIXED):
        row = renderer.render(conversation, images)
        prompts = inference.prompts(conversation, images)
        answers = [turn.text for turn in conversation.turns[1::2]]
        runs = learnt(row)
        assert len(runs) == len(answers)
        starts = [place for place, target in enumerate(row.targets) if target != IGNORED]
        assert row.answer_tokens == len(starts)
        for prompt, run, answer in zip(prompts, runs, answers, strict=True):
            ids = inference.ids(prompt)
            assert tuple(row.ids[: len(ids)]) == ids
            if row.decoder_ids is None:
                assert list(row.targets[len(ids) - 1 : len(ids) - 1 + len(run)]) == run
            # An end token that generation stops at, behind the answer.
            assert run[-1] == renderer._prompts.end
            text = tokenizer.decode(run[:-1]).strip()  # type: ignore[attr-defined]
            assert text in (answer, answer.rstrip(".") if family == "blip2_opt" else answer)
        assert tuple(runs[-1][:-1]) == inference.choice(answers[-1])
        if row.decoder_ids is None:
            assert tuple(row.ids) == (*inference.ids(prompts[-1]), *runs[-1][:-1])
        else:
            assert tuple(row.decoder_ids)[-len(runs[-1]) + 1 :] == tuple(runs[-1][:-1])


class Counted:
    """Prompts about images; how many are encoded is counted."""

    def __init__(self, about: Any) -> None:
        self._about, self.encoded = about, 0

    @property
    def tensors(self) -> Any:
        """Of the images."""
        return self._about.tensors

    def encode(self, prompt: str) -> Any:
        """One prompt more."""
        self.encoded += 1
        return self._about.encode(prompt)


class CountedPrompts:
    """Prompts of a checkpoint; where their texts have no tokens by themselves, each is encoded with its images."""

    def __init__(self, prompts: Any, *, has_texts: bool) -> None:
        self._prompts, self._has_texts, self._about = prompts, has_texts, list[Counted]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prompts, name)

    def text_ids(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """See `TrainingPrompts.text_ids`."""
        return self._prompts.text_ids(prompts) if self._has_texts else [()] * len(prompts)

    def about(self, images: Sequence[Image]) -> Counted:
        """See `TrainingPrompts.about`."""
        self._about.append(Counted(self._prompts.about(images)))
        return self._about[-1]

    @property
    def encoded(self) -> int:
        """How many prompts were."""
        return sum(about.encoded for about in self._about)


def both_ways(renderer: ChatRenderer, conversation: Conversation, images: Sequence[Image]) -> tuple[int, int]:
    """Render a conversation with the texts of its prompts and with its prompts alone; the prompts that were encoded."""
    fast, slow = (CountedPrompts(renderer._prompts, has_texts=has_texts) for has_texts in (True, False))
    one, other = (ChatRenderer(prompts).render(conversation, images) for prompts in (fast, slow))
    assert (tuple(one.ids), tuple(one.targets)) == (tuple(other.ids), tuple(other.targets))
    return fast.encoded, slow.encoded


@pytest.mark.parametrize("family", [name for name in TRAINED_FAMILIES if name not in ONE_TURN])
def test_earlier_prompts_are_found_without_their_images(family: str, directories: Callable[[str], Path]) -> None:
    renderer = ChatRenderer.from_directory(directories(family))
    for conversation, images in mixed_talks(family, 20, seed=3):
        assert both_ways(renderer, conversation, images) == (1, len(conversation.turns) // 2)


# LLaVA-OneVision sees an image in tiles where it is the only one: a second changes what stands before it.
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "llava_onevision"])
def test_prompts_before_a_later_image_are_read_with_the_images_before_it(
    family: str, directories: Callable[[str], Path]
) -> None:
    renderer = ChatRenderer.from_directory(directories(family))
    conversation = talk("<image>\nwhat colour?", "blue", "and how many?", "two", "<image>\nand this?", "red")
    assert both_ways(renderer, conversation, pictures(2, np.random.default_rng(5))) == (3, 3)


def test_no_image_token_is_learnt_and_each_has_a_feature(family: str, directories: Callable[[str], Path]) -> None:
    features_agree(family, directories(family), MIXED)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_a_thousand_images_of_random_sizes_have_as_many_features_as_tokens(
    family: str, directories: Callable[[str], Path]
) -> None:
    features_agree(family, directories(family), 1_000)


def features_agree(family: str, directory: Path, count: int) -> None:
    renderer, model = ChatRenderer.from_directory(directory), load_chat(directory)
    network, collate = ChatNetwork(model), ChatCollator(model)
    config = model.config
    image_token = getattr(config, "image_token_id", None) or config.image_token_index
    unclear = 0
    for conversation, images in mixed_talks(family, count, seed=1):
        try:
            row = renderer.render(conversation, images)
        except RowError as error:
            # The tiny tokenizer of LLaVA has tokens of two words, "no USER" among them.
            if "cannot be told from what stands around it" not in error.message:
                raise
            unclear += 1
            continue
        assert image_token in row.ids
        assert image_token not in {target for target in row.targets if target != IGNORED}
        # transformers counts features against tokens itself, and raises.
        assert np.isfinite(float(network(collate([row]))))
    assert unclear <= count // 100


def test_images_stand_where_their_markers_do(directories: Callable[[str], Path]) -> None:
    renderer = ChatRenderer.from_directory(directories("qwen2_vl"))
    images = pictures(3, np.random.default_rng(0))
    row = renderer.render(
        talk("what <image> is <image>", "yes", "<image>\nand this?", "no", system="You are helpful"), images
    )
    text = tokenizer_of(renderer).decode(list(row.ids))  # type: ignore[attr-defined]
    pad, shown = "<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>"
    while pad * 2 in text:
        text = text.replace(pad * 2, pad)
    assert f"<|im_start|>system\nYou are helpful<|im_end|>\n<|im_start|>user\nwhat {shown} is {shown}<|im_end|>" in text
    assert f"<|im_start|>user\n{shown}and this?<|im_end|>\n<|im_start|>assistant\nno" in text
    assert len(row.images["image_grid_thw"]) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_without_images_brings_no_tensors(family: str, directories: Callable[[str], Path]) -> None:
    row = ChatRenderer.from_directory(directories(family)).render(talk("what colour?", "blue", "and now?", "red"), [])
    assert not row.images
    assert len(learnt(row)) == 2


def test_a_long_row_gets_smaller_images_before_it_is_refused(directories: Callable[[str], Path]) -> None:
    directory = directories("qwen2_vl")
    image = np.full((56, 84, 3), 90, np.uint8)
    conversation = talk("<image>\nwhat is this?", "a red dog")
    whole = ChatRenderer.from_directory(directory).render(conversation, [image])
    assert whole.warning is None
    fitted = ChatRenderer.from_directory(directory, max_tokens=whole.tokens - 3).render(conversation, [image])
    assert fitted.tokens <= whole.tokens - 3
    assert learnt(fitted) == learnt(whole)
    assert "images made smaller, to" in str(fitted.warning)
    with pytest.raises(
        RowError, match=r"the conversation has \d+ tokens, \d+ with the smallest images; a row may"
    ) as e:
        ChatRenderer.from_directory(directory, max_tokens=20).render(conversation, [image])
    assert e.value.code == ErrorCode.ROW_TOO_LONG


def test_a_long_row_of_a_family_with_tiles_is_refused(directories: Callable[[str], Path]) -> None:
    renderer = ChatRenderer.from_directory(directories("llava"))
    long = talk("<image>\nwhat?", "dog " * 600)
    with pytest.raises(RowError, match=r"the conversation has \d+ tokens; a row may have 512 and is never cut"):
        renderer.render(long, pictures(1, np.random.default_rng(0)))


def test_a_text_that_spells_the_image_token_is_a_typed_row(directories: Callable[[str], Path]) -> None:
    renderer = ChatRenderer.from_directory(directories("qwen2_vl"))
    with pytest.raises(RowError, match="a question cannot name that token"):
        renderer.render(talk("what is <|image_pad|>?", "no"), [])


@pytest.mark.parametrize("family", QUESTION_FAMILIES)
@pytest.mark.parametrize(
    ("texts", "system"),
    [(("what?", "red"), None), (("<image><image>\nwhat?", "red"), None), (("<image>\nwhat?", "red"), "Be kind.")],
)
def test_blip_refuses_what_it_cannot_read(
    family: str, texts: Sequence[str], system: str | None, directories: Callable[[str], Path]
) -> None:
    conversation = talk(*texts, system=system)
    with pytest.raises(RowError, match="read one image in front of a question and no system prompt"):
        ChatRenderer.from_directory(directories(family)).render(
            conversation, pictures(conversation.images, np.random.default_rng(0))
        )


def test_several_turns_of_a_model_that_reads_one_question_are_a_typed_row(
    directories: Callable[[str], Path],
) -> None:
    renderer = ChatRenderer.from_directory(directories("instructblip_llama"))
    with pytest.raises(RowError, match="learns one question a row; given are 2"):
        renderer.render(talk("<image>\nwhat?", "red", "and?", "no"), pictures(1, np.random.default_rng(0)))


def with_template(directory: Path, template: str) -> Path:
    save_tiny_chat(directory, "qwen2_vl")
    (directory / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    return directory


def test_a_template_without_a_generation_prompt_is_refused(tmp_path: Path) -> None:
    template = CHATML_TEMPLATE.partition("{% if add_generation_prompt %}")[0]
    with pytest.raises(ModelLoadError, match=r"no generation prompt that fits: it sets '<.im_start.>assistant' before"):
        ChatRenderer.from_directory(with_template(tmp_path, template))


def test_a_template_that_rewrites_what_was_said_is_refused(tmp_path: Path) -> None:
    template = "{{ messages | length }} messages\n" + CHATML_TEMPLATE
    with pytest.raises(ModelLoadError, match="cannot be split for training"):
        ChatRenderer.from_directory(with_template(tmp_path, template))


def test_a_template_that_leaves_a_text_out_makes_a_typed_row(tmp_path: Path) -> None:
    template = "{% if messages[0]['role'] == 'system' %}{% set messages = messages[1:] %}{% endif %}" + CHATML_TEMPLATE
    renderer = ChatRenderer.from_directory(with_template(tmp_path, template))
    with pytest.raises(RowError, match="leaves out or changes a text of the system: 'Be kind'"):
        renderer.render(talk("what?", "no", system="Be kind"), [])


def test_a_template_that_refuses_a_role_makes_a_typed_row(tmp_path: Path) -> None:
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML_TEMPLATE
    )
    renderer = ChatRenderer.from_directory(with_template(tmp_path, template))
    with pytest.raises(RowError, match="the chat template refuses the conversation: no system role"):
        renderer.render(talk("what?", "no", system="Be kind"), [])


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path, directories: Callable[[str], Path]) -> None:
    directory = tmp_path / "model"
    shutil.copytree(directories("llava"), directory)
    for name in ("generation_config.json", "config.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (directory / name).exists():
            settings = json.loads((directory / name).read_text())
            for part in (settings, settings.get("text_config", {})):
                part.pop("eos_token_id", None), part.pop("eos_token", None)
            if "text_config" in settings:
                settings["text_config"]["eos_token_id"] = None
            (directory / name).write_text(json.dumps(settings))
    with pytest.raises(ModelLoadError, match="names the token that ends a text"):
        ChatRenderer.from_directory(directory)


def test_a_bound_of_pixels_is_for_models_that_see_images_in_their_own_size(
    directories: Callable[[str], Path],
) -> None:
    with pytest.raises(RequestError, match="--max-pixels 5000"):
        ChatRenderer.from_directory(directories("llava"), max_pixels=5_000)
    checkpoint = Checkpoint.open(str(directories("qwen2_vl"))).limited(28 * 28 * 2)
    row = ChatRenderer.from_checkpoint(checkpoint).render(
        talk("<image>\nwhat?", "no"), [np.full((28, 56, 3), 90, np.uint8)]
    )
    assert row.images["image_grid_thw"].tolist() == [[1, 2, 4]]
