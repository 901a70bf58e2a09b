"""A model that was opened: family, config, image transform, vocabulary and origin, without its weights. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from vqa_ray.errors import RequestError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.checkpoint.adapted import locate_adapted
from vqa_ray.models.checkpoint.completeness import check_image_token, check_parts
from vqa_ray.models.checkpoint.file_selection import CONFIG
from vqa_ray.models.checkpoint.files import CheckpointFiles, locate, pinned
from vqa_ray.models.checkpoint.fingerprint import fingerprint
from vqa_ray.models.checkpoint.json_files import image_processor_config, parse_json
from vqa_ray.models.checkpoint.weight_files import WeightFiles
from vqa_ray.models.endpoint.family import ENDPOINT, PREFIX, model_name
from vqa_ray.models.registry import FAKES, Family, family_of
from vqa_ray.models.score_meanings import similarity_meaning
from vqa_ray.models.transforms.chat import WholePatches, within_pixels
from vqa_ray.types import EmbeddingShape, ImageTransform

# Of models without files.
_NO_FILES = "fake-1"


@dataclass(frozen=True)
class Checkpoint:
    """A model whose small files were read and checked, once for a command; its weights are not loaded.

    Attributes:
        reference: as the user gave it.
        family: its family, with what that can do.
        transform: the size of its images.
        config: its config.json; empty without files.
        vocabulary: the answers it chooses from; None if it writes its answers or embeds images.
        files: where they are on this machine; None for `fake:` and `openai:`.
        weights: their files; None for `fake:` and `openai:`.
        max_pixels: the largest area of its images, where a command bounds it.
        lora: the adapter that was put on it, as the user gave it.
    """

    reference: str
    family: Family
    transform: ImageTransform
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    vocabulary: AnswerVocabulary | None = field(default=None, repr=False, compare=False)
    files: CheckpointFiles | None = field(default=None, repr=False)
    weights: WeightFiles | None = field(default=None, repr=False)
    max_pixels: int | None = None
    lora: str | None = None

    @classmethod
    def open(cls, reference: str, revisions: Mapping[str, str] | None = None, lora: str | None = None) -> Self:
        """Find a model, read its small files and check that it is whole.

        Args:
            reference: see `files.locate`.
            revisions: those of the checkpoint that another process opened, to read the same files.
            lora: an adapter to put on it, see `locate_adapted`.

        Raises:
            RequestError: an adapter for a model without files.
            ModelLoadError: no such model, an unknown family, or a part that is missing, damaged or does not fit
                another.
        """
        label = f"model {reference.removesuffix(':')}"
        if lora is not None and (reference in FAKES or reference.startswith(PREFIX)):
            raise RequestError(f"--lora {lora}: {label} has no weights here that an adapter could change")
        if reference in FAKES:
            return cls(reference, FAKES[reference], FAKES[reference].transform({}, label))
        if reference.startswith(PREFIX):
            model_name(reference)
            return cls(reference, ENDPOINT, ENDPOINT.transform({}, label))
        files = locate(reference, revisions) if lora is None else locate_adapted(reference, lora, revisions)
        config = parse_json(files.config, files.path, CONFIG)
        family = family_of(reference, config)
        transform = family.transform(image_processor_config(files.path), label)
        if family.counts_tokens:
            check_image_token(files.path, config, label)
        vocabulary = AnswerVocabulary.from_config(config, label) if family.has_vocabulary else None
        weights = check_parts(files.path, config, label, vocabulary)
        if family.shape is not None:
            family.shape(config, label)
        return cls(reference, family, transform, config, vocabulary, files, weights, lora=lora)

    def limited(self, max_pixels: int | None) -> Self:
        """Return the model with images of at most `max_pixels`; itself without a bound.

        Raises:
            RequestError: see `within_pixels`.
        """
        if max_pixels is None or max_pixels == self.max_pixels:
            return self
        return replace(self, transform=within_pixels(self.transform, max_pixels, self.label), max_pixels=max_pixels)

    @property
    def kept_size(self) -> dict[str, int] | None:
        """The `size` that keeps an image processor from resizing images again; None where no command bounds them."""
        return self.transform.kept_size if self.max_pixels and isinstance(self.transform, WholePatches) else None

    @property
    def label(self) -> str:
        """Its name at the beginning of a message; `fake:` has a colon of its own."""
        return f"model {self.reference.removesuffix(':')}"

    def record(self, score_meaning: str) -> dict[str, str]:
        """Describe it for the records of runs and the metadata of tables."""
        return {
            "reference": self.reference,
            "family": self.family_name,
            "fingerprint": self.fingerprint,
            "score_meaning": score_meaning,
        }

    @property
    def path(self) -> Path | None:
        """Its local directory; None for `fake:` and `openai:`."""
        return None if self.files is None else self.files.path

    @property
    def directory(self) -> Path:
        """Its local directory, for a family that has one."""
        assert self.files is not None, "no files"
        return self.files.path

    @property
    def revisions(self) -> Mapping[str, str]:
        """The revision of each remote reference that was read; another process that opens these reads the same."""
        return {} if self.files is None else self.files.revisions

    @property
    def pinned(self) -> str:
        """See `files.pinned`."""
        return pinned(self.reference, self.revisions)

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts about its origin that a user should see, one line each."""
        if self.files is None or self.weights is None:
            return ()
        return (*self.files.notes, *self.weights.notes(self.reference))

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the weights, the vocabulary or the preprocessing; computed when first used."""
        return _NO_FILES if self.files is None else fingerprint(self.files.path, {CONFIG: self.files.config})

    @property
    def family_name(self) -> str:
        """`vilt`, `blip-2`, …"""
        return self.family.name

    @property
    def score_meaning(self) -> str:
        """The meaning of an answer's score, one line."""
        return self.family.score_meaning

    @property
    def shape(self) -> EmbeddingShape:
        """The number and length of the vectors of an image.

        Raises:
            RequestError: the family does not embed images.
        """
        self.family.require("embed", self.reference)
        assert self.family.shape is not None
        return self.family.shape(self.config, self.label)

    @property
    def similarity_meaning(self) -> str:
        """The meaning of the score of a text and an image, one line.

        Raises:
            RequestError: the family does not embed images.
        """
        return similarity_meaning(self.shape.vectors)
