"""A model reference → its family, its image transform and the loaded model."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.models import familiarity
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint import files as checkpoint
from vqa_ray.models.checkpoint.completeness import check_parts
from vqa_ray.models.encoders.shape import shape_from_config
from vqa_ray.models.float16 import HALF, half_refusal
from vqa_ray.models.generation.config import NEW_TOKENS, GenerationConfig
from vqa_ray.models.generation.prompts import prompting
from vqa_ray.models.protocols import Encoder, VqaModel
from vqa_ray.models.registry import COSINE_SCORE, FAKES, MULTIPLE_VECTORS_SCORE, Family, family_of
from vqa_ray.types import EmbeddingShape, ImageTransform

logger = logging.getLogger(__name__)

# Of the language models that encode the prompt before they answer: a style's length penalty is theirs alone.
_ENCODER_DECODERS = ("t5",)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model without loading its weights.

    Attributes:
        reference: as the user gave it.
        path: the local directory; None for `fake:`.
        kind: its family, and what that can do.
        fingerprint: changes when the weights, the vocabulary or the preprocessing change.
        notes: what a person should know of where it comes from, one line each.
    """

    reference: str
    path: Path | None
    kind: Family
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """`vilt`, `blip-2`, …"""
        return self.kind.name

    @property
    def score_meaning(self) -> str:
        """What a score of this family is, one line."""
        return self.kind.score_meaning

    @property
    def similarity_meaning(self) -> str:
        """What a score of a text and an image is that this model has embedded, one line."""
        return COSINE_SCORE if embedding_shape(self.reference).vectors == 1 else MULTIPLE_VECTORS_SCORE


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """A model, and how it is loaded and asked.

    Attributes:
        reference: see `checkpoint.local_directory`.
        device: `cpu`, `cuda`, `cuda:1`, …; None takes CUDA where there is one, and where a large generative model
            sees several, spreads it over them.
        dtype: `float32`, `bfloat16` or `float16`; None takes the best of the device, see `choose_dtype`.
        compile: run the network through `torch.compile` (CUDA only).
        prompt_template: a style of `vqa_ray.models.generation.prompts` or a template; None for the family's own.
        max_new_tokens: the most tokens of an answer or caption; None for the style's or the family's own limit.
        num_beams: of the search; None for the style's own, or the likeliest token each time.
    """

    reference: str
    device: str | None = None
    dtype: str | None = None
    compile: bool = False
    prompt_template: str | None = None
    max_new_tokens: int | None = None
    num_beams: int | None = None

    def check(self, family: Family) -> None:
        """Refuse what a family knows nothing of.

        Raises:
            RequestError: names the option and the family.
        """
        if self.prompt_template is not None:
            prompting(self.prompt_template)
            if not family.takes_template:
                own = "its chat template says how it is asked" if family.is_generative else "it takes no prompt"
                raise RequestError(f"--prompt-template: model {self.reference}: {family.told}: {own}")
        for name in ("max_new_tokens", "num_beams"):
            if getattr(self, name) is not None and not family.is_generative:
                raise RequestError(
                    f"--{name.replace('_', '-')}: model {self.reference}: {family.told} chooses among the answers of "
                    "its vocabulary and writes none"
                )

    def check_dtype(self, info: ModelInfo) -> None:
        """Refuse float16 for a model that overflows in it.

        Raises:
            RequestError: names the part of the model that does.
        """
        if self.dtype == HALF and info.path is not None:
            refusal = half_refusal(checkpoint.read_json(info.path, "config.json"))
            if refusal:
                raise RequestError(f"--dtype float16: model {self.reference}: {refusal}")

    def generation(self, info: ModelInfo) -> GenerationConfig:
        """Limits and search of a generative model: as given, else of the prompt style, else of the family.

        Raises:
            RequestError: `max_new_tokens` exceeds the model's context.
        """
        style = prompting(self.prompt_template or info.kind.template)
        config = {} if info.path is None else checkpoint.read_json(info.path, "config.json")
        text = config.get("text_config") or {}
        penalty = style.length_penalty if text.get("model_type") in _ENCODER_DECODERS else None
        context = _context(config, text)
        if context is not None and (self.max_new_tokens or 0) >= context:
            raise RequestError(
                f"--max-new-tokens {self.max_new_tokens}: model {self.reference} holds {context} tokens of image, "
                f"prompt and answer in all; allowed are at most {context - 1}"
            )
        # Defaults leave at least half of the context to image and prompt.
        most = NEW_TOKENS if context is None else max(1, context // 2)
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens or style.max_new_tokens or min(info.kind.answer_tokens, most),
            caption_max_new_tokens=self.max_new_tokens or min(NEW_TOKENS, most),
            num_beams=self.num_beams or style.num_beams or 1,
            length_penalty=1.0 if penalty is None else penalty,
        )

    def load_encoder(self) -> Encoder:
        """The encoder; see `load_encoder`."""
        if self.compile:
            logger.warning("model %s: --compile has no effect on encoders", self.reference)
        return load_encoder(self.reference, device=self.device, dtype=self.dtype)

    def load(self) -> VqaModel:
        """The model; see `load_model`."""
        return load_model(
            self.reference,
            device=self.device,
            dtype=self.dtype,
            compile=self.compile,
            prompt_template=self.prompt_template,
            max_new_tokens=self.max_new_tokens,
            num_beams=self.num_beams,
        )


