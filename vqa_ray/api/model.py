"""A model in a notebook: images and questions in, small objects out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias, cast, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vqa_ray import schema
from vqa_ray.api.checked import TaxonomyLike, calibrated_taxonomy, check_prompt, checked_questions, checked_top_k
from vqa_ray.api.images import ImageLike
from vqa_ray.api.loaded_model import LoadedModel
from vqa_ray.api.objects import SchemaLike, checked_schema
from vqa_ray.api.results import (
    Answered,
    AnsweredRows,
    Captioned,
    Filled,
    Scored,
    ScoredRows,
    Tagged,
    answer_of,
    caption_of,
    error_of,
    object_of,
    tags_of,
)
from vqa_ray.api.scoring import score_choices
from vqa_ray.api.shapes import OnError, per_image, per_question
from vqa_ray.errors import RequestError, RowError
from vqa_ray.stages.answer import AnswerConfig, AnswerStage
from vqa_ray.stages.caption import CaptionConfig, CaptionStage
from vqa_ray.stages.embed import EmbedConfig, EmbedStage
from vqa_ray.stages.fill import FillConfig, FillStage
from vqa_ray.stages.image_metadata import METADATA_COLUMNS
from vqa_ray.stages.questions import one_row_per_question
from vqa_ray.stages.tag import TagConfig, TagStage
from vqa_ray.taxonomy.taxonomy import Taxonomy

_STATUS = [field.name for field in schema.STATUS]
One: TypeAlias = ImageLike
Many: TypeAlias = list[Any] | tuple[Any, ...]
Choices: TypeAlias = Sequence[str]
Vectors: TypeAlias = npt.NDArray[np.float32]
Embedded: TypeAlias = Vectors | RowError


class Model(LoadedModel):
    """A loaded model; made by `load`.

    Images are paths, URIs, bytes of image files, PIL images or uint8 arrays (H, W, 3): one, or a list of them. The
    result has the shape of what was given: one image gives one result, a list gives a list.

    An image or question that cannot be answered gives a `RowError` (`code`, `message`) in the place of its result; with
    `errors="raise"` the first one is raised.

    Args:
        options: the model, and how it is loaded and prompted.
        images: how images are fetched and decoded.
    """

    # The last taxonomy, and the stage that holds the models that it names.
    _tagging: tuple[Taxonomy, TagStage] | None = None

    @overload
    def answer(self, images: One, questions: str, *, top_k: int = ..., errors: OnError = ...) -> Answered: ...
    @overload
    def answer(self, images: One, questions: Many, *, top_k: int = ..., errors: OnError = ...) -> list[Answered]: ...
    @overload
    def answer(self, images: Many, questions: str, *, top_k: int = ..., errors: OnError = ...) -> list[Answered]: ...
    @overload
    def answer(self, images: Many, questions: Many, *, top_k: int = ..., errors: OnError = ...) -> AnsweredRows: ...
    def answer(self, images: Any, questions: Any, *, top_k: int = 5, errors: OnError = "return") -> Any:
        """Answer questions about images.

        Args:
            images: one or several.
            questions: one for every image; a list, each question of it for every image; or a list with a list for each
                image.
            top_k: answers to keep per question.
            errors: `return` or `raise`, see `Model`.

        Returns:
            An `AnswerResult` (or `RowError`) per image and question, nested as images and questions are.

        Raises:
            RequestError: the model does not answer questions, or an argument is wrong.
            RowError: with `errors="raise"`.
        """
        boxes = self._checkpoint.family.has_boxes
        stage = AnswerStage(AnswerConfig(self._loaded("answer"), checked_top_k(top_k), True, boxes=boxes))
        form = schema.answer_schema(False, boxes)

        def rows_of(decoded: pa.Table) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = one_row_per_question(stage(decoded), form).to_pylist()
            return rows

        def ask(shown: Sequence[object], asked: Sequence[Sequence[str]]) -> list[list[Answered]]:
            found: list[list[Answered]] = [[] for _ in shown]
            for row in self._run(rows_of, shown, asked):
                found[row["source_key"]].append(error_of(row) or answer_of(row))
            return found

        return per_question(images, questions, ask, errors)

    @overload
    def score(self, images: One, questions: str, choices: Choices = ..., *, errors: OnError = ...) -> Scored: ...
    @overload
    def score(self, images: One, questions: Many, choices: Choices = ..., *, errors: OnError = ...) -> list[Scored]: ...
    @overload
    def score(self, images: Many, questions: str, choices: Choices = ..., *, errors: OnError = ...) -> list[Scored]: ...
    @overload
    def score(self, images: Many, questions: Many, choices: Choices = ..., *, errors: OnError = ...) -> ScoredRows: ...
    def score(
        self, images: Any, questions: Any, choices: Sequence[str] = ("yes", "no"), *, errors: OnError = "return"
    ) -> Any:
        """Score given choices as the answer to questions about images.

        Args:
            images: see `answer`.
            questions: see `answer`.
            errors: see `answer`.
            choices: the same for every question.

        Returns:
            A `ScoreResult` (or `RowError`) per image and question, nested as images and questions are.

        Raises:
            RequestError: the model scores no choices, or an argument is wrong.
            RowError: with `errors="raise"`.
        """
        model = self._loaded("score").load()
        given = checked_questions(choices, "choices")
        if isinstance(choices, str) or len(set(given)) < len(given):
            raise RequestError(f"choices is {choices!r}; wanted is a list of different texts")

        return per_question(images, questions, partial(self._run, partial(score_choices, model, given)), errors)

    @overload
    def tag(self, images: One, taxonomy: TaxonomyLike = ..., *, errors: OnError = ...) -> Tagged: ...
    @overload
    def tag(self, images: Many, taxonomy: TaxonomyLike = ..., *, errors: OnError = ...) -> list[Tagged]: ...
    def tag(
        self,
        images: Any,
        taxonomy: TaxonomyLike = None,
        *,
        errors: OnError = "return",
    ) -> Any:
        """Tag images with the choices of a taxonomy.

        Args:
            images: see `answer`.
            errors: see `answer`.
            taxonomy: path or URI of a `tags.yaml`, its content as a mapping, or a `Taxonomy`; None for the built-in.

        Returns:
            A `TagResult` (or `RowError`) per image.

        Raises:
            RequestError: the taxonomy cannot be read, or has a choice that the model cannot say.
            RowError: with `errors="raise"`.
        """
        checked = calibrated_taxonomy(taxonomy, None, self._checkpoint)
        known, stage = self._tagging or (None, None)
        if stage is None or known != checked:
            stage = TagStage(TagConfig(self._loaded("score"), checked))
            self._tagging = checked, stage
        attributes = {each.name: each.columns[0] for each in checked.attributes}

        def tags(decoded: pa.Table) -> list[Tagged]:
            return [error_of(row) or tags_of(row, attributes) for row in stage(decoded).to_pylist()]

        return per_image(images, partial(self._run, tags), errors)

    @overload
    def fill(self, images: One, schema: SchemaLike, prompt: str | None = ..., *, errors: OnError = ...) -> Filled: ...
    @overload
    def fill(
        self, images: Many, schema: SchemaLike, prompt: str | None = ..., *, errors: OnError = ...
    ) -> list[Filled]: ...
    def fill(self, images: Any, schema: SchemaLike, prompt: str | None = None, *, errors: OnError = "return") -> Any:
        """Fill an object of typed fields about images, as `vqa-ray answer --schema` does.

        Args:
            images: see `answer`.
            schema: a pydantic model, a JSON Schema as a mapping, or what `--schema` names: the path or URI of a schema
                or a taxonomy, or `module:Class`.
            prompt: the words that ask for the object; None for the schema's description. Of models that write.
            errors: see `answer`.

        Returns:
            A `FillResult` (or `RowError`) per image.

        Raises:
            RequestError: the schema cannot be read or is not supported, or has a field that the model cannot fill.
            RowError: with `errors="raise"`.
        """
        options = self._loaded("score")
        wanted = checked_schema(schema, prompt, self._checkpoint)
        stage = FillStage(FillConfig(options, wanted, prompt))
        names = [field.name for field in wanted.fields]

        def objects(decoded: pa.Table) -> list[Filled]:
            return [error_of(row) or object_of(row, names) for row in stage(decoded).to_pylist()]

        return per_image(images, partial(self._run, objects), errors)

    @overload
    def caption(self, images: One, prompt: str | None = ..., *, errors: OnError = ...) -> Captioned: ...
    @overload
    def caption(self, images: Many, prompt: str | None = ..., *, errors: OnError = ...) -> list[Captioned]: ...
    def caption(self, images: Any, prompt: str | None = None, *, errors: OnError = "return") -> Any:
        """Describe images.

        Args:
            images: see `answer`.
            errors: see `answer`.
            prompt: the beginning of each caption; None for the model's own.

        Returns:
            A `CaptionResult` (or `RowError`) per image.

        Raises:
            RequestError: the model does not describe images.
            RowError: with `errors="raise"`.
        """
        check_prompt(prompt, self._checkpoint)
        stage = CaptionStage(CaptionConfig(self._loaded("caption"), prompt, self._checkpoint.family.has_boxes))

        def captions(decoded: pa.Table) -> list[Captioned]:
            return [error_of(row) or caption_of(row) for row in stage(decoded).to_pylist()]

        return per_image(images, partial(self._run, captions), errors)

    @overload
    def embed(self, images: One, *, errors: OnError = ...) -> Embedded: ...
    @overload
    def embed(self, images: Many, *, errors: OnError = ...) -> list[Embedded]: ...
    def embed(self, images: Any, *, errors: OnError = "return") -> Any:
        """Embed images; `np.stack` makes a matrix of a list without errors.

        Args:
            images: see `answer`.
            errors: see `answer`.

        Returns:
            float32 (D,) of length 1 (or a `RowError`) per image; (vectors, D) of models that make several of an image.

        Raises:
            RequestError: the model does not embed images.
            RowError: with `errors="raise"`.
        """
        loaded = self._loaded("embed")
        stage, encoder = EmbedStage(EmbedConfig(loaded)), loaded.load_encoder()
        shape = (-1,) if encoder.vectors == 1 else (encoder.vectors, encoder.dimension)

        def vectors(decoded: pa.Table) -> list[Embedded]:
            for name in METADATA_COLUMNS:
                decoded = decoded.append_column(name, pa.nulls(decoded.num_rows))
            table = stage(decoded)
            errors = [error_of(row) for row in table.select(_STATUS).to_pylist()]
            return [
                error or value.values.to_numpy().reshape(shape)
                for error, value in zip(errors, table["embedding"], strict=True)
            ]

        return per_image(images, partial(self._run, vectors), errors)

    def embed_texts(self, texts: str | Sequence[str]) -> Vectors:
        """Embed texts: float32 (T, D), each row of length 1; (D,) for a single text.

        Raises:
            RequestError: the model does not embed, or a text is blank.
        """
        vectors = self._loaded("embed").load_encoder().encode_texts(checked_questions(texts, "texts"))
        return cast("Vectors", vectors[0]) if isinstance(texts, str) else vectors
