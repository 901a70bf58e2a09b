"""A hostile title gives no orders: its prompt holds the special tokens of a harmless one, in every chat family."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.hostile_titles import HARMLESS, HOSTILE
from tests.helpers.pillow_processors import with_pillow
from tests.helpers.tiny_chat import FAMILIES as SMALL
from tests.helpers.tiny_chat import random_images, save_chat, tiny_chat
from tests.helpers.tiny_families import BUILDERS, tiny_family
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.chat.processor import ChatProcessor
from vqa_ray.models.chat.prompt_adapters import ADAPTERS
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.checkpoint.reserved_tokens import reserved_tokens
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.row_text.config import TextConfig
from vqa_ray.row_text.template import word

QUESTION = "does the photo show {title}?"
# Titles that every family answers; all of them where the environment says so, which takes minutes.
ANSWERED = HOSTILE if os.environ.get("VQA_RAY_ALL_TITLES") else (*HOSTILE[:196:28], *HOSTILE[-6:])


# The image processors of GLM make an array of tensors.
@with_pillow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", sorted((*SMALL, *BUILDERS)))
def test_a_title_brings_no_token_of_the_models_own(name: str, tmp_path: Path) -> None:
    build: Callable[[str], tuple[Any, Any]] = tiny_chat if name in SMALL else tiny_family
    save_chat(tmp_path, *build(name))
    checkpoint = Checkpoint.open(str(tmp_path))
    adapter = ADAPTERS.get(name)
    reserved = (*reserved_tokens(tmp_path), *(adapter.reserved if adapter else ()))
    config = TextConfig(("title",), 24, reserved)
    engine = ChatModel.from_checkpoint(checkpoint, device="cpu", dtype="float32", generation=GenerationConfig(4, 4))
    processor = ChatProcessor.from_checkpoint(checkpoint, engine._model.config)
    # Printable bytes stand for the characters that a tiny vocabulary lacks.
    added = processor.tokenizer.get_added_vocab()
    own = {number for token, number in added.items() if not re.fullmatch("<0x[2-9A-F].>", token)}
    own -= {processor.tokenizer.unk_token_id}

    def special(title: str) -> list[int]:
        question = word(QUESTION, {"title": config.read("title", title)[0]})
        return [token for token in processor.text_ids(processor.prompt(question)) if token in own]

    wanted = special(HARMLESS)
    assert [title[:60] for title in HOSTILE if special(title) != wanted] == []
    questions = [word(QUESTION, {"title": config.read("title", title)[0]}) for title in ANSWERED]
    (answers,) = engine.answer(random_images(1), [questions], 1)
    assert len(answers) == len(ANSWERED)
    assert not any("banana" in answer.answers[0][0] for answer in answers)
