"""The size of a network that is trained from scratch, given by name. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Self

from vqa_ray.errors import RequestError


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Whole numbers that give the size of a network; what derives from it names them.

    Attributes:
        MULTIPLES: pairs of names; the first must be a multiple of the second.
    """

    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __post_init__(self) -> None:
        """Raise a RequestError for a shape that no network can have."""
        sizes = asdict(self)
        for name, value in sizes.items():
            if value < 1:
                raise RequestError(f"shape: {name} is {value}, wanted at least 1")
        for name, divisor in self.MULTIPLES:
            if sizes[name] % sizes[divisor]:
                raise RequestError(f"shape: {name} {sizes[name]} is not a multiple of {divisor} {sizes[divisor]}")

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Make a shape of the sizes given by name; the others keep their defaults.

        Raises:
            RequestError: an unknown name, no whole number, or a shape that no network can have.
        """
        known = asdict(cls())
        for name, value in options.items():
            if name not in known or not value.isdigit():
                raise RequestError(
                    f"--shape {name}={value}: wanted NAME=N, with a name of {', '.join(known)} and a whole number"
                )
        return cls(**(known | {name: int(value) for name, value in options.items()}))
