"""The table of model families: name, tasks, shared work and code of each.

Light: an engine, and torch with it, is imported when a model of its family is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models import score_meanings
from vqa_ray.models.encoders.shape import blip2_shape, clip_shape, siglip_shape
from vqa_ray.models.fake.sizes import FakeTransform, single_vector, vector_per_quadrant
from vqa_ray.models.generation.config import NEW_TOKENS
from vqa_ray.models.lazy_class import LazyClass
from vqa_ray.models.refused_families import REFUSED
from vqa_ray.models.transforms.chat import transform_from_config as chat_transform
from vqa_ray.models.transforms.chat import whole_square
from vqa_ray.models.transforms.clip import ClipTransform
from vqa_ray.models.transforms.square import SquareTransform
from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.types import EmbeddingShape, ImageTransform

# What runs a chat model with `--engine vllm`.
VLLM = LazyClass("chat.vllm_model", "VllmModel")
Task = Literal["answer", "score", "caption", "embed"]

_SAYS = {"answer": "answer questions", "score": "score choices", "caption": "caption", "embed": "embed images"}


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of model.

    Attributes:
        name: the `model_type` of its config.json.
        architecture: in `architectures` of its config.json; empty where the `model_type` says it all.
        tasks: what it can do: `answer` questions, `score` choices (tags, yes/no), `caption`, `embed` images and texts.
        score_meaning: what a score of its answers, or of a text and an image it has embedded, is; one line.
        shared_work: the work that several questions of one image share, one line.
        transform: makes its image transform of the image processor's settings and a label for messages; light.
        engine: the class that answers questions, scores choices and captions; None without these tasks.
        encoder: the class that embeds images and texts; None without this task.
        shape: reads the shape of its embeddings from config.json, given a label for messages; None likewise.
        is_generative: whether it writes its answers, so that it takes a context, beams and a length.
        takes_template: whether `--prompt-template` decides how it is asked.
        template: the style of `vqa_ray.models.generation.prompts` in which it is asked without.
        has_boxes: whether its answers can point at places in the image.
        takes_several: whether a question may be about several images.
        counts_tokens: whether its config and its processor must agree on an image's tokens in the text.
        has_turns: whether, being generative, it takes earlier turns and a beginning of its captions.
        has_beams: whether, being generative, it searches with beams.
        answer_tokens: limit of an answer's new tokens where neither the user nor the prompt style sets one.
    """

    name: str
    architecture: str
    tasks: frozenset[Task]
    score_meaning: str
    shared_work: str
    transform: Callable[[Mapping[str, Any], str], ImageTransform]
    engine: LazyClass | None = None
    encoder: LazyClass | None = None
    shape: Callable[[Mapping[str, Any], str], EmbeddingShape] | None = None
    is_generative: bool = True
    takes_template: bool = True
    template: str = "plain"
    has_boxes: bool = False
    takes_several: bool = False
    counts_tokens: bool = False
    answer_tokens: int = NEW_TOKENS
    has_turns: bool = True
    has_beams: bool = True

    @property
    def is_chat(self) -> bool:
        """Whether it is asked by the chat template of its checkpoint."""
        return self.engine == _CHAT.engine

    @property
    def has_vocabulary(self) -> bool:
        """Whether it chooses its answers from a closed vocabulary in its config."""
        return "answer" in self.tasks and not self.is_generative

    def require(self, task: Task, reference: str) -> None:
        """Refuse what it cannot do.

        Raises:
            RequestError: names those that can.
        """
        if task not in self.tasks:
            able = list(dict.fromkeys(family.display_name for family in FAMILIES if task in family.tasks))
            said = f"{self.display_name} does not {_SAYS[task]}; models that do are {', '.join(able)}"
            raise RequestError(f"model {reference.removesuffix(':')}: {said}")

    @property
    def display_name(self) -> str:
        """Its name for a message, with the architecture where the name is shared."""
        shared = sum(family.name == self.name for family in FAMILIES) > 1
        return f"{self.name} ({self.architecture})" if shared else self.name