def describe(reference: str) -> ModelInfo:
    """Find a model and check that it is whole, without torch.

    Raises:
        ModelLoadError: no such model, an unknown family, a part that is missing or damaged or does not fit another.
    """
    if reference in FAKES:
        return ModelInfo(reference, None, FAKES[reference], "fake-1")
    found = checkpoint.locate(reference)
    path = found.path
    config = checkpoint.read_json(path, "config.json")
    family = family_of(reference, config)
    _transform(family, path)
    if family.counts_tokens:
        checkpoint.check_image_token(path)
    weights = check_parts(path, config, f"model {reference}", has_vocabulary=family.has_vocabulary)
    if "embed" in family.tasks:
        shape_from_config(family.name, config, f"model {path}")
    notes = (*found.told, *weights.notes(reference))
    return ModelInfo(reference, path, family, checkpoint.fingerprint(path), notes)


def load_transform(reference: str) -> ImageTransform:
    """The image transform of a model: light, picklable, no weights, no torch.

    Raises:
        ModelLoadError: see `describe`.
    """
    if reference in FAKES:
        from vqa_ray.models.fake.model import FakeTransform

        return FakeTransform()
    path = checkpoint.local_directory(reference)
    return _transform(family_of(reference, checkpoint.read_json(path, "config.json")), path)


def load_vocabulary(reference: str) -> AnswerVocabulary | None:
    """The closed vocabulary that a model answers from, without its weights; None when it answers freely.

    Raises:
        ModelLoadError: see `describe`; also a checkpoint without a vocabulary.
    """
    if reference in FAKES:
        return None
    path = checkpoint.local_directory(reference)
    config = checkpoint.read_json(path, "config.json")
    if not family_of(reference, config).has_vocabulary:
        return None
    return AnswerVocabulary.from_config(config, f"model {path}")


def load_model(
    reference: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    compile: bool = False,
    prompt_template: str | None = None,
    max_new_tokens: int | None = None,
    num_beams: int | None = None,
) -> VqaModel:
    """Load the weights; a `GenerativeModel` where the family is generative.

    Args:
        reference, device, dtype, compile, prompt_template, max_new_tokens, num_beams: see `ModelOptions`.

    Raises:
        ModelLoadError: see `describe`; also a device or dtype that does not exist.
        RequestError: an option that the family knows nothing of.
    """
    info = describe(reference)
    options = ModelOptions(reference, device, dtype, compile, prompt_template, max_new_tokens, num_beams)
    options.check(info.kind)
    if info.kind.tasks == {"embed"}:
        info.kind.require("answer", reference)
    if info.path is None:
        from vqa_ray.models.fake.model import FakeModel

        return FakeModel(
            prompting(prompt_template or info.kind.template),
            has_boxes=info.kind.has_boxes,
            max_new_tokens=options.generation(info).max_new_tokens,
        )
    given: dict[str, Any] = {"device": device, "dtype": dtype, "compile": compile}
    style = prompting(prompt_template or info.kind.template)
    if info.kind.takes_template:
        given["prompting"] = style
    if info.kind.is_generative:
        given["generation"] = options.generation(info)
    model: VqaModel = info.kind.load_engine().from_directory(info.path, **given)
    measured = info.path / familiarity.FILE
    if measured.is_file():
        return familiarity.FamiliarityWarnings(model, familiarity.Familiarity.read(measured))
    return model


def load_encoder(reference: str, *, device: str | None = None, dtype: str | None = None) -> Encoder:
    """Load a dual encoder.

    Args:
        reference, device, dtype: see `ModelOptions`.

    Raises:
        ModelLoadError: see `describe`; also weights that are missing or do not fit the config.
        RequestError: the family does not embed images.
    """
    info = describe(reference)
    info.kind.require("embed", reference)
    if info.path is None:
        from vqa_ray.models.fake.encoder import FakeEncoder

        return FakeEncoder(embedding_shape(reference).vectors)
    encoder: Encoder = info.kind.load_engine().from_directory(info.path, device=device, dtype=dtype)
    return encoder


def embedding_shape(reference: str) -> EmbeddingShape:
    """How many vectors an image becomes and how long they are, from the config alone.

    Raises:
        ModelLoadError: see `describe`; also a config that does not say.
        RequestError: the family does not embed images.
    """
    info = describe(reference)
    info.kind.require("embed", reference)
    if info.path is None:
        from vqa_ray.models.fake.encoder import SHAPES

        return SHAPES[reference]
    return shape_from_config(info.family, checkpoint.read_json(info.path, "config.json"), f"model {info.path}")


def _context(config: Mapping[str, Any], text: Mapping[str, Any]) -> int | None:
    """Tokens that a model holds in all, where its config says."""
    sizes = (text.get("max_position_embeddings"), config.get("max_position_embeddings"))
    return next((size for size in sizes if isinstance(size, int) and size > 0), None)


def _transform(family: Family, path: Path) -> ImageTransform:
    module = importlib.import_module(f"vqa_ray.models.{family.transform}")
    transform: ImageTransform = module.transform_from_config(checkpoint.image_processor_config(path), f"model {path}")
    return transform
