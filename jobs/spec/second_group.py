"""The options of a second model."""

from __future__ import annotations

from typing import Any, ClassVar

from vqa_ray.jobs.spec.field import Spec, option


class CascadeGroup(Spec):
    """A second model for the rows that the first is unsure of."""

    group: ClassVar[str] = "Second opinion"

    cascade: str | None = option(
        "Rows that the model of --then decides: 'score < 0.6', and those that the first model fails on.",
        None,
        unit="CONDITION",
        omit_default_from_fingerprint=True,
    )
    then: str | None = option(
        "Model that decides the rows of --cascade; references as for --model.",
        None,
        unit="MODEL",
        omit_default_from_fingerprint=True,
    )
    second_option: dict[str, Any] = option(
        "Option of the second model, which has none of the first one's: base_url=URL. Repeatable.",
        {},
        unit="NAME=VALUE",
        affects_result=False,
    )


class SecondOpinionGroup(CascadeGroup):
    """A second model, which decides or is compared with."""

    group: ClassVar[str] = "Second opinion"

    agree: str | None = option(
        "Model that is asked about every row too; column `agrees` tells whether both say the same.",
        None,
        unit="MODEL",
        omit_default_from_fingerprint=True,
    )
