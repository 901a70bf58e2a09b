"""The models of a taxonomy in a process: the run's own, those that attributes name, the encoders of shortlists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TypeAlias

import numpy as np

from vqa_ray.images.resize import resample_of, resize
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.endpoint.family import ENDPOINT
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import Encoder
from vqa_ray.models.transforms.chat import WholePatches
from vqa_ray.taxonomy.attribute import PLACEHOLDER, Attribute, ClosedQuestion
from vqa_ray.taxonomy.taxonomy import Taxonomy
from vqa_ray.types import ChoiceScores, Image, ImageTransform

Size: TypeAlias = tuple[int, int]


def further_models(taxonomy: Taxonomy, own: ModelOptions) -> dict[str, ModelOptions]:
    """Open the models that a taxonomy names: reference → how it is loaded, as the run's own where that applies.

    Args:
        taxonomy: its attributes.
        own: of the model of the run.

    Raises:
        ModelLoadError: one cannot be opened.
        RequestError: one cannot do what an attribute needs, or lacks a choice of it.
    """
    further = {}
    for reference in taxonomy.models:
        checkpoint = Checkpoint.open(reference)
        checkpoint.family.require("score", reference)
        further[reference] = _options(own, checkpoint)
        further[reference].check()
        if checkpoint.vocabulary is not None:
            taxonomy.check_against(checkpoint.vocabulary, reference, "the taxonomy", named=True)
    for reference in taxonomy.encoders:
        checkpoint = Checkpoint.open(reference)
        checkpoint.family.require("embed", reference)
        further[reference] = replace(_options(own, checkpoint), compile=False, max_pixels=None)
    return further


def _options(own: ModelOptions, checkpoint: Checkpoint) -> ModelOptions:
    """Return options of the run's model that apply to another one; vLLM holds a GPU alone, so this one runs on ours."""
    family = checkpoint.family
    # Those of a model that is loaded already have its weights.
    plain = ModelOptions(**{each.name: getattr(own, each.name) for each in fields(ModelOptions)})
    return replace(
        plain,
        reference=checkpoint.reference,
        revisions=checkpoint.revisions,
        lora=checkpoint.lora,
        opened=checkpoint,
        prompt_template=own.prompt_template if family.takes_template else None,
        engine="transformers",
        engine_options={},
        max_pixels=own.max_pixels if isinstance(checkpoint.transform, WholePatches) else None,
        endpoint=own.endpoint if family == ENDPOINT else None,
    )


class ShortlistEncoder:
    """Finds the choices of an attribute that are nearest to an image.

    Args:
        encoder: a dual encoder.
        transform: of its images.
        attribute: with a shortlist.
    """

    def __init__(self, encoder: Encoder, transform: ImageTransform, attribute: Attribute) -> None:
        assert attribute.shortlist is not None
        self._encoder, self._transform = encoder, transform
        self._k = attribute.shortlist.k
        choices, template = attribute.levels[0].choices, attribute.shortlist.template
        self._names = list(choices)
        self._places = {name: place for place, name in enumerate(self._names)}
        phrases = [template.replace(PLACEHOLDER, phrase) for each in choices.values() for phrase in each]
        self._texts = encoder.encode_texts(phrases)
        self._starts = np.cumsum([0, *(len(each) for each in choices.values())])[:-1]

    def nearest(self, images: Sequence[Image], sizes: Sequence[Size]) -> list[list[str]]:
        """Return the choices of each image, the nearest first; of synonyms the nearest counts, of equals the first.

        Args:
            images: uint8 (H, W, 3), as the run's model sees them.
            sizes: (height, width) of their sources.
        """
        vectors = self._encoder.encode_images(fit(images, sizes, self._transform))
        found = []
        for row in vectors.reshape(len(images), self._encoder.vectors, self._encoder.dimension):
            likeness = np.maximum.reduceat((row @ self._texts.T).max(axis=0), self._starts)
            found.append([self._names[place] for place in np.argsort(-likeness, kind="stable")[: self._k]])
        return found

    def ordered(self, names: Sequence[str]) -> list[str]:
        """Return choices in the order of the taxonomy."""
        return sorted(names, key=self._places.__getitem__)


def fit(images: Sequence[Image], sizes: Sequence[Size], transform: ImageTransform) -> list[Image]:
    """Resize images, which are as the run's model sees them, to the sizes that another model gives their sources.

    Raises:
        RowError: see `ImageTransform.target_size`.
    """
    wanted = [transform.target_size(*size) for size in sizes]
    return [resize(image, *size, resample_of(transform)) for image, size in zip(images, wanted, strict=True)]


class TagModels:
    """Everything that scores or shortlists the choices of a taxonomy.

    Args:
        taxonomy: its attributes.
        own: of the model of the run.
        further: see `further_models`.

    Attributes:
        shortlists: attribute → its encoder.

    Raises:
        ModelLoadError: a model cannot be loaded.
        RequestError: a choice is not in a model's vocabulary.
    """

    def __init__(self, taxonomy: Taxonomy, own: ModelOptions, further: Mapping[str, ModelOptions]) -> None:
        opened = {name: replace(options, opened=options.checkpoint) for name, options in further.items()}
        self._transforms = {name: options.checkpoint.transform for name, options in opened.items()}
        self._own = own.load()
        taxonomy.check_against(self._own, own.reference)
        self._named = {name: opened[name].load() for name in taxonomy.models}
        for name, model in self._named.items():
            taxonomy.check_against(model, name, named=True)
        encoders = {name: opened[name].load_encoder() for name in taxonomy.encoders}
        self.shortlists = {
            each.name: ShortlistEncoder(encoders[name], self._transforms[name], each)
            for each in taxonomy.attributes
            if each.shortlist is not None and (name := each.shortlist.model)
        }

    def score(
        self,
        name: str | None,
        images: Sequence[Image],
        sizes: Sequence[Size],
        questions: Sequence[Sequence[ClosedQuestion]],
    ) -> list[list[ChoiceScores]]:
        """Score the choices of questions, shaped like `questions`.

        Args:
            name: of the model; None for that of the run.
            images: see `ShortlistEncoder.nearest`.
            sizes: see `ShortlistEncoder.nearest`.
            questions: of each image.
        """
        model = self._own if name is None else self._named[name]
        shown = images if name is None else fit(images, sizes, self._transforms[name])
        texts = [[each.question for each in asked] for asked in questions]
        return model.score(shown, texts, [[each.choices for each in asked] for asked in questions])
