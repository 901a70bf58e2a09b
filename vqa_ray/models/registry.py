"""The model families: what each is called, can do and shares, and where its code is. The one table of them.

Light: an engine, and torch with it, is imported when a model of its family is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.generation.config import NEW_TOKENS
from vqa_ray.models.generation.config import SCORE_MEANING as GENERATIVE_SCORE
from vqa_ray.models.refused_families import REFUSED

Task = Literal["answer", "score", "caption", "embed"]

COSINE_SCORE = "cosine of the vectors of text and image, or of two images, between -1 and 1; not a probability"
MULTIPLE_VECTORS_SCORE = (
    "largest cosine of the text's vector and one of the image's, or the mean of those of a query image's vectors; "
    "between -1 and 1; not a probability"
)

_SAYS = {"answer": "answer questions", "score": "score choices", "caption": "caption", "embed": "embed images"}


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of model.

    Attributes:
        name: the `model_type` of its config.json.
        architecture: in `architectures` of its config.json; empty where the `model_type` says it all.
        tasks: what it can do: `answer` questions, `score` choices (tags, yes/no), `caption`, `embed` images and texts.
        score_meaning: what a score of its answers, or of a text and an image it has embedded, is; one line.
        shares: what several questions of one image share, one line.
        engine: module and class that load it.
        transform: module whose `transform_from_config` makes its image transform; light.
        is_generative: whether it writes its answers, so that it takes a context, beams and a length.
        takes_template: whether `--prompt-template` decides how it is asked.
        template: the style of `vqa_ray.models.generation.prompts` in which it is asked without.
        has_boxes: whether its answers can point at places in the image.
        takes_several: whether a question may be about several images.
        counts_tokens: whether its config and its processor must agree on an image's tokens in the text.
        has_turns: whether, being generative, it takes earlier turns and a beginning of its captions.
        answer_tokens: limit of an answer's new tokens where neither the user nor the prompt style sets one.
    """

    name: str
    architecture: str
    tasks: frozenset[Task]
    score_meaning: str
    shares: str
    engine: tuple[str, str]
    transform: str
    is_generative: bool = True
    takes_template: bool = True
    template: str = "plain"
    has_boxes: bool = False
    takes_several: bool = False
    counts_tokens: bool = False
    answer_tokens: int = NEW_TOKENS
    has_turns: bool = True

    @property
    def is_chat(self) -> bool:
        """Whether it is asked by the chat template of its checkpoint."""
        return self.engine == _CHAT.engine

    @property
    def has_vocabulary(self) -> bool:
        """Whether it chooses its answers from a closed vocabulary in its config."""
        return "answer" in self.tasks and not self.is_generative

    def load_engine(self) -> Any:
        """The class that loads it; imports torch."""
        module, name = self.engine
        return getattr(importlib.import_module(f"vqa_ray.models.{module}"), name)

    def require(self, task: Task, reference: str) -> None:
        """Refuse what it cannot do.

        Raises:
            RequestError: names those that can.
        """
        if task not in self.tasks:
            able = list(dict.fromkeys(family.told for family in FAMILIES if task in family.tasks))
            raise RequestError(
                f"model {reference}: {self.told} does not {_SAYS[task]}; models that do are {', '.join(able)}"
            )

    @property
    def told(self) -> str:
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
    score_meaning=GENERATIVE_SCORE,
    shares="all up to the question: vision features and the language model's keys and values",
    engine=("chat.model", "ChatModel"),
    transform="transforms.chat",
    takes_template=False,
    takes_several=True,
)
_CHAT_PREFIX = (
    *("llava", "llava_next", "llava_onevision", "internvl", "idefics3", "smolvlm"),
    *("deepseek_vl", "glm4v", "glm4v_moe", "llava_next_video", "vipllava"),
)
_CHAT_PREFIX_WITH_BOXES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
# Causal from the first token on, image included, so that what stands before a question does not depend on it.
SHARING_A_PREFIX = frozenset({*_CHAT_PREFIX, *_CHAT_PREFIX_WITH_BOXES})
_CHAT_OTHERS = (
    "idefics2",
    "aria",
    "aya_vision",
    "exaone4_5",
    "gemma3",
    "glm46v",
    "mllama",
    "lighton_ocr",
    "paddleocr_vl",
    "qianfan_ocr",
)
_CHAT_OTHERS_WITH_BOXES = ("qwen3_5", "qwen3_5_moe")

_ENCODER = Family(
    name="",
    architecture="",
    tasks=frozenset(("embed",)),
    score_meaning=COSINE_SCORE,
    shares="the vectors of the image, in an index: a search reads no image",
    engine=("", ""),
    transform="",
    is_generative=False,
    takes_template=False,
)

