"""A taxonomy (`tags.yaml`): which attributes an image is tagged with, and how scores become tags.

    attributes:
      - name: category                    # becomes the columns category and category_score
        question: "what product is this?"
        choices: [mug, t-shirt]           # or choice: phrase, where the model should read another word
        threshold: 0.3                    # a lower score gives null (or is left out of the list when multi)
        multi: false
        mode: choices                     # each choice is scored as the answer to the question
        when: motif != dog                # conditions on others: `vqa_ray.taxonomy.condition`
        model: bundled:catalog-vilt       # answers in place of the run's model
        shortlist: {model: bundled:catalog-clip, k: 32}  # asks about the nearest choices alone, for thousands of them
      - name: motif
        question: "is there {choice} on the product?"
        choices: {dog: "a dog", cat: "a cat"}
        mode: yes_no                      # asked once per choice; the score is P(yes)
        multi: true

What comes out of an image:

- `<name>` and `<name>_score`: the best choice and its score. Below the threshold `<name>` is null and `<name>_score`
  still tells how near the best choice came. With `multi` both are lists, best first, of what reached the threshold.
- `<name>_path`, of choices with choices below them: those given, from the top down; `<name>` and `<name>_score` are the
  last one and its score.
- `<name>_reason`, of an attribute with `when`: `not_asked` where the condition does not hold, and all else is null.
- `<name>_rank`, of an attribute with a shortlist: the place of the best choice in it, 1 for the nearest.
- `tags`: every choice given, as `attribute:choice` ("colour:orange" is not "fruit:orange"), the notation of faceted
  search engines. An attribute's name holds no colon, so the first one parts the two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vqa_ray.errors import RequestError
from vqa_ray.schema import COLUMNS_VERSION, tag_schema
from vqa_ray.taxonomy.attribute import YES_NO, Attribute, ClosedQuestion
from vqa_ray.taxonomy.decision import decide
from vqa_ray.taxonomy.dependencies import by_dependency
from vqa_ray.taxonomy.image_tags import Choices, ImageTags


class ChoiceVocabulary(Protocol):
    """A test of whether an answer can be scored: a `VqaModel`, or its vocabulary alone."""

    def known_choices(self, choices: Sequence[str]) -> list[bool]: ...


@runtime_checkable
class SuggestsChoices(ChoiceVocabulary, Protocol):
    """A closed vocabulary that can name the words nearest to a choice that it lacks."""

    def suggest(self, choices: Sequence[str]) -> str: ...


class Taxonomy(BaseModel):
    """All attributes; `vqa_ray.taxonomy.file.load_taxonomy` reads one from YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    attributes: list[Attribute] = Field(min_length=1, description="at least one attribute")

    @model_validator(mode="after")
    def _columns_are_apart(self) -> Taxonomy:
        # Case is ignored because SQL engines ignore it.
        owners = {name.casefold(): "is an output column of every run" for name in tag_schema([]).names}
        for attribute in self.attributes:
            for column in attribute.all_columns:
                if column.casefold() in owners:
                    raise ValueError(f"attribute {attribute.name!r}: column {column!r} {owners[column.casefold()]}")
            owners |= dict.fromkeys(
                map(str.casefold, attribute.all_columns), f"is taken by attribute {attribute.name!r}"
            )
        return self

    @model_validator(mode="after")
    def _conditions_can_be(self) -> Taxonomy:
        assert self.ordered
        return self

    @cached_property
    def ordered(self) -> tuple[Attribute, ...]:
        """The attributes, none before another that its condition names."""
        return tuple(by_dependency(self.attributes))

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """(name, multi) of each attribute: the argument of `schema.tag_schema`."""
        return [(attribute.name, attribute.multi) for attribute in self.attributes]

    def output_schema(self, version: int = COLUMNS_VERSION) -> pa.Schema:
        """Return the columns of a `tag` run in a version, see `schema.tag_schema`."""
        form = tag_schema(self.columns, version)
        for attribute in self.attributes:
            for field in reversed(attribute.further_columns):
                form = form.insert(form.get_field_index(attribute.columns[1]) + 1, field)
        return form

    def calibrated(self, thresholds: Mapping[str, float]) -> Taxonomy:
        """Return the same with other thresholds.

        Args:
            thresholds: `attribute`, or `attribute:choice` where an image may have several of an attribute.

        Raises:
            RequestError: none of them is of this taxonomy.
        """
        changed, used = [], 0
        for attribute in self.attributes:
            own = {
                c: thresholds[f"{attribute.name}:{c}"] for c in attribute.paths if f"{attribute.name}:{c}" in thresholds
            }
            least = thresholds.get(attribute.name, attribute.threshold)
            used += len(own) + (attribute.name in thresholds)
            changed.append(attribute.model_copy(update={"threshold": least, "thresholds": attribute.thresholds | own}))
        if not used:
            raise RequestError("the calibration holds none of the taxonomy's attributes")
        return Taxonomy(attributes=changed)

    @property
    def fingerprint(self) -> str:
        """A hash of all that can change a tag: 16 hex digits of a SHA-256."""
        facts = [
            [each.name, each.question, each.choice_facts, each.threshold, each.multi, each.mode]
            # Only where there are any, so that taxonomies from before keep their fingerprint.
            + ([sorted(each.thresholds.items())] if each.thresholds else [])
            + ([each.facts] if each.facts else [])
            for each in self.attributes
        ]
        return hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).hexdigest()[:16]

    def questions(self) -> list[ClosedQuestion]:
        """Return every question that an image may be asked, in order; `tags` takes the scores in the same order."""
        return [question for each in self.attributes for level in each.levels for question in level.questions()]

    @property
    def models(self) -> list[str]:
        """The models that attributes name, each once, in order."""
        return list(dict.fromkeys(each.model for each in self.attributes if each.model is not None))

    @property
    def encoders(self) -> list[str]:
        """The encoders of shortlists, each once, in order."""
        return list(dict.fromkeys(each.shortlist.model for each in self.attributes if each.shortlist is not None))

    def check_kept(self, kept: Sequence[str]) -> None:
        """Check that the kept columns of the user and the columns of the attributes have different names.

        Raises:
            RequestError: a kept column has an attribute's column name.
        """
        taken = {column.casefold(): each.name for each in self.attributes for column in each.all_columns}
        for column in kept:
            if column.casefold() in taken:
                raise RequestError(
                    f"kept column {column!r}: attribute {taken[column.casefold()]!r} of the taxonomy makes a column"
                    f" of that name; rename the attribute, or keep the column under another name: --keep NEW={column}"
                )

    def check_against(
        self, model: ChoiceVocabulary, reference: str, where: str = "tags.yaml", *, named: bool = False
    ) -> None:
        """Check that a model can score every choice that it is asked about; another one would silently never be given.

        Args:
            model: the model, or its vocabulary.
            reference: its name.
            where: the taxonomy, for the message.
            named: whether attributes name it as their own `model`; else it answers those without one.

        Raises:
            RequestError: names the choices the model's closed vocabulary lacks.
        """
        for attribute in self.attributes:
            if attribute.model != (reference if named else None):
                continue
            asked = [phrase for level in attribute.levels for each in level.choices.values() for phrase in each]
            phrases = list(YES_NO) if attribute.mode == "yes_no" else list(dict.fromkeys(asked))
            lacking = [each for each, known in zip(phrases, model.known_choices(phrases), strict=True) if not known]
            if lacking:
                shown = ", ".join(repr(each) for each in lacking[:5]) + (" …" if len(lacking) > 5 else "")
                advice = (
                    "use a model that answers yes and no"
                    if attribute.mode == "yes_no"
                    else "map the choice to a word that it knows (choice: word), or use mode: yes_no"
                )
                near = f"; {model.suggest(lacking)}" if isinstance(model, SuggestsChoices) else ""
                raise RequestError(
                    f"{where}: attribute {attribute.name!r}: model {reference} cannot answer {shown}"
                    f" ({len(lacking)} of {len(phrases)} choices){near}; {advice}"
                )

    def tags(self, scores: Sequence[Sequence[float]]) -> ImageTags:
        """Return the tags of one image.

        Args:
            scores: of each of `questions()`, in order, the scores of its choices.

        Raises:
            RowError: `model_error` when a score is not a finite number.
        """
        waiting = iter(scores)
        return self.given(
            {each.name: [s for level in each.levels for s in level.scored(waiting)] for each in self.attributes}
        )

    def given(self, scores: Mapping[str, Choices]) -> ImageTags:
        """Return the tags of one image by the scores of its choices, and the levels that apply and have no scores.

        Args:
            scores: attribute → the choices that were asked about, with their scores.
        """
        return decide(self.ordered, self.attributes, scores)
