"""The failed rows that `--retry-failed` answers again."""

from __future__ import annotations

from dataclasses import dataclass

from vqa_ray.errors import ErrorCode, RequestError


@dataclass(frozen=True, slots=True)
class Retry:
    """A choice of failed rows.

    Attributes:
        codes: error codes; None for all.
    """

    codes: frozenset[str] | None

    @classmethod
    def parse(cls, text: str) -> Retry:
        """Parse `all`, or CODE,CODE.

        Raises:
            RequestError: an unknown code.
        """
        codes = frozenset(code.strip() for code in text.split(",") if code.strip())
        if "all" in codes or not codes:
            return cls(None)
        known = [str(code) for code in ErrorCode if code not in (ErrorCode.GONE, ErrorCode.BUDGET_SPENT)]
        for code in sorted(codes - set(known)):
            raise RequestError(f"--retry-failed: unknown error code {code!r}; known are all, {', '.join(known)}")
        return cls(codes)

    def names(self) -> list[str]:
        """List the codes in order, or `all`."""
        return ["all"] if self.codes is None else sorted(self.codes)

    def nothing_message(self) -> str:
        """Say that no rows have failed with these codes."""
        codes = "" if self.codes is None else f" with {', '.join(sorted(self.codes))}"
        return f"no rows have failed{codes}; nothing to retry"