_FAKE = Family(
    name="fake",
    architecture="",
    tasks=_ALL,
    score_meaning="a deterministic function of the image's mean colour and the question, between 0 and 1",
    shares="the image's mean colour",
    engine=("fake.model", "FakeModel"),
    transform="fake.model",
)
# Models without files, by their whole reference. `fake:quadrants` embeds each quarter of an image by itself.
FAKES: Mapping[str, Family] = {
    "fake:": replace(_FAKE, tasks=_FAKE.tasks | {"embed"}),
    "fake:boxes": replace(_FAKE, has_boxes=True),
    "fake:quadrants": replace(
        _ENCODER,
        name="fake",
        score_meaning=MULTIPLE_VECTORS_SCORE,
        engine=("fake.encoder", "FakeEncoder"),
        transform="fake.model",
    ),
}

FAMILIES: tuple[Family, ...] = (
    Family(
        name="vilt",
        architecture="ViltForQuestionAnswering",
        tasks=_NOT_CAPTION,
        score_meaning="sigmoid of the answer's logit; answers are scored independently, so scores do not sum to 1",
        shares="the patch embedding: question and image attend to each other in every layer",
        engine=("vilt.model", "Vilt"),
        transform="transforms.vilt",
        is_generative=False,
        takes_template=False,
    ),
    Family(
        name="blip-2",
        architecture="Blip2ForConditionalGeneration",
        tasks=_ALL,
        score_meaning=GENERATIVE_SCORE,
        shares="vision and Q-Former features; with OPT also the key/value cache of the image's tokens",
        engine=("blip.blip2", "Blip2"),
        transform="transforms.square",
        counts_tokens=True,
        template="question",
        answer_tokens=_SHORT_ANSWER,
    ),
    Family(
        name="blip",
        architecture="BlipForQuestionAnswering",
        tasks=_NOT_CAPTION,
        score_meaning=GENERATIVE_SCORE,
        shares="vision features",
        engine=("blip.blip", "Blip"),
        transform="transforms.square",
        answer_tokens=_SHORT_ANSWER,
    ),
    Family(
        name="blip",
        architecture="BlipForConditionalGeneration",
        tasks=frozenset(("caption",)),
        score_meaning=GENERATIVE_SCORE,
        shares="vision features",
        engine=("blip.blip", "Blip"),
        transform="transforms.square",
    ),
    Family(
        name="instructblip",
        architecture="InstructBlipForConditionalGeneration",
        tasks=_ALL,
        score_meaning=GENERATIVE_SCORE,
        shares="vision features: its Q-Former reads the question",
        engine=("blip.instructblip", "InstructBlip"),
        transform="transforms.square",
        counts_tokens=True,
    ),
    *(replace(_CHAT, name=name) for name in _CHAT_PREFIX),
    *(replace(_CHAT, name=name, has_boxes=True) for name in _CHAT_PREFIX_WITH_BOXES),
    *(replace(_CHAT, name=name, shares="the processed image") for name in _CHAT_OTHERS),
    *(replace(_CHAT, name=name, shares="the processed image", has_boxes=True) for name in _CHAT_OTHERS_WITH_BOXES),
    replace(_CHAT, name="paligemma", shares="the processed image", takes_several=False, has_turns=False),
    replace(
        _ENCODER,
        name="clip",
        architecture="CLIPModel",
        engine=("encoders.clip", "ClipEncoder"),
        transform="transforms.clip",
    ),
    replace(
        _ENCODER,
        name="siglip",
        architecture="SiglipModel",
        engine=("encoders.siglip", "SiglipEncoder"),
        transform="transforms.siglip",
    ),
    replace(
        _ENCODER,
        name="blip-2",
        architecture="Blip2ForImageTextRetrieval",
        score_meaning=MULTIPLE_VECTORS_SCORE,
        engine=("encoders.blip2", "Blip2Encoder"),
        transform="transforms.square",
    ),
)


def family_of(reference: str, config: Mapping[str, Any]) -> Family:
    """The family of a checkpoint.

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
        raise ModelLoadError(
            f"model {reference}: model_type {kind!r} of config.json is not supported; there are {_names(FAMILIES)}"
        )
    found = config.get("architectures") or []
    for family in named:
        if not family.architecture or family.architecture in found:
            return family
    wanted = " or ".join(family.architecture for family in named)
    raise ModelLoadError(
        f"model {reference}: architecture {', '.join(found) or 'unknown'} of {kind} is not supported, wanted {wanted}"
    )


def _names(families: Iterable[Family]) -> str:
    return ", ".join(dict.fromkeys(family.name for family in families))