# Of models that were trained on answers of a few words: the default of transformers' `generate`.
_SHORT_ANSWER = 20

_ALL: frozenset[Task] = frozenset(("answer", "score", "caption"))
_NOT_CAPTION: frozenset[Task] = frozenset(("answer", "score"))

_CHAT = Family(
    name="",
    architecture="",
    tasks=_ALL,
    score_meaning=score_meanings.GENERATIVE,
    shared_work="all up to the question: vision features and the language model's keys and values",
    engine=LazyClass("chat.model", "ChatModel"),
    transform=chat_transform,
    takes_template=False,
    takes_several=True,
)
# Without a chat template: each question by itself, about one image, in words of `chat.prompt_adapters`.
_PLAIN = replace(_CHAT, takes_several=False, has_turns=False)
_CHAT_PREFIX = (
    *("llava", "llava_next", "llava_onevision", "internvl", "idefics3", "smolvlm"),
    *("deepseek_vl", "glm4v", "glm4v_moe", "llava_next_video", "vipllava"),
)
_CHAT_PREFIX_WITH_BOXES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
# Causal from the first token on, image included, so that what stands before a question does not depend on it.
SHARING_A_PREFIX = frozenset({*_CHAT_PREFIX, *_CHAT_PREFIX_WITH_BOXES, "kosmos-2", "fuyu"})
_CHAT_OTHERS = (
    *("idefics2", "aria", "aya_vision", "exaone4_5", "gemma3", "glm46v"),
    *("mllama", "lighton_ocr", "paddleocr_vl", "qianfan_ocr"),
)
_CHAT_OTHERS_WITH_BOXES = ("qwen3_5", "qwen3_5_moe")

_ENCODER = Family(
    name="",
    architecture="",
    tasks=frozenset(("embed",)),
    score_meaning=score_meanings.COSINE,
    shared_work="the vectors of the image, in an index: a search reads no image",
    transform=ClipTransform.from_config,
    is_generative=False,
    takes_template=False,
)

_FAKE = Family(
    name="fake",
    architecture="",
    tasks=_ALL,
    score_meaning=score_meanings.FAKE,
    shared_work="the image's mean colour",
    transform=FakeTransform.from_config,
    engine=LazyClass("fake.model", "FakeModel"),
)
# Models without files, by their whole reference. `fake:quadrants` embeds each quarter of an image by itself.
FAKES: Mapping[str, Family] = {
    "fake:": replace(
        _FAKE, tasks=_FAKE.tasks | {"embed"}, encoder=LazyClass("fake.encoder", "FakeEncoder"), shape=single_vector
    ),
    "fake:boxes": replace(_FAKE, has_boxes=True),
    "fake:quadrants": replace(
        _ENCODER,
        name="fake",
        score_meaning=score_meanings.MULTIPLE_VECTORS,
        transform=FakeTransform.from_config,
        encoder=LazyClass("fake.encoder", "FakeEncoder"),
        shape=vector_per_quadrant,
    ),
}

