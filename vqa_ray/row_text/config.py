"""The columns of the input whose text stands in questions, and how it gets there."""

from __future__ import annotations

from dataclasses import dataclass

from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.row_text.cleaning import clean, cut

# Characters of a text that are looked at, per token of its budget.
_CHARACTERS_PER_TOKEN = 64


@dataclass(frozen=True, slots=True)
class TextConfig:
    """Configuration of the text beside the images.

    Attributes:
        columns: the columns that questions name.
        budget: tokens that a text may have, about; see `cut`.
        reserved: see `clean`.
    """

    columns: tuple[str, ...]
    budget: int
    reserved: tuple[str, ...] = ()

    def read(self, column: str, value: str | None) -> tuple[str, str | None]:
        """Make the text of a row harmless: (text, warning).

        Raises:
            RowError: `text_missing` where the row has no text.
        """
        most = self.budget * _CHARACTERS_PER_TOKEN
        whole = clean((value or "")[:most], self.reserved)
        if not whole:
            state = "null" if value is None else "blank"
            raise RowError(ErrorCode.TEXT_MISSING, f"column {column!r}, which a question names, is {state}")
        text = cut(whole, self.budget)
        if text == whole and len(value or "") <= most:
            return text, None
        return text, f"{column}: cut to about {self.budget} tokens (--text-budget)"
