"""What a page is asked to show, and the address that asks for it: one goes into the other and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlencode

from vqa_ray.browse.facets import by_facet
from vqa_ray.errors import RequestError

By = Literal["look", "words"]
Sort = Literal["", "best", "worst"]

PAGE_ROWS = 24
_LONGEST_TEXT = 1_000
_LONGEST_VERIFY = 4_000
_MOST_CHOSEN = 100
_FACET = "f."
_SINGLE = ("text", "by", "image", "like", "verify", "only", "sort", "page")


@dataclass(frozen=True, slots=True)
class UrlState:
    """One page.

    Attributes:
        text: what is looked for, in words; empty for nothing.
        by: whether the text says what images look like, or which words rows hold.
        image: the token of an image that was sent; empty for none.
        like: the row that hits are to look like.
        verify: the expression or question that hits are asked; empty for none.
        only: whether to leave out the hits that do not match `verify`.
        sort: by score, the best or the worst first; empty for the order of the rows. A search has its own.
        chosen: (facet, value) pairs.
        page: counted from 1.
    """

    text: str = ""
    by: By = "look"
    image: str = ""
    like: int | None = None
    verify: str = ""
    only: bool = False
    sort: Sort = ""
    chosen: tuple[tuple[str, str], ...] = ()
    page: int = 1

    @classmethod
    def parse(cls, parameters: Iterable[tuple[str, str]], default_by: By = "look") -> UrlState:
        """Of an address; what is blank counts as not given.

        Raises:
            RequestError: an unknown name, a value that is none of that name, or too much of one.
        """
        given: dict[str, str] = {}
        chosen = []
        for name, value in parameters:
            if name.startswith(_FACET):
                chosen.append((name.removeprefix(_FACET), value))
            elif name not in _SINGLE:
                raise RequestError(f"unknown parameter {name!r}; known are {', '.join(_SINGLE)} and f.COLUMN")
            elif value.strip():
                given[name] = value.strip()
        if len(chosen) > _MOST_CHOSEN:
            raise RequestError(f"{len(chosen)} values chosen; at most {_MOST_CHOSEN} can be")
        by = given.get("by", default_by)
        if by not in ("look", "words"):
            raise RequestError(f"by: wanted look or words, given {by!r}")
        sort = given.get("sort", "")
        if sort not in ("", "best", "worst"):
            raise RequestError(f"sort: wanted best or worst, given {sort[:40]!r}")
        return cls(
            text=_bounded("text", given.get("text", ""), _LONGEST_TEXT),
            by="look" if by == "look" else "words",
            image=given.get("image", ""),
            like=_number("like", given["like"]) if "like" in given else None,
            verify=_bounded("verify", given.get("verify", ""), _LONGEST_VERIFY),
            only="only" in given,
            sort="best" if sort == "best" else "worst" if sort == "worst" else "",
            chosen=tuple(dict.fromkeys(chosen)),
            page=max(1, _number("page", given.get("page", "1"))),
        )

    @property
    def is_search(self) -> bool:
        """Whether hits are ordered by likeness."""
        return bool(self.image) or self.like is not None or (bool(self.text) and self.by == "look")

    @property
    def words(self) -> str:
        """The words that rows must hold."""
        return self.text if self.by == "words" else ""

    def gathered(self) -> dict[str, tuple[str, ...]]:
        """What is chosen, by facet."""
        return by_facet(self.chosen)

    def but(self, **changes: Any) -> UrlState:
        """Another page: the first, unless `page` is given."""
        return replace(self, **{"page": 1, **changes})

    def toggled(self, name: str, value: str) -> UrlState:
        """With a value chosen that is not, or the other way round."""
        pair = (name, value)
        left = tuple(each for each in self.chosen if each != pair)
        return self.but(chosen=left if len(left) < len(self.chosen) else (*left, pair))

    def fields(self, *names: str) -> list[tuple[str, str]]:
        """(name, value) of these parameters as far as they differ from what holds without, and what is chosen for
        `f`."""
        values = {
            "text": self.text,
            "by": "" if self.by == "look" else self.by,
            "image": self.image,
            "like": "" if self.like is None else str(self.like),
            "verify": self.verify,
            "only": "1" if self.only else "",
            "sort": self.sort,
            "page": "" if self.page == 1 else str(self.page),
        }
        given = [(name, values[name]) for name in names if values.get(name)]
        return given + ([(_FACET + name, value) for name, value in self.chosen] if "f" in names else [])

    def url(self) -> str:
        """The address of this page."""
        query = urlencode(self.fields(*_SINGLE, "f"), errors="replace")
        return f"/?{query}" if query else "/"

    def export_url(self, form: str) -> str:
        """The address of all of its rows as a file."""
        return f"/export.{form}{self.but().url()[1:]}"


def _bounded(name: str, value: str, most: int) -> str:
    if len(value) > most:
        raise RequestError(f"{name}: {len(value):,} characters; at most {most:,} can be searched for")
    return value


def _number(name: str, value: str) -> int:
    # int() also takes signs, white space, underscores and digits of other scripts.
    if not (value.isascii() and value.isdigit() and len(value) <= 12):
        raise RequestError(f"{name}: wanted a whole number, given {value[:40]!r}")
    return int(value)