FAMILIES: tuple[Family, ...] = (
    Family(
        name="vilt",
        architecture="ViltForQuestionAnswering",
        tasks=_NOT_CAPTION,
        score_meaning=score_meanings.SIGMOID,
        shared_work="the patch embedding: question and image attend to each other in every layer",
        engine=LazyClass("vilt.model", "Vilt"),
        transform=ViltTransform.from_config,
        is_generative=False,
        takes_template=False,
    ),
    Family(
        name="blip-2",
        architecture="Blip2ForConditionalGeneration",
        tasks=_ALL,
        score_meaning=score_meanings.GENERATIVE,
        shared_work="vision and Q-Former features; with OPT also the key/value cache of the image's tokens",
        engine=LazyClass("blip.blip2", "Blip2"),
        transform=SquareTransform.from_config,
        counts_tokens=True,
        template="question",
        answer_tokens=_SHORT_ANSWER,
    ),
    Family(
        name="blip",
        architecture="BlipForQuestionAnswering",
        tasks=_NOT_CAPTION,
        score_meaning=score_meanings.GENERATIVE,
        shared_work="vision features",
        engine=LazyClass("blip.blip", "Blip"),
        transform=SquareTransform.from_config,
        answer_tokens=_SHORT_ANSWER,
    ),
    Family(
        name="blip",
        architecture="BlipForConditionalGeneration",
        tasks=frozenset(("caption",)),
        score_meaning=score_meanings.GENERATIVE,
        shared_work="vision features",
        engine=LazyClass("blip.blip", "Blip"),
        transform=SquareTransform.from_config,
    ),
    Family(
        name="instructblip",
        architecture="InstructBlipForConditionalGeneration",
        tasks=_ALL,
        score_meaning=score_meanings.GENERATIVE,
        shared_work="vision features: its Q-Former reads the question",
        engine=LazyClass("blip.instructblip", "InstructBlip"),
        transform=SquareTransform.from_config,
        counts_tokens=True,
    ),
    *(replace(_CHAT, name=name) for name in _CHAT_PREFIX),
    *(replace(_CHAT, name=name, has_boxes=True) for name in _CHAT_PREFIX_WITH_BOXES),
    *(replace(_CHAT, name=name, shared_work="the processed image") for name in _CHAT_OTHERS),
    *(replace(_CHAT, name=name, shared_work="the processed image", has_boxes=True) for name in _CHAT_OTHERS_WITH_BOXES),
    replace(_PLAIN, name="paligemma", shared_work="the processed image"),
    replace(_PLAIN, name="kosmos-2", transform=whole_square, has_boxes=True),
    replace(_PLAIN, name="fuyu", has_beams=False),
    Family(
        name="florence2",
        architecture="",
        tasks=_ALL,
        score_meaning=score_meanings.GENERATIVE,
        shared_work="vision features: its encoder reads image and question together",
        engine=LazyClass("florence2.model", "Florence2"),
        transform=SquareTransform.from_uncropped_config,
        takes_template=False,
        has_boxes=True,
        has_turns=False,
    ),
    replace(
        _ENCODER,
        name="clip",
        architecture="CLIPModel",
        transform=ClipTransform.from_config,
        encoder=LazyClass("encoders.clip", "ClipEncoder"),
        shape=clip_shape,
    ),
    replace(
        _ENCODER,
        name="siglip",
        architecture="SiglipModel",
        transform=SquareTransform.from_siglip_config,
        encoder=LazyClass("encoders.siglip", "SiglipEncoder"),
        shape=siglip_shape,
    ),
    replace(
        _ENCODER,
        name="blip-2",
        architecture="Blip2ForImageTextRetrieval",
        score_meaning=score_meanings.MULTIPLE_VECTORS,
        transform=SquareTransform.from_config,
        encoder=LazyClass("encoders.blip2", "Blip2Encoder"),
        shape=blip2_shape,
    ),
)


def family_of(reference: str, config: Mapping[str, Any]) -> Family:
    """Find the family of a checkpoint.

    Args:
        reference: as the user gave it, for messages.
        config: its config.json.

    Raises:
        ModelLoadError: no family has its `model_type`, or none of that type its architecture.
    """
    kind = config.get("model_type")
    named = [family for family in FAMILIES if family.name == kind]
    if isinstance(kind, str) and kind in REFUSED:
        raise ModelLoadError(f"model {reference}: {kind} is not supported: {REFUSED[kind]}")
    if not named:
        known = ", ".join(dict.fromkeys(family.name for family in FAMILIES))
        raise ModelLoadError(
            f"model {reference}: model_type {kind!r} of config.json is not supported; there are {known}"
        )
    found = [str(name) for name in config.get("architectures") or []]
    for family in named:
        if not family.architecture or family.architecture in found:
            return family
    wanted = " or ".join(family.architecture for family in named)
    raise ModelLoadError(
        f"model {reference}: architecture {', '.join(found) or 'unknown'} of {kind} is not supported, wanted {wanted}"
    )
