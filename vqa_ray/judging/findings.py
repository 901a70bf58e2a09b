"""What was found while rows were joined and judged: counts with examples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vqa_ray.errors import one_line

# Of each finding, in messages.
EXAMPLES = 3
_LENGTH = 240


@dataclass(slots=True)
class Findings:
    """Counts of a partition, or of all: outcome or finding → rows, with examples; error codes → rows."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, finding: str, example: object = None) -> None:
        """Count a row."""
        self.counts[finding] += 1
        shown = self.examples[finding]
        if example is not None and len(shown) < EXAMPLES:
            shown.append(one_line(example, _LENGTH))

    def add(self, other: Findings) -> None:
        """Add those of another partition."""
        self.counts.update(other.counts)
        self.errors.update(other.errors)
        for finding, shown in other.examples.items():
            self.examples[finding] = (self.examples[finding] + shown)[:EXAMPLES]

    def to_dict(self) -> dict[str, Any]:
        """Return them as JSON holds them."""
        return {"counts": self.counts, "errors": self.errors, "examples": self.examples}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Findings:
        """Read them."""
        examples = defaultdict(list, content["examples"])
        return cls(Counter(content["counts"]), Counter(content["errors"]), examples)
