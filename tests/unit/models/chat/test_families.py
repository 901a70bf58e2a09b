"""Every image-and-text type is served or refused with a reason; the served ones answer as stock `generate` does."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as PillowImage

from tests.helpers.pillow_processors import with_pillow
from tests.helpers.tiny_chat import FAMILIES as SMALL
from tests.helpers.tiny_chat import QUESTIONS, random_images, save_chat
from tests.helpers.tiny_families import BUILDERS, tiny_family
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.chat.base import CAPTION_REQUEST
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.chat.processor import continued
from vqa_ray.models.chat.prompt_adapters import ADAPTERS
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.generation.config import GenerationConfig
from vqa_ray.models.refused_families import REFUSED
from vqa_ray.models.registry import FAMILIES, SHARING_A_PREFIX, family_of

NEW_TOKENS = 6


def test_every_image_and_text_type_of_transformers_is_served_or_refused_with_a_reason() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN

    served = {family.name for family in FAMILIES}
    assert not served & set(REFUSED)
    assert sorted(set(KNOWN) - served - set(REFUSED)) == []
    assert sorted(set(REFUSED) - set(KNOWN)) == [], "transformers has these no more"


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_a_refusal_names_its_reason(kind: str) -> None:
    with pytest.raises(ModelLoadError, match=f"^model x: {kind} is not supported: ") as caught:
        family_of("x", {"model_type": kind})
    assert "\n" not in str(caught.value)
    assert REFUSED[kind] in str(caught.value)


def test_what_the_installed_processors_say_of_refused_families_is_so() -> None:
    from transformers import GotOcr2Processor, IdeficsProcessor, Kosmos2_5Processor, UdopConfig

    assert UdopConfig().is_encoder_decoder
    source = inspect.getsource
    assert "[sample, *image_list]" in source(IdeficsProcessor.__call__)
    assert "Nested images are only supported with `multi_page`" in source(GotOcr2Processor._make_list_of_inputs)
    assert "prompt + text" in source(Kosmos2_5Processor.__call__)


def test_every_chat_family_is_held_to_transformers() -> None:
    chat = {family.name for family in FAMILIES if family.is_chat}
    assert chat == {*SMALL, *BUILDERS}


@torch.inference_mode()
def stock(model: Any, processor: Any, image: Any, text: str) -> str:
    options = {"return_legacy_image_output": False} if type(model).__name__ == "FuyuForCausalLM" else {}
    inputs = processor(images=[PillowImage.fromarray(image)], text=[text], return_tensors="pt", **options)
    written = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS)
    said = str(processor.tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()
    # KOSMOS-2 marks places in its answers.
    return processor.post_process_generation(said)[0] if hasattr(processor, "eop_token") else said


def prompt(processor: Any, question: str) -> str:
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
    return str(processor.apply_chat_template([message], add_generation_prompt=True))


# The image processors of GLM make an array of tensors.
@with_pillow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_a_family_answers_as_stock_generate_does(name: str, tmp_path: Path) -> None:
    model, processor = tiny_family(name)
    save_chat(tmp_path, model, processor)
    generation = GenerationConfig(NEW_TOKENS, NEW_TOKENS)
    engine = ChatModel.from_checkpoint(
        Checkpoint.open(str(tmp_path)), device="cpu", dtype="float32", generation=generation
    )
    assert engine.shares_prefix == (name in SHARING_A_PREFIX)
    images = random_images(4)
    asked = [list(QUESTIONS[first:last]) for first, last in ((0, 3), (1, 3), (2, 5), (1, 3))]
    adapter = ADAPTERS.get(name)
    if adapter is not None:
        processor.chat_template = adapter.template
    found = [[answer.answers[0][0] for answer in answers] for answers in engine.answer(images, asked, 1)]
    wanted = [
        [
            stock(model, processor, image, prompt(processor, adapter.word(each) if adapter else each))
            for each in questions
        ]
        for image, questions in zip(images, asked, strict=True)
    ]
    assert found == wanted
    same = {answers[questions.index(QUESTIONS[2])] for answers, questions in zip(wanted, asked, strict=True)}
    assert len(same) == len(images), "the comparison means nothing if the image does not matter"
    assert any(len(set(answers)) > 1 for answers in wanted), "nor if the question does not"
    for image, questions, answers in zip(images, asked, wanted, strict=True):
        ((alone,),) = engine.answer([image], [questions[-1:]], 1)
        assert alone.answers[0][0] == answers[-1], "the rows of a batch change each other"
    ((caption,),) = [engine.caption(images[:1])]
    request = adapter.word(adapter.caption) if adapter else CAPTION_REQUEST
    opening = adapter.opening if adapter else ""
    begun = continued(prompt(processor, request), opening)
    assert caption.answers[0][0] == f"{opening} {stock(model, processor, images[0], begun)}".strip()
    scores = engine.score(images, asked, [[("yes", "no")] * len(questions) for questions in asked])
    alone = [
        engine.score([image], [[question]], [[("yes", "no")]])[0][0].scores
        for image, questions in zip(images, asked, strict=True)
        for question in questions
    ]
    for one, together in zip(alone, [score.scores for each in scores for score in each], strict=True):
        assert one == pytest.approx(together, abs=1e-4)
        assert sum(one) == pytest.approx(1)
