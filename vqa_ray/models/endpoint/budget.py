"""The prices of tokens, and the most that a run may take of an endpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vqa_ray.errors import RequestError
from vqa_ray.types import Usage

_PRICED_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """Prices and limits over the whole run; all of it None: tokens are counted, and nothing is limited.

    Attributes:
        price_input, price_output: of a million tokens that the model reads or writes.
        max_cost: in the same currency.
        max_total_tokens: of prompts and answers together.

    Raises:
        RequestError: a limit in money without both prices, or one price without the other.
    """

    price_input: float | None = None
    price_output: float | None = None
    max_cost: float | None = None
    max_total_tokens: int | None = None

    def __post_init__(self) -> None:
        prices = {"--price-input": self.price_input, "--price-output": self.price_output}
        given = [name for name, price in prices.items() if price is not None]
        lacking = [name for name, price in prices.items() if price is None]
        if self.max_cost is not None and lacking:
            raise RequestError(
                f"--max-cost {self.max_cost:g}: needs {' and '.join(lacking)}, the price of a million tokens"
            )
        if given and lacking:
            raise RequestError(f"{given[0]}: needs {lacking[0]} too, the price of a million tokens")

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.max_cost is not None or self.max_total_tokens is not None

    def priced(self, usage: Usage) -> Usage:
        """Return a usage with its cost."""
        if self.price_input is None or self.price_output is None:
            return usage
        cost = usage.prompt_tokens * self.price_input + usage.completion_tokens * self.price_output
        return replace(usage, cost=cost / _PRICED_TOKENS)

    def holds(self, spent: Usage, more: Usage) -> bool:
        """Whether there is room for more beside what is spent."""
        total = spent + more
        tokens = total.prompt_tokens + total.completion_tokens
        has_tokens = self.max_total_tokens is None or tokens <= self.max_total_tokens
        return has_tokens and (self.max_cost is None or (total.cost or 0.0) <= self.max_cost)

    def describe(self, spent: Usage) -> str:
        """Describe what is spent of the limits."""
        parts = []
        if self.max_cost is not None:
            parts.append(f"{spent.cost or 0.0:.6g} of --max-cost {self.max_cost:g}")
        if self.max_total_tokens is not None:
            tokens = spent.prompt_tokens + spent.completion_tokens
            parts.append(f"{tokens:,} of --max-total-tokens {self.max_total_tokens:,}")
        return " and ".join(parts)

    def describe_request(self, expected: Usage) -> str:
        """Describe what a request may take of the limits."""
        cost = [] if self.max_cost is None else [f"{expected.cost or 0.0:.6g}"]
        tokens = f"{expected.prompt_tokens:,} + {expected.completion_tokens:,} tokens"
        return " for ".join([*cost, tokens])
