"""The state of a page, and its conversion to a URL and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlencode

from vqa_ray.browse.facets import by_facet
from vqa_ray.errors import RequestError

By = Literal["similarity", "words"]
Sort = Literal["", "best", "worst"]

PAGE_ROWS = 24
_LONGEST_TEXT = 1_000
_LONGEST_VERIFY = 4_000
_MOST_SELECTED = 100
_FACET = "f."
_SINGLE = ("text", "by", "image", "like", "verify", "only", "sort", "page")


@dataclass(frozen=True, slots=True)
class UrlState:
    """The state of one page.

    Attributes:
        text: of the search; empty for none.
        by: whether the text describes images, or is words that rows hold.
        image: the token of a query image; empty for none.
        like: the position of the row to search by; None for none.
        verify: the expression or question to verify hits with; empty for none.
        only: whether hits that do not match `verify` are left out.
        sort: by score, best or worst first; empty for the order of the rows. A search has its own order.
        selected: (facet, value) pairs.
        page: counted from 1.
    """

    text: str = ""
    by: By = "similarity"
    image: str = ""
    like: int | None = None
    verify: str = ""
    only: bool = False
    sort: Sort = ""
    selected: tuple[tuple[str, str], ...] = ()
    page: int = 1

    @classmethod
    def parse(cls, parameters: Iterable[tuple[str, str]], default_by: By = "similarity") -> UrlState:
        """Parse the parameters of a URL; blank values count as missing.

        Raises:
            RequestError: an unknown parameter, an invalid value, or one that is too long.
        """
        given: dict[str, str] = {}
        selected = []
        for name, value in parameters:
            if name.startswith(_FACET):
                selected.append((name.removeprefix(_FACET), value))
            elif name not in _SINGLE:
                raise RequestError(f"unknown parameter {name!r}; known are {', '.join(_SINGLE)} and f.COLUMN")
            elif value.strip():
                given[name] = value.strip()
        if len(selected) > _MOST_SELECTED:
            raise RequestError(f"{len(selected)} values selected; at most {_MOST_SELECTED} are allowed")
        by = given.get("by", default_by)
        if by not in ("similarity", "words"):
            raise RequestError(f"by: expected similarity or words, given {by!r}")
        sort = given.get("sort", "")
        if sort not in ("", "best", "worst"):
            raise RequestError(f"sort: expected best or worst, given {sort[:40]!r}")
        return cls(
            text=_bounded("text", given.get("text", ""), _LONGEST_TEXT),
            by="similarity" if by == "similarity" else "words",
            image=given.get("image", ""),
            like=_number("like", given["like"]) if "like" in given else None,
            verify=_bounded("verify", given.get("verify", ""), _LONGEST_VERIFY),
            only="only" in given,
            sort="best" if sort == "best" else "worst" if sort == "worst" else "",
            selected=tuple(dict.fromkeys(selected)),
            page=max(1, _number("page", given.get("page", "1"))),
        )

    @property
    def is_search(self) -> bool:
        """Whether hits are ordered by similarity."""
        return bool(self.image) or self.like is not None or (bool(self.text) and self.by == "similarity")

    @property
    def words(self) -> str:
        """The words that rows must hold; empty for none."""
        return self.text if self.by == "words" else ""

    def selected_by_facet(self) -> dict[str, tuple[str, ...]]:
        """Return the selected values by facet."""
        return by_facet(self.selected)

    def replaced(self, **changes: Any) -> UrlState:
        """Return the state with changes, on the first page unless `page` is given."""
        return replace(self, **{"page": 1, **changes})

    def toggled(self, name: str, value: str) -> UrlState:
        """Return the state with a value selected, or deselected if it is selected."""
        pair = (name, value)
        left = tuple(each for each in self.selected if each != pair)
        return self.replaced(selected=left if len(left) < len(self.selected) else (*left, pair))

    def fields(self, *names: str) -> list[tuple[str, str]]:
        """(name, value) of these parameters where they differ from the default; `f` stands for the selected values."""
        values = {
            "text": self.text,
            "by": "" if self.by == "similarity" else self.by,
            "image": self.image,
            "like": "" if self.like is None else str(self.like),
            "verify": self.verify,
            "only": "1" if self.only else "",
            "sort": self.sort,
            "page": "" if self.page == 1 else str(self.page),
        }
        given = [(name, values[name]) for name in names if values.get(name)]
        return given + ([(_FACET + name, value) for name, value in self.selected] if "f" in names else [])

    def url(self) -> str:
        """Return the URL of this page."""
        query = urlencode(self.fields(*_SINGLE, "f"), errors="replace")
        return f"/?{query}" if query else "/"

    def export_url(self, form: str) -> str:
        """Return the URL of all rows of this view as a file."""
        return f"/export.{form}{self.replaced().url()[1:]}"


def _bounded(name: str, value: str, most: int) -> str:
    if len(value) > most:
        raise RequestError(f"{name}: {len(value):,} characters; at most {most:,} are allowed")
    return value


def _number(name: str, value: str) -> int:
    # int() also takes signs, white space, underscores and digits of other scripts.
    if not (value.isascii() and value.isdigit() and len(value) <= 12):
        raise RequestError(f"{name}: expected a whole number, given {value[:40]!r}")
    return int(value)
