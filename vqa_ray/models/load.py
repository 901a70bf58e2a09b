"""The options of loading and prompting a model, which load it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

from vqa_ray.cache.answer_cache import AnswerCache
from vqa_ray.cache.keys import context_key
from vqa_ray.errors import RequestError
from vqa_ray.former_names import getter
from vqa_ray.models import familiarity
from vqa_ray.models.cached_model import CachedModel
from vqa_ray.models.chat.vllm_options import check_vllm
from vqa_ray.models.checkpoint.adapter import adapter_of, require_peft
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.endpoint.family import ENDPOINT
from vqa_ray.models.endpoint.options import EndpointOptions
from vqa_ray.models.float16 import HALF, half_refusal
from vqa_ray.models.generation.config import NEW_TOKENS, GenerationConfig
from vqa_ray.models.generation.prompts import prompting
from vqa_ray.models.protocols import Encoder, VqaModel
from vqa_ray.models.registry import VLLM

logger = logging.getLogger(__name__)

Engine = Literal["transformers", "vllm"]

# Fields of `ModelOptions` that decide no answer, or that something else in the key stands for.
_NOT_OF_ANSWERS = frozenset(
    {
        *("reference", "device", "compile", "max_new_tokens", "num_beams"),
        *("endpoint", "is_beside_endpoint", "revisions", "opened", "cache"),
    }
)

# Language models that encode the prompt before they answer; the length penalty of a prompt style applies to them alone.
_ENCODER_DECODERS = ("t5",)


@dataclass(frozen=True)
class ModelOptions:
    """A model, and how it is loaded and prompted; small enough to travel to workers.

    Attributes:
        reference: see `checkpoint.files.locate`.
        device: `cpu`, `cuda`, `cuda:1`, …; None takes CUDA where there is one, and where a large generative model
            sees several, spreads it over them.
        dtype: `float32`, `bfloat16` or `float16`; None takes the best of the device, see `choose_dtype`.
        compile: run the network through `torch.compile` (CUDA only).
        prompt_template: a style of `vqa_ray.models.generation.prompts` or a template; None for the family's own.
        max_new_tokens: the most tokens of an answer or caption; None for the style's or the family's own limit.
        num_beams: of the search; None for the style's own, or the likeliest token each time.
        engine: `transformers`, our own on torch and transformers; `vllm`, for chat models.
        engine_options: further arguments of vLLM's engine.
        lora: a LoRA adapter to put on the model, `NAME=DIRECTORY`.
        max_pixels: the largest area of an image; None for the checkpoint's own, see `Checkpoint.limited`.
        endpoint: of an `openai:` model.
        is_beside_endpoint: another model of the run is behind an endpoint.
        revisions: of the checkpoint that the command opened: workers read the same, see `Checkpoint.revisions`.
        opened: the checkpoint, in the process that opened it; it does not travel.
        cache: where answers are found before the model is asked; None for no cache.
    """

    reference: str
    device: str | None = None
    dtype: str | None = None
    compile: bool = False
    prompt_template: str | None = None
    max_new_tokens: int | None = None
    num_beams: int | None = None
    engine: Engine = "transformers"
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    lora: str | None = None
    max_pixels: int | None = None
    endpoint: EndpointOptions | None = None
    is_beside_endpoint: bool = False
    revisions: Mapping[str, str] = field(default_factory=dict, repr=False)
    opened: Checkpoint | None = field(default=None, repr=False, compare=False)
    cache: AnswerCache | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, checkpoint: Checkpoint, **options: Any) -> Self:
        """Return options for a model that is open."""
        return cls(
            checkpoint.reference, lora=checkpoint.lora, revisions=checkpoint.revisions, opened=checkpoint, **options
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the opened checkpoint behind: another node has the files elsewhere."""
        return self.__dict__ | {"opened": None}

    @property
    def checkpoint(self) -> Checkpoint:
        """The model as this process has opened it; opened now if it was not.

        Raises:
            ModelLoadError: see `Checkpoint.open`.
            RequestError: see `Checkpoint.limited`.
        """
        return (self.opened or Checkpoint.open(self.reference, self.revisions, self.lora)).limited(self.max_pixels)

    def check(self) -> None:
        """Refuse options that do not apply to the model.

        Raises:
            RequestError: names the option and the family, or the part of the model that overflows in float16.
        """
        checkpoint = self.checkpoint
        family, label = checkpoint.family, checkpoint.label
        if self.prompt_template is not None:
            prompting(self.prompt_template)
            if not family.takes_template:
                own = "it has prompts of its own" if family.is_generative else "it takes no prompt"
                own = "its chat template says how it is asked" if family.is_chat and family.has_turns else own
                raise RequestError(f"--prompt-template: {label}: {family.display_name}: {own}")
        for name in ("max_new_tokens", "num_beams"):
            if getattr(self, name) is not None and not family.is_generative:
                raise RequestError(
                    f"--{name.replace('_', '-')}: {label}: {family.display_name} chooses among the answers of its "
                    "vocabulary and writes none"
                )
        if family == ENDPOINT:
            self._check_endpoint()
        if self.engine == "vllm":
            check_vllm(checkpoint, self.num_beams, self.device)
        elif checkpoint.path is not None and adapter_of(checkpoint.path) is not None:
            require_peft(label)
        if (self.num_beams or 1) > 1 and not family.has_beams:
            raise RequestError(
                f"--num-beams {self.num_beams}: {label}: {family.display_name} takes the likeliest token each time: "
                "transformers repeats its images wrongly in a beam search"
            )
        refusal = half_refusal(checkpoint.config) if self.dtype == HALF else None
        if refusal:
            raise RequestError(f"--dtype float16: {label}: {refusal}")

    def _check_endpoint(self) -> None:
        label = self.checkpoint.label
        if self.endpoint is None:
            raise RequestError(f"{label}: needs --base-url, the endpoint that serves it")
        decided = {
            "--engine": self.engine != "transformers",
            "--device": self.device not in (None, "cpu"),
            "--dtype": self.dtype is not None,
            "--compile": self.compile,
            "--num-beams": (self.num_beams or 1) > 1,
        }
        for name, is_given in decided.items():
            if is_given:
                raise RequestError(f"{name}: {label}: is decided by the endpoint")

    @property
    def concurrent_calls(self) -> int:
        """How many calls the model takes at a time: vLLM and endpoints take the next batch beside this one."""
        return 2 if self.engine == "vllm" or self.endpoint else 1

    @property
    def reports_usage(self) -> bool:
        """Whether rows say what an endpoint took for them."""
        return self.endpoint is not None or self.is_beside_endpoint

    def share(self, actors: int) -> Self:
        """Return the options of one of several actors, which share the connections to an endpoint."""
        return self if self.endpoint is None else replace(self, endpoint=self.endpoint.share(actors))

    def generation(self) -> GenerationConfig:
        """Return limits and search of a generative model: as given, else of the prompt style, else of the family.

        Raises:
            RequestError: `max_new_tokens` exceeds the model's context.
        """
        checkpoint = self.checkpoint
        style = prompting(self.prompt_template or checkpoint.family.template)
        config = checkpoint.config
        text = config.get("text_config") or {}
        penalty = style.length_penalty if text.get("model_type") in _ENCODER_DECODERS else None
        context = _context(config, text)
        if context is not None and (self.max_new_tokens or 0) >= context:
            raise RequestError(
                f"--max-new-tokens {self.max_new_tokens}: {checkpoint.label} holds {context} tokens of image, prompt "
                f"and answer in all; allowed are at most {context - 1}"
            )
        # Defaults leave at least half of the context to image and prompt.
        most = NEW_TOKENS if context is None else max(1, context // 2)
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens or style.max_new_tokens or min(checkpoint.family.answer_tokens, most),
            caption_max_new_tokens=self.max_new_tokens or min(NEW_TOKENS, most),
            num_beams=self.num_beams or style.num_beams or 1,
            length_penalty=1.0 if penalty is None else penalty,
        )

    def cache_context(self) -> str:
        """Return the part of the keys of a cache that says who answers, and how.

        The device and, where none is given, the precision are no part of it, as they are none of a run.
        """
        checkpoint, endpoint = self.checkpoint, self.endpoint
        facts = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _NOT_OF_ANSWERS}
        facts |= {"family": checkpoint.family_name, "fingerprint": checkpoint.fingerprint}
        facts["reference"] = self.reference if checkpoint.files is None else None
        facts["prompting"] = repr(prompting(self.prompt_template or checkpoint.family.template))
        facts["generation"] = repr(self.generation()) if checkpoint.family.is_generative else None
        facts["endpoint"] = endpoint and [endpoint.base_url, endpoint.image_encoding]
        return context_key(facts)

    def load(self) -> VqaModel:
        """Load the model; a `GenerativeModel` where the family is generative. With a cache, the first miss loads it.

        Raises:
            ModelLoadError: see `Checkpoint.open`; also a device or dtype that does not exist, or damaged weights.
            RequestError: an option that does not apply to the family, or a family that answers no questions.
        """
        if self.opened is None:
            return replace(self, opened=self.checkpoint).load()
        checkpoint, family = self.checkpoint, self.opened.family
        self.check()
        if self.cache is not None:
            load = replace(self, cache=None).load
            return CachedModel(load, checkpoint.label, self.cache, self.cache_context(), checkpoint.vocabulary)
        if family.engine is None:
            family.require("answer", self.reference)
            raise AssertionError(f"{family.name} answers and has no engine")
        given: dict[str, Any] = {"device": self.device, "dtype": self.dtype, "compile": self.compile}
        if family.takes_template:
            given["prompting"] = prompting(self.prompt_template or family.template)
        if family.is_generative:
            given["generation"] = self.generation()
        kind = family.engine
        if self.engine == "vllm":
            kind, given["engine_options"] = VLLM, self.engine_options
        if self.endpoint is not None:
            given["endpoint"] = self.endpoint
        model: VqaModel = kind.load().from_checkpoint(checkpoint, **given)
        measured = checkpoint.path / familiarity.FILE if checkpoint.path else None
        if measured is not None and measured.is_file():
            return familiarity.FamiliarityWarnings(model, familiarity.Familiarity.read(measured))
        return model

    def load_encoder(self) -> Encoder:
        """Load the dual encoder.

        Raises:
            ModelLoadError: see `load`.
            RequestError: the family does not embed images.
        """
        if self.compile:
            logger.warning("model %s: --compile has no effect on encoders", self.reference)
        checkpoint = self.checkpoint
        kind = checkpoint.family.encoder
        if kind is None:
            checkpoint.family.require("embed", self.reference)
            raise AssertionError(f"{checkpoint.family_name} embeds and has no encoder")
        encoder: Encoder = kind.load().from_checkpoint(checkpoint, device=self.device, dtype=self.dtype)
        return encoder


def _context(config: Mapping[str, Any], text: Mapping[str, Any]) -> int | None:
    """Return the tokens that a model holds in all, if its config names them."""
    sizes = (text.get("max_position_embeddings"), config.get("max_position_embeddings"))
    return next((size for size in sizes if isinstance(size, int) and size > 0), None)


# Names that scripts of release 0.1 import from here.
__getattr__ = getter(__name__)
